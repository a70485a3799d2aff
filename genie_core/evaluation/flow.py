"""Optical flow of pairs of frames, by OpenCV's Farneback: the classical baseline that needs no training.

A pair's flow is a function of its two frames alone: no batch, thread or earlier pair changes a bit of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from numpy.typing import NDArray

from genie_core.data import Frames

FlowField = NDArray[np.float32]
"""(S, H, W, 2): x and y in pixels that each place moved, from the first frame to the second."""

PYRAMID_SCALE, LEVELS, WINDOW, ITERATIONS, POLY_SIZE, POLY_SIGMA = 0.5, 3, 9, 3, 5, 1.1
"""Farneback's parameters, for frames of 64 x 64 or a few times that."""


def optical_flow(before_SHWC: Frames, after_SHWC: Frames) -> FlowField:
    """Dense flow of S pairs of frames, (S, H, W, 3) uint8 RGB each -> (S, H, W, 2) float32 in pixels.

    Farneback's polynomial expansion (SCIA 2003) on grey frames.
    """
    flow_SHW2 = np.zeros((*before_SHWC.shape[:3], 2), np.float32)
    with _one_thread():
        for before_HWC, after_HWC, out_HW2 in zip(before_SHWC, after_SHWC, flow_SHW2, strict=True):
            before_HW, after_HW = (cv2.cvtColor(x, cv2.COLOR_RGB2GRAY) for x in (before_HWC, after_HWC))
            cv2.calcOpticalFlowFarneback(
                before_HW, after_HW, out_HW2, PYRAMID_SCALE, LEVELS, WINDOW, ITERATIONS, POLY_SIZE, POLY_SIGMA, 0
            )
    return flow_SHW2


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV computes in one thread meanwhile: frames are small, and its threads would fight with torch's."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def cell_means(x_SHWC: NDArray[np.floating], cells: int) -> NDArray[np.float64]:
    """Means over `cells` x `cells` parts of the picture: (S, H, W, C) -> (S, cells, cells, C).

    Parts differ by a pixel where the picture does not divide evenly; H and W must be `cells` at least.
    """
    rows, columns = (np.linspace(0, length, cells + 1).round().astype(int) for length in x_SHWC.shape[1:3])
    sums = np.add.reduceat(np.add.reduceat(x_SHWC, rows[:-1], axis=1, dtype=np.float64), columns[:-1], axis=2)
    means: NDArray[np.float64] = sums / (np.diff(rows)[:, None, None] * np.diff(columns)[None, :, None])
    return means


__all__ = ["FlowField", "cell_means", "optical_flow"]
