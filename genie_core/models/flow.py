"""Dense optical flow between two frames (DIS: Kroeger et al. 2016), the input of the motion encoder.

The same function for training and labelling. It reads only two frames, so that concurrent work, its order and the
number of threads change no bit.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genie_core.errors import ModelError

if TYPE_CHECKING:
    from types import ModuleType

UNIT = 64
"""Flow is measured in pixels of a frame with this side, so that networks read the same at any frame size."""

_PATCH, _STRIDE = 8, 4
"""Pixels: side of the patches that are matched, and how far apart they are, at the frame's own size as the finest."""

_LEAST_SIDE = 12
"""Pixels, below which a frame has no room for patches."""


def optical_flow(before_HWC: NDArray[np.uint8], after_HWC: NDArray[np.uint8], grid: int) -> NDArray[np.float32]:
    """Compute where each place of the earlier frame moves to.

    Args:
        before_HWC: (H, W, 3) uint8 RGB.
        after_HWC: the later frame, of the same size.
        grid: cells per side over which the flow is averaged.

    Returns:
        (2, grid, grid) float32: columns, then rows, in pixels of a frame of `UNIT` pixels a side.

    Raises:
        ModelError: OpenCV is not installed.

    """
    height, width, _ = before_HWC.shape
    cells_GG2 = _opencv().resize(dense_flow(before_HWC, after_HWC), (grid, grid), interpolation=_opencv().INTER_AREA)
    scaled: NDArray[np.float32] = cells_GG2 * np.array([UNIT / width, UNIT / height], np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def dense_flow(before_HWC: NDArray[np.uint8], after_HWC: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the flow at every pixel: (H, W, 3) uint8 RGB each -> (H, W, 2) float32, columns, then rows, in pixels.

    Of a frame and itself it is exactly 0.

    Raises:
        ModelError: OpenCV is not installed, or the frames are too small.

    """
    cv2 = _opencv()
    height, width, _ = before_HWC.shape
    if min(height, width) < _LEAST_SIDE:
        raise ModelError(
            f"optical flow: got frames of {height} x {width}, expected {_LEAST_SIDE} pixels a side or more"
        )
    grey = [cv2.cvtColor(np.ascontiguousarray(f), cv2.COLOR_RGB2GRAY) for f in (before_HWC, after_HWC)]
    # Made anew for every pair (0.03 ms), so that threads share nothing.
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(0)
    search.setPatchSize(_PATCH)
    search.setPatchStride(_STRIDE)
    search.setVariationalRefinementIterations(0)
    flow_HW2: NDArray[np.float32] = search.calc(grey[0], grey[1], None)
    return flow_HW2


def shrink(frame_HWC: NDArray[np.uint8], grid: int) -> NDArray[np.uint8]:
    """Average a frame to (grid, grid, 3) uint8."""
    cv2 = _opencv()
    small: NDArray[np.uint8] = cv2.resize(frame_HWC, (grid, grid), interpolation=cv2.INTER_AREA)
    return small


@lru_cache(maxsize=1)
def _opencv() -> ModuleType:
    try:
        import cv2
    except ImportError as error:
        raise ModelError(
            "this model reads optical flow, which needs opencv-python-headless: pip install 'genie-latent[core]'"
        ) from error
    cv2.setNumThreads(1)  # parallelism comes from our own threads
    module: ModuleType = cv2
    return module


__all__ = ["UNIT", "dense_flow", "optical_flow", "shrink"]
