"""Baselines without a latent action model: features of the two frames of a transition, which labels must beat.

Each is a function of the frames alone; probes measure how much of the truth it contains.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from genie_core.data import Frames, resize_frames
from genie_core.evaluation.flow import FlowField, cell_means
from genie_core.models.bundle import Bundle
from genie_core.models.genie import Genie
from genie_core.statistics.metrics import Array

SIDE = 8
"""Cells per side of the shrunken frames and of the finer flow."""

FLOWS = {"flow_8x8": 8, "flow_4x4": 4, "flow_global": 1}
"""Cells per side of each flow baseline."""

BASELINES = (*FLOWS, "frame_difference", "frame")
"""By name: means of optical flow over 8 x 8, 4 x 4 and 1 x 1 cells (128, 32 and 2 numbers), the difference of the two
frames shrunk to 8 x 8 (192 numbers), and the first of them alone, likewise (192): what the scene alone tells."""


def baseline_features(before_SHWC: Frames, after_SHWC: Frames, flow_SHW2: FlowField) -> dict[str, Array]:
    """Return every baseline's features (S, F) of S pairs of frames, (S, H, W, 3) uint8 each, and `optical_flow`."""
    small = [resize_frames(x, SIDE, SIDE).astype(np.float64) for x in (before_SHWC, after_SHWC)]
    features = {name: cell_means(flow_SHW2, cells) for name, cells in FLOWS.items()}
    features |= {"frame_difference": small[1] - small[0], "frame": small[0]}
    return {name: x.reshape(len(x), -1) for name, x in features.items()}


def random_encoder(bundle: Bundle, seed: int) -> Bundle:
    """Return the same bundle with newly initialised weights: what its architecture alone extracts from frames.

    Torch's global random state is left unchanged.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = Genie(bundle.config)
    reference = next(bundle.genie.parameters())
    return replace(bundle, genie=fresh.to(reference.device, reference.dtype).eval().requires_grad_(False))


__all__ = ["BASELINES", "FLOWS", "baseline_features", "random_encoder"]
