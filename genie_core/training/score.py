"""How well labels predict motion, without ground truth: flow of held-out transitions from codes and from latents.

What is predicted is the optical flow of 8 x 8 parts of the picture. It is divided by its own size, so that small
motions count as much as large ones. Higher is better; bundles are comparable on the same transitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Frames
from genie_core.evaluation.flow import cell_means, optical_flow
from genie_core.models.flow import UNIT
from genie_core.statistics.metrics import Array
from genie_core.statistics.ridge import fit_ridge

CELLS = 8
_STILL = 0.02
"""Mean squared flow (pixels of 64) below which a pair counts for less, as in training."""
MOVING = 0.5
"""Pixels of 64 that the fastest part of the picture moves by in a transition in which something moves."""


@dataclass(frozen=True)
class Motion:
    """Motion in N transitions.

    Attributes:
        flow_NX: (N, 128) flow of the parts over its own size.
        moving_N: (N,) whether something moves.
        episode_N: (N,) episode of each.

    """

    flow_NX: Array
    moving_N: NDArray[np.bool_]
    episode_N: NDArray[np.int64]


@dataclass(frozen=True)
class Read:
    """Labels of the same transitions by one bundle: latents (N, D), and codes (N,) of each level by name."""

    latent_ND: Array
    codes: Mapping[str, NDArray[np.int64]]


def motion_of(before_NHWC: Frames, after_NHWC: Frames, episode_N: NDArray[np.int64]) -> Motion:
    """Return what moves between frames (N, H, W, 3) uint8."""
    height, width = before_NHWC.shape[1:3]
    cells_NGG2 = cell_means(optical_flow(before_NHWC, after_NHWC), CELLS) * [UNIT / width, UNIT / height]
    flow_NX = cells_NGG2.reshape(len(cells_NGG2), -1)
    fastest_N = np.linalg.norm(cells_NGG2, axis=-1).reshape(len(cells_NGG2), -1).max(axis=1, initial=0.0)
    size_N1 = np.sqrt(np.square(flow_NX).mean(axis=1, keepdims=True) + _STILL)
    return Motion(flow_NX / size_N1, fastest_N >= MOVING, episode_N)


def scores(train: Motion, train_read: Read, held_out: Motion, held_out_read: Read) -> dict[str, float]:
    """Return the share of the held-out flow's variance that each kind of label explains, 0 to 1.

    By code: the mean flow of the code's transitions in `train`; ``latent``: a ridge fitted on them.
    """
    found = {
        name: _told(held_out.flow_NX, _by_code(code_N, train.flow_NX)[_known(held_out_read.codes[name], code_N)])
        for name, code_N in train_read.codes.items()
    }
    probe = fit_ridge(train_read.latent_ND, train.flow_NX, train.episode_N)
    return {**found, "latent": _told(held_out.flow_NX, probe(held_out_read.latent_ND))}


def top_share(code_N: NDArray[np.int64], moving_N: NDArray[np.bool_]) -> float:
    """Return the share of the most frequent code among the transitions in which something moves; 0 without any."""
    counts = np.bincount(code_N[moving_N])
    return float(counts.max() / counts.sum()) if len(counts) else 0.0


def _by_code(code_N: NDArray[np.int64], flow_NX: Array) -> Array:
    """Return the mean flow of each code, and last that of all, for codes that do not occur: (codes + 1, X)."""
    known = np.unique(code_N)
    return np.stack([*(flow_NX[code_N == code].mean(axis=0) for code in known), flow_NX.mean(axis=0)])


def _known(code_N: NDArray[np.int64], train_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows of `_by_code` for these codes."""
    known = np.unique(train_N)
    row_N = np.minimum(np.searchsorted(known, code_N), len(known) - 1)
    rows: NDArray[np.int64] = np.where(known[row_N] == code_N, row_N, len(known))
    return rows


def _told(truth_NX: Array, predicted_NX: Array) -> float:
    variance = np.square(truth_NX - truth_NX.mean(axis=0)).sum()
    return float(1 - np.square(truth_NX - predicted_NX).sum() / max(variance, 1e-12))


__all__ = ["MOVING", "Motion", "Read", "motion_of", "scores", "top_share"]
