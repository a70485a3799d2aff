"""Finds where video is cut: two pictures in a row that have less in common than those before and after them.

A cut is no motion of the robot, but gets a label all the same. Pure, but for reading the pictures of an episode.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Episode, Frames, resize_frames
from genie_core.statistics.metrics import Array

FALL = 0.3
"""How far the correlation of two pictures falls below that of the pairs before and after them at a cut. Of the sets in
docs/check.md without cuts, motion lets it fall by 0.13 at most; joining pictures of two scenes by 0.5 and more."""

UNLIKE = 0.5
"""Correlation of two pictures from which they are alike, however much more alike others are."""

MOST_FRAMES = 20_000
"""Frames that are looked at in a dataset, in whole episodes drawn at random."""

_SIDE = 32


def find_cuts(likeness_S: Array) -> NDArray[np.int64]:
    """Return the frames before which video is cut, given the likeness of each frame and the next, (T - 1,).

    A single odd picture, a flash say, is no cut: it is unlike both the one before and the one after.
    """
    if not len(likeness_S):
        return np.zeros(0, np.int64)
    around = np.concatenate([[1.0], likeness_S, [1.0]])
    fall_S = np.minimum(around[:-2], around[2:]) - likeness_S
    return np.flatnonzero((fall_S >= FALL) & (likeness_S < UNLIKE)).astype(np.int64) + 1


def read_likeness(episode: Episode) -> Array:
    """Correlate each picture of an episode with the next, (T - 1,); 1 where one of them is of one colour."""
    parts: list[Array] = []
    last_1P: Array | None = None
    for chunk in episode.chunks():
        small_TP = _thumbnails(chunk)
        seen_TP = small_TP if last_1P is None else np.concatenate([last_1P, small_TP])
        both = np.abs(seen_TP[1:]).any(axis=1) & np.abs(seen_TP[:-1]).any(axis=1)
        parts.append(np.where(both, (seen_TP[1:] * seen_TP[:-1]).sum(axis=1), 1.0))
        last_1P = small_TP[-1:]
    return np.concatenate(parts) if parts else np.zeros(0)


def _thumbnails(frames_THWC: Frames) -> Array:
    """Return small grey pictures of mean 0 and length 1, (T, P); all zeros for one colour."""
    grey_TP = resize_frames(frames_THWC, _SIDE, _SIDE).mean(axis=3, dtype=np.float64).reshape(len(frames_THWC), -1)
    grey_TP -= grey_TP.mean(axis=1, keepdims=True)
    length_T1 = np.linalg.norm(grey_TP, axis=1, keepdims=True)
    thumbnail_TP: Array = np.where(length_T1 > _SIDE, grey_TP / np.maximum(length_T1, 1e-9), 0.0)
    return thumbnail_TP


__all__ = ["FALL", "MOST_FRAMES", "UNLIKE", "find_cuts", "read_likeness"]
