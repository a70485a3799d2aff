import numpy as np
import pytest

from genie_core.data.frames.content import Pictures, PictureWatch, runs
from tests.factories.data import make_frames


def seen(frames_THWC: np.ndarray, size: int = 5) -> Pictures:
    watch = PictureWatch()
    for start in range(0, len(frames_THWC), size):
        watch.add(frames_THWC[start : start + size])
    return watch.seen


@pytest.mark.parametrize("value", [0, 128, 255])
def test_pictures_of_one_colour_are_blank(value: int) -> None:
    noisy = np.random.default_rng(0).integers(max(0, value - 8), min(255, value + 8), (3, 48, 64, 3)).astype(np.uint8)
    found = seen(np.concatenate([make_frames(4, 48, 64), noisy]))
    assert found.blank.tolist() == [False] * 4 + [True] * 3


def test_a_picture_with_one_bright_point_is_not_blank() -> None:
    frame = np.zeros((1, 480, 640, 3), np.uint8)
    frame[0, 333, 17] = 40
    assert not seen(frame).blank.any()


@pytest.mark.parametrize("size", [1, 4, 7, 100])
def test_repeats_are_found_however_the_frames_arrive(size: int) -> None:
    frames = make_frames(6, 40, 40)
    found = seen(frames[[0, 0, 1, 2, 2, 2, 3, 4, 5, 5]], size)
    assert np.flatnonzero(found.repeats).tolist() == [1, 4, 5, 9]


def test_one_changed_pixel_is_no_repeat() -> None:
    frames = np.repeat(make_frames(1, 97, 131), 2, axis=0)
    frames[1, 50, 50, 1] ^= 1
    assert not seen(frames).repeats.any()


@pytest.mark.parametrize(
    ("repeats", "fps", "frozen"), [(4, None, 0), (5, None, 5), (5, 10.0, 5), (14, 30.0, 0), (15, 30.0, 15)]
)
def test_a_long_row_of_repeats_is_frozen(repeats: int, fps: float | None, frozen: int) -> None:
    frames = make_frames(4, 16, 16)
    found = seen(frames[[0, 1, *[1] * repeats, 2, 3]])
    assert found.frozen(fps).sum() == frozen


def test_runs() -> None:
    assert runs(np.array([True, True, False, True])) == [(0, 2), (3, 4)]
    assert runs(np.zeros(0, np.bool_)) == []
