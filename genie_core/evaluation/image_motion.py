"""Image motion: displacement of a picture's moving part, one per pair of frames, in pixels.

The measure is Lucas and Kanade's (1981) for a single displacement: over the pixels that change, the (dx, dy) that best
explains the change to first order, after smoothing. Knows nothing of robots, codes or models.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Frames
from genie_core.statistics.gaussian import gaussian_kernel, smooth_same

CHANGED = 0.06
"""Difference in a colour, in a range of 1, above which a pixel has changed."""

LEAST_PIXELS = 8
"""Number of changed pixels below which nothing moved."""

_KERNEL = gaussian_kernel(13, 2.0)


def image_motion(frames_THWC: Frames) -> NDArray[np.float64]:
    """Return the displacement of what moves between consecutive frames: (T, H, W, 3) uint8 -> (T - 1, 2) dx, dy pixels.

    dx is positive to the right, dy downwards. Zero if fewer than `LEAST_PIXELS` pixels change.
    """
    colour_THWC = frames_THWC.astype(np.float64) / 255
    changed_SHW = np.abs(np.diff(colour_THWC, axis=0)).max(axis=-1) > CHANGED
    grey_THW = smooth_same(colour_THWC.mean(axis=-1), _KERNEL)
    weight_SHW = smooth_same(changed_SHW.astype(np.float64), _KERNEL)
    change_SHW = np.diff(grey_THW, axis=0)
    slope_y_SHW, slope_x_SHW = np.gradient((grey_THW[1:] + grey_THW[:-1]) / 2, axis=(1, 2))
    slope_S2HW = np.stack((slope_x_SHW, slope_y_SHW), axis=1)
    # Normal equations of: sum over pixels of weight * (slope . displacement + change)^2, at its minimum.
    matrix_S22 = np.einsum("sihw,sjhw,shw->sij", slope_S2HW, slope_S2HW, weight_SHW)
    vector_S2 = -np.einsum("sihw,shw,shw->si", slope_S2HW, change_SHW, weight_SHW)
    matrix_S22 += 1e-6 * (np.trace(matrix_S22, axis1=1, axis2=2) + 1e-12)[:, None, None] * np.eye(2)
    motion_S2: NDArray[np.float64] = np.linalg.solve(matrix_S22, vector_S2[..., None])[..., 0]
    moving_S = changed_SHW.sum(axis=(1, 2)) >= LEAST_PIXELS
    return np.where(moving_S[:, None], motion_S2, 0.0)


__all__ = ["image_motion"]
