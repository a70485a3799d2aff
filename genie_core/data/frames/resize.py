"""Resizes and validates frames, for the client, the service and training alike.

Labels must be the same bit for bit wherever frames are resized, so no step may round floats: the weights are integers,
and every sum is small enough to be exact in the floating-point type that carries it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from genie_core.data.frames.image_structure import MAX_PIXELS
from genie_core.errors import RequestError

WEIGHT_BITS = 16
"""Weights are integers that sum to 2**16: rows sum to < 2**24 (exact in float32), then columns to < 2**40 (float64)."""

ROWS_PER_PRODUCT = 4
"""Output rows per matrix product: the weights are banded, so narrow products skip most of the zeros."""

LEAST_SIDE = 8
"""Fewest pixels a side of a simulated frame."""

Frames = NDArray[np.uint8]
"""(T, H, W, 3) RGB, 0 to 255."""


def resize_frames(frames_THWC: Frames, height: int, width: int) -> Frames:
    """Resize frames to (T, height, width, 3) uint8, each axis on its own.

    An axis that shrinks is averaged exactly over the area of each new pixel; one that grows is interpolated linearly
    between pixel centres; one that keeps its length is left alone. The result is rounded half up, once, at the end. It
    is the same bit for bit on every machine, and however an episode is split into calls. Returns the input itself
    where both sizes match.

    Raises:
        RequestError: `frames_THWC` is not (T, H, W, 3) uint8, or `height` or `width` is not positive.

    """
    frames_THWC = conform_frames(frames_THWC)
    if height < 1 or width < 1:
        raise RequestError("size", f"got {height} x {width}, expected a positive height and width")
    if frames_THWC.shape[1:3] == (height, width):
        return frames_THWC
    resized = np.empty((len(frames_THWC), height, width, 3), np.uint8)
    for frame_HWC, out_HWC in zip(frames_THWC, resized, strict=True):
        out_HWC[:] = _resize_frame(frame_HWC, height, width)
    return resized


def conform_frames(array: ArrayLike, field: str = "frames") -> Frames:
    """Return `array` as frames, (T, H, W, 3) uint8 with T >= 0 and H, W >= 1; raise if it is anything else.

    Nothing is converted: for a float, 16-bit, grey or RGBA array the error says how to convert it, since only the
    caller knows its range and what its alpha means.

    Raises:
        RequestError: of `field`, with the shape and dtype that were passed and how to convert them.

    """
    array = np.asarray(array)
    problem = frames_problem(array.shape, array.dtype)
    if problem:
        raise RequestError(field, problem)
    return array


def frames_problem(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> str | None:
    """Describe why an array of this shape and dtype is not (T, H, W, 3) uint8; None if it is."""
    came = f"got {dtype} of shape {shape}, expected uint8 of shape (T, H, W, 3)"
    if dtype != np.uint8:
        return f"{came}; {_dtype_advice(dtype)}"
    if len(shape) == 3 and shape[-1] != 3:
        return f"{came}; if it is grey, repeat it: np.repeat(frames[..., None], 3, axis=-1)"
    if len(shape) == 3:
        return f"{came}; for a single frame add the time axis: frame[None]"
    if len(shape) == 4 and shape[-1] == 1:
        return f"{came}; it is grey, repeat it: np.repeat(frames, 3, axis=-1)"
    if len(shape) == 4 and shape[-1] == 4:
        return f"{came}; it is RGBA, blend it over a background or drop the alpha: frames[..., :3]"
    if len(shape) == 4 and shape[1] == 3 and shape[-1] != 3:
        return f"{came}; the channels come first, move them last: np.moveaxis(frames, 1, -1)"
    if len(shape) != 4 or shape[-1] != 3 or 0 in shape[1:]:
        return came
    if shape[1] * shape[2] > MAX_PIXELS:
        return f"{came} with at most {MAX_PIXELS} pixels a frame"
    return None


def _dtype_advice(dtype: np.dtype[np.generic]) -> str:
    if dtype.kind == "f":
        return "if it runs from 0 to 1, convert it: (frames * 255).round().clip(0, 255).astype(np.uint8)"
    if dtype.kind in "ui" and dtype.itemsize == 2:
        return "if it uses all 16 bits, convert it: (frames >> 8).astype(np.uint8)"
    if dtype.kind not in "biu":
        return "these are no numbers: store frames as such, or a PNG or JPEG per row as bytes"
    return "convert it to 0 to 255: frames.astype(np.uint8)"


def _resize_frame(frame_HWC: Frames, height: int, width: int) -> NDArray[np.float64]:
    """Resize one frame, rows first, then columns; returns whole numbers 0 to 255 in float64."""
    in_height, in_width, _ = frame_HWC.shape
    scale_bits = 0
    rows_HK: NDArray[np.generic] = frame_HWC.reshape(in_height, in_width * 3)
    if height != in_height:
        rows_HK = _weighted_sums(rows_HK, height, "float32")
        scale_bits += WEIGHT_BITS
    sums_HWC = rows_HK.reshape(height, in_width, 3)
    if width != in_width:
        columns_WK = sums_HWC.transpose(1, 0, 2).reshape(in_width, height * 3)
        sums_HWC = _weighted_sums(columns_WK, width, "float64").reshape(width, height, 3).transpose(1, 0, 2)
        scale_bits += WEIGHT_BITS
    return np.floor(sums_HWC.astype(np.float64) * 2.0**-scale_bits + 0.5)


def _weighted_sums(values_NK: NDArray[np.generic], length: int, dtype: str) -> NDArray[np.floating]:
    """Resize axis 0 to `length`; returns 2**WEIGHT_BITS times the result, exact integers carried in `dtype`."""
    out = np.empty((length, values_NK.shape[1]), dtype)
    for begin, end, first, weights in _banded_weights(len(values_NK), length, dtype):
        np.matmul(weights, values_NK[first : first + weights.shape[1]].astype(dtype), out=out[begin:end])
    return out


@lru_cache(maxsize=64)
def _banded_weights(
    in_length: int, out_length: int, dtype: str
) -> tuple[tuple[int, int, int, NDArray[np.floating]], ...]:
    """Split the weight matrix into bands of rows: (first row, end row, first column, weights of the columns used)."""
    weights = axis_weights(in_length, out_length)
    bands = []
    for begin in range(0, out_length, ROWS_PER_PRODUCT):
        end = min(begin + ROWS_PER_PRODUCT, out_length)
        used = np.flatnonzero(weights[begin:end].any(axis=0))
        bands.append((begin, end, int(used[0]), weights[begin:end, used[0] : used[-1] + 1].astype(dtype)))
    return tuple(bands)


def axis_weights(in_length: int, out_length: int) -> NDArray[np.int64]:
    """Return the integer weights, (out_length, in_length), that resize an axis of `in_length` pixels to `out_length`.

    Every row sums to 2**WEIGHT_BITS: exact area averages (shrinking) or linear interpolation between pixel centres
    (enlarging), as fractions of integers, rounded by largest remainder with ties to the first. No floats are involved.
    """
    shrinking = out_length < in_length
    shares, whole = (_area_shares if shrinking else _linear_shares)(in_length, out_length)
    weights, remainders = np.divmod(shares << WEIGHT_BITS, whole)
    missing = (1 << WEIGHT_BITS) - weights.sum(axis=1)
    ranks = np.argsort(np.argsort(-remainders, axis=1, kind="stable"), axis=1, kind="stable")
    weights += ranks < missing[:, None]
    return weights


def _area_shares(in_length: int, out_length: int) -> tuple[NDArray[np.int64], int]:
    """Return each input pixel's overlap with each output pixel, and `whole`, an output pixel's length in that unit."""
    out_edges = np.arange(out_length + 1, dtype=np.int64)[:, None] * in_length
    in_edges = np.arange(in_length + 1, dtype=np.int64)[None, :] * out_length
    overlap = np.minimum(out_edges[1:], in_edges[:, 1:]) - np.maximum(out_edges[:-1], in_edges[:, :-1])
    return np.maximum(overlap, 0), in_length


def _linear_shares(in_length: int, out_length: int) -> tuple[NDArray[np.int64], int]:
    """Return the shares, out of `whole`, of the two input pixels nearest to each output centre; edge pixels repeat."""
    whole = 2 * out_length
    rows = np.arange(out_length)
    centres = np.clip((2 * rows + 1) * in_length - out_length, 0, (in_length - 1) * whole)
    left, right_share = np.divmod(centres, whole)
    shares = np.zeros((out_length, in_length), np.int64)
    shares[rows, left] = whole - right_share
    shares[rows, np.minimum(left + 1, in_length - 1)] += right_share
    return shares, whole


__all__ = ["Frames", "axis_weights", "conform_frames", "frames_problem", "resize_frames"]
