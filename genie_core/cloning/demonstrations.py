"""Demonstrations of the expert, read in two separate parts: videos, and actions.

Training on latent actions calls `read_videos` only. Actions are read only where a method may see them: of a policy with
N labelled transitions, `labelled_rows` returns no others than those N.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Frames, open_dataset
from genie_core.errors import DatasetError

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


def read_videos(path: Path) -> list[Frames]:
    """Return the frames of every demonstration, (T, H, W, 3) uint8 each. Actions are not read."""
    return [episode.frames() for episode in open_dataset(path).episodes]


def transition_counts(path: Path) -> list[int]:
    """Return the number of transitions in every demonstration."""
    return [episode.num_frames - 1 for episode in open_dataset(path).episodes]


def read_actions(path: Path) -> Array:
    """Return the actions of all transitions, (M, A): in each demonstration all but the last, which leads to no frame.

    Raises:
        DatasetError: a demonstration has no actions.

    """
    rows = []
    for episode in open_dataset(path).episodes:
        actions_TA = episode.actions
        if actions_TA is None:
            raise DatasetError(f"{path}: {episode.name} has no actions, expected `actions` (T, A)")
        rows.append(actions_TA[:-1].astype(np.float64))
    return np.concatenate(rows)


def labelled_rows(lengths: Sequence[int], count: int, seed: int) -> Rows:
    """Choose which `count` transitions are labelled: whole demonstrations in an order drawn by the seed, the last cut.

    Args:
        lengths: number of transitions in each demonstration.
        count: N.
        seed: of the order; with the same seed, a larger N includes a smaller one.

    Raises:
        DatasetError: there are fewer than `count`.

    """
    if count > sum(lengths):
        raise DatasetError(f"labelled: got {count}, the demonstrations have {sum(lengths)} transitions")
    starts = np.concatenate(([0], np.cumsum(lengths)))
    order = np.random.default_rng([seed, 0]).permutation(len(lengths))
    return np.concatenate([np.arange(starts[i], starts[i + 1]) for i in order])[:count]


__all__ = [
    "Rows",
    "labelled_rows",
    "read_actions",
    "read_videos",
    "transition_counts",
]
