"""Optical flow as a baseline: of pairs of frames, and averaged over parts of the picture. No training is needed.

It is the flow that the motion encoder reads too (`genie_core.models.flow`), so that what a model adds to it is seen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Frames
from genie_core.models.flow import dense_flow

FlowField = NDArray[np.float32]
"""(S, H, W, 2): x and y in pixels that each place moved, from the first frame to the second."""


def optical_flow(before_SHWC: Frames, after_SHWC: Frames) -> FlowField:
    """Return the dense flow of S pairs of frames, (S, H, W, 3) uint8 RGB each -> (S, H, W, 2) float32 in pixels."""
    flow_SHW2 = np.zeros((*before_SHWC.shape[:3], 2), np.float32)
    for before_HWC, after_HWC, out_HW2 in zip(before_SHWC, after_SHWC, flow_SHW2, strict=True):
        out_HW2[:] = dense_flow(before_HWC, after_HWC)
    return flow_SHW2


def cell_means(x_SHWC: NDArray[np.floating], cells: int) -> NDArray[np.float64]:
    """Return means over `cells` x `cells` parts of the picture: (S, H, W, C) -> (S, cells, cells, C).

    Parts differ by a pixel where the picture does not divide evenly; H and W must be `cells` at least.
    """
    rows, columns = (np.linspace(0, length, cells + 1).round().astype(int) for length in x_SHWC.shape[1:3])
    sums = np.add.reduceat(np.add.reduceat(x_SHWC, rows[:-1], axis=1, dtype=np.float64), columns[:-1], axis=2)
    means: NDArray[np.float64] = sums / (np.diff(rows)[:, None, None] * np.diff(columns)[None, :, None])
    return means


__all__ = ["FlowField", "cell_means", "optical_flow"]
