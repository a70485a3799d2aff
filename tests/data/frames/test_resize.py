import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from genie_core.data import conform_frames, resize_frames
from genie_core.data.frames.resize import WEIGHT_BITS, axis_weights
from genie_core.errors import RequestError

LENGTHS = st.integers(1, 70)
SIZES = st.tuples(LENGTHS, LENGTHS)


def random_frames(count: int, size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def exact_weights(in_length: int, out_length: int) -> NDArray[np.float64]:
    """What the integer weights stand for, computed the slow way."""
    if out_length < in_length:
        out_edges, in_edges = np.arange(out_length + 1) * in_length / out_length, np.arange(in_length + 1)
        overlap = np.minimum(out_edges[1:, None], in_edges[1:]) - np.maximum(out_edges[:-1, None], in_edges[:-1])
        return np.maximum(overlap, 0) * out_length / in_length
    centres = np.clip((np.arange(out_length) + 0.5) * in_length / out_length - 0.5, 0, in_length - 1)
    return np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(in_length)))


@given(SIZES, SIZES, st.integers(0, 255))
@settings(max_examples=30)
def test_a_constant_image_stays_constant(size: tuple[int, int], new_size: tuple[int, int], value: int) -> None:
    frames = np.full((1, *size, 3), value, np.uint8)
    assert (resize_frames(frames, *new_size) == value).all()


@given(SIZES, SIZES, st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_is_the_exact_filter_within_one_level(size: tuple[int, int], new_size: tuple[int, int], seed: int) -> None:
    frames = random_frames(2, size, seed)
    rows, columns = exact_weights(size[0], new_size[0]), exact_weights(size[1], new_size[1])
    exact = np.einsum("hi,tijc,wj->thwc", rows, frames, columns)
    assert np.abs(resize_frames(frames, *new_size) - exact).max() <= 1


@given(SIZES, SIZES, st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_is_integer_arithmetic_rounded_once(size: tuple[int, int], new_size: tuple[int, int], seed: int) -> None:
    frames = random_frames(1, size, seed)
    weights = [
        np.eye(old, dtype=np.int64) << WEIGHT_BITS if old == new else axis_weights(old, new)
        for old, new in zip(size, new_size, strict=True)
    ]
    sums = np.einsum("hi,tijc,wj->thwc", weights[0], frames.astype(np.int64), weights[1])
    expected = (sums + (1 << (2 * WEIGHT_BITS - 1))) >> (2 * WEIGHT_BITS)
    np.testing.assert_array_equal(resize_frames(frames, *new_size), expected)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), SIZES)
@settings(max_examples=20)
def test_how_an_episode_is_cut_changes_nothing(cuts: list[int], new_size: tuple[int, int]) -> None:
    frames = random_frames(sum(cuts), (37, 51))
    pieces = np.split(frames, np.cumsum(cuts)[:-1])
    together = resize_frames(frames, *new_size)
    np.testing.assert_array_equal(np.concatenate([resize_frames(piece, *new_size) for piece in pieces]), together)


@given(SIZES, SIZES)
@settings(max_examples=30)
def test_shrinking_preserves_the_mean(size: tuple[int, int], new_size: tuple[int, int]) -> None:
    new_size = (min(size[0], new_size[0]), min(size[1], new_size[1]))
    frames = random_frames(1, size)
    assert abs(resize_frames(frames, *new_size).mean() - frames.mean()) <= 1


@given(st.integers(1, 300), st.integers(1, 300))
@settings(max_examples=50)
def test_weights_are_non_negative_and_sum_exactly(in_length: int, out_length: int) -> None:
    weights = axis_weights(in_length, out_length)
    assert weights.min() >= 0
    assert (weights.sum(axis=1) == 1 << WEIGHT_BITS).all()


def test_memory_layout_does_not_matter() -> None:
    frames = random_frames(2, (40, 30))
    strided = np.ascontiguousarray(frames.transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)
    np.testing.assert_array_equal(resize_frames(strided, 16, 16), resize_frames(frames, 16, 16))


def test_the_same_size_returns_the_input_itself() -> None:
    frames = random_frames(3, (8, 9))
    assert resize_frames(frames, 8, 9) is frames


def test_no_frames_stay_no_frames() -> None:
    assert resize_frames(random_frames(0, (8, 9)), 4, 4).shape == (0, 4, 4, 3)


@pytest.mark.parametrize("size", [(0, 4), (4, -1)])
def test_refuses_a_size_that_is_not_positive(size: tuple[int, int]) -> None:
    with pytest.raises(RequestError, match="positive height and width"):
        resize_frames(random_frames(1, (8, 8)), *size)


@pytest.mark.parametrize(
    ("array", "advice"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), r"frames \* 255"),
        (np.zeros((2, 8, 8, 3), np.uint16), "frames >> 8"),
        (np.zeros((2, 8, 8, 3), np.bool_), "frames.astype"),
        (np.zeros((2, 8, 8), np.uint8), "grey"),
        (np.zeros((2, 8, 8, 1), np.uint8), "grey"),
        (np.zeros((2, 8, 8, 4), np.uint8), "RGBA"),
        (np.zeros((2, 3, 8, 8), np.uint8), "channels come first"),
        (np.zeros((8, 8, 3), np.uint8), "time axis"),
        (np.zeros((2, 0, 8, 3), np.uint8), "expected uint8"),
        (np.zeros(5, np.uint8), "expected uint8"),
    ],
)
def test_refuses_other_arrays_and_says_how_to_convert_them(array: NDArray[np.generic], advice: str) -> None:
    with pytest.raises(RequestError, match=advice) as error:
        conform_frames(array, "prompt")
    assert error.value.field == "prompt"
    assert str(array.dtype) in str(error.value)
    assert str(array.shape) in str(error.value)


def test_the_advice_given_makes_frames() -> None:
    grey = np.zeros((2, 8, 8), np.uint8)
    assert conform_frames(np.repeat(grey[..., None], 3, axis=-1)).shape == (2, 8, 8, 3)
    floats = np.full((2, 8, 8, 3), 0.5, np.float32)
    assert (conform_frames((floats * 255).round().clip(0, 255).astype(np.uint8)) == 128).all()
