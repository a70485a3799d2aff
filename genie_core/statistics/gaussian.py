"""Gaussian smoothing of pictures, for the metrics and the motion measure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def gaussian_kernel(size: int, sigma: float) -> NDArray[np.float64]:
    """Return the (size,) weights of a Gaussian of standard deviation `sigma` pixels, centred, summing to 1."""
    offsets = np.arange(size) - (size - 1) / 2
    weights: NDArray[np.float64] = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    return weights


def smooth_valid(x_XHW: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth the last two axes, only where the kernel fits: (..., H, W) -> (..., H - size + 1, W - size + 1)."""
    height, width = (length - len(kernel) + 1 for length in x_XHW.shape[-2:])
    rows = np.zeros((*x_XHW.shape[:-2], height, x_XHW.shape[-1]))
    for i, weight in enumerate(kernel):
        rows += weight * x_XHW[..., i : i + height, :]
    out = np.zeros((*rows.shape[:-1], width))
    for i, weight in enumerate(kernel):
        out += weight * rows[..., i : i + width]
    return out


def smooth_same(x_XHW: NDArray[np.float64], kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth the last two axes, keeping their size: edge pixels are repeated. For odd kernel sizes."""
    reach = len(kernel) // 2
    padding = [(0, 0)] * (x_XHW.ndim - 2) + [(reach, reach)] * 2
    return smooth_valid(np.pad(x_XHW, padding, mode="edge"), kernel)


__all__ = ["gaussian_kernel", "smooth_same", "smooth_valid"]
