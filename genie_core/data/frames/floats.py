"""Pictures stored as floating-point numbers, where a file's own values say their range: 0 to 1, or 0 to 255."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from genie_core.data.frames.resize import Frames
from genie_core.errors import DatasetError

_SLACK = 1e-3
"""What values may be outside of their range by, of its length: some writers round."""


def highest_of(samples: Iterable[NDArray[np.floating]]) -> float:
    """Return what stands for full brightness: 1 or 255.

    Args:
        samples: pictures of any shape, as many as it takes: the first values above 1, or between 0 and 1, tell.

    Raises:
        DatasetError: values below 0, above 255, or none.

    """
    for sample in samples:
        highest = _checked(sample, 255.0)
        if highest > 1 + _SLACK:
            return 255.0
        if np.any((sample > 0) & (sample < 1)):
            return 1.0
    return 1.0


def to_bytes(frames: NDArray[np.floating], highest: float) -> Frames:
    """Return pictures as uint8, rounded half to even, where `highest` is full brightness.

    Raises:
        DatasetError: values outside of 0 to `highest`.

    """
    _checked(frames, highest)
    scaled = frames.astype(np.float64) * (255.0 / highest)
    return np.rint(scaled).clip(0, 255).astype(np.uint8)


def _checked(frames: NDArray[np.floating], highest: float) -> float:
    if not frames.size:
        return 0.0
    low, high = float(frames.min()), float(frames.max())
    if not (low >= -_SLACK * highest and high <= highest * (1 + _SLACK)):
        raise DatasetError(
            f"got {frames.dtype} pictures with values {low:g} to {high:g}, expected 0 to {highest:g}; "
            "convert them to uint8, 0 to 255"
        )
    return high


__all__ = ["highest_of", "to_bytes"]
