"""Gaussian smoothing of pictures, for the metrics and the motion measure. Nothing else is smoothed here."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray


def gaussian_kernel(size: int, sigma: float) -> NDArray[np.float64]:
    """(size,) weights of a Gaussian of standard deviation `sigma` pixels, centred, summing to 1."""
    offsets = np.arange(size) - (size - 1) / 2
    weights: NDArray[np.float64] = np.exp(-0.5 * (offsets / sigma) ** 2)
    return weights / weights.sum()


def smooth_valid(x_XHW: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth the last two axes, only where the kernel fits: (..., H, W) -> (..., H - size + 1, W - size + 1)."""
    size = len(kernel)
    rows: NDArray[np.float64] = sliding_window_view(x_XHW, size, axis=-2) @ kernel
    out: NDArray[np.float64] = sliding_window_view(rows, size, axis=-1) @ kernel
    return out


def smooth_same(x_XHW: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth the last two axes and keep their size: pixels beyond the edge repeat it. For odd kernel sizes."""
    reach = len(kernel) // 2
    padding = [(0, 0)] * (x_XHW.ndim - 2) + [(reach, reach)] * 2
    return smooth_valid(np.pad(x_XHW, padding, mode="edge"), kernel)


__all__ = ["gaussian_kernel", "smooth_same", "smooth_valid"]
