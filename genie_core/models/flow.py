"""Dense optical flow between two frames (Farneback 2003), the input of the motion encoder.

The same function for training and labelling. It reads only two frames, so that concurrent work, its order and the
number of threads change no bit.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genie_core.errors import ModelError

if TYPE_CHECKING:
    from types import ModuleType

UNIT = 64
"""Flow is measured in pixels of a frame with this side, so that networks read the same at any frame size."""

_FARNEBACK: dict[str, Any] = {
    "pyr_scale": 0.5,
    "levels": 3,
    "winsize": 9,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.1,
    "flags": 0,
}


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
    """The flow at every pixel: (H, W, 3) uint8 RGB each -> (H, W, 2) float32, columns, then rows, in pixels.

    Raises:
        ModelError: OpenCV is not installed.

    """
    cv2 = _opencv()
    grey = [cv2.cvtColor(np.ascontiguousarray(f), cv2.COLOR_RGB2GRAY) for f in (before_HWC, after_HWC)]
    flow_HW2: NDArray[np.float32] = cv2.calcOpticalFlowFarneback(grey[0], grey[1], None, **_FARNEBACK)
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
