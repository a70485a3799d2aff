"""Disturbances do what they say, to the amount that they say, and to nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from genie_core.evaluation.disturbances import DISTURBANCES, flicker, hand, jpeg, moving_object, pan, shake
from genie_core.evaluation.flow import optical_flow
from tests.factories.squares import draw_squares

Frames = NDArray[np.uint8]


def film(frames: int = 9, size: int = 64) -> Frames:
    return draw_squares(np.full((frames, 2), size // 4), size, np.random.default_rng(3))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", DISTURBANCES)
@pytest.mark.parametrize("size", [32, 64])
def test_frames_stay_frames_the_input_stays_as_it_is_and_draws_repeat(name: str, size: int) -> None:
    frames = film(size=size)
    kept = frames.copy()
    found = DISTURBANCES[name](frames, rng())
    assert (found.shape, found.dtype) == (frames.shape, np.uint8)
    assert (found != frames).any()
    np.testing.assert_array_equal(frames, kept)
    np.testing.assert_array_equal(found, DISTURBANCES[name](frames, rng()))


def test_a_pan_is_a_quarter_of_a_cell_a_frame_and_always_the_same_way() -> None:
    found = pan(film(17), rng(1))
    flow_S2 = optical_flow(found[:-8], found[8:])[:, 16:48, 16:48].mean(axis=(1, 2))
    np.testing.assert_allclose(np.linalg.norm(flow_S2, axis=1), 8 * 0.25, rtol=0.25)
    assert np.linalg.norm(flow_S2.mean(axis=0)) > 0.9 * np.linalg.norm(flow_S2, axis=1).mean()


def test_a_shake_moves_frames_by_whole_cells_and_leads_nowhere() -> None:
    frames = film(40)
    found = shake(frames, rng(2))
    for before, after in zip(frames, found, strict=True):
        moved = [np.roll(before, (y, x), (0, 1))[2:-2, 2:-2] for y in (-1, 0, 1) for x in (-1, 0, 1)]
        assert any((after[2:-2, 2:-2] == other).all() for other in moved)


def test_flicker_is_within_5_per_cent() -> None:
    frames = film(30)
    gain = flicker(frames, rng()).astype(float).mean(axis=(1, 2, 3)) / frames.mean(axis=(1, 2, 3))
    assert 0.945 < gain.min() < 0.97
    assert 1.03 < gain.max() < 1.055


def test_jpeg_keeps_the_picture_but_for_its_own_traces() -> None:
    frames = film()
    assert 0 < np.abs(jpeg(frames, rng()).astype(float) - frames).mean() < 8


@pytest.mark.parametrize("seed", range(4))
def test_objects_and_hands_cover_little_move_and_leave_the_rest(seed: int) -> None:
    frames = film(24)
    for disturb, most in ((moving_object, 8 * 8 / 64**2), (hand, 0.2)):
        changed_THW = (disturb(frames, rng(seed)) != frames).any(axis=-1)
        share_T = changed_THW.mean(axis=(1, 2))
        assert 0 < share_T.max() <= most + 1e-9
        assert (changed_THW[1:] != changed_THW[:-1]).any(axis=(1, 2)).mean() > 0.8
    edges = [changed_THW[:, 0], changed_THW[:, -1], changed_THW[:, :, 0], changed_THW[:, :, -1]]
    assert sum(edge.any() for edge in edges) == 1  # the hand comes from one side
