"""Writes what a check would keep into the labelled file: a filter key of episodes, and an array of transitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genie_core.checking.codes import CheckedEpisode
from genie_core.checking.report import EpisodeRow
from genie_core.data import LabelledFile
from genie_core.data.frames.content import runs
from genie_core.data.storage.hdf5 import write_hdf5
from genie_core.errors import DatasetError

FILTER_KEY = "genie_keep"
"""Filter key of the episodes to keep: ``mask/genie_keep``, as robomimic's ``hdf5_filter_key`` takes it."""
KEEP = "latent_actions_keep"
"""Array beside the labels of each episode, (T,) bool: transitions to train on."""
STRETCH = 10
"""Transitions in a row in which nothing moves that are a static stretch."""


def kept_transitions(episode: CheckedEpisode, cuts: NDArray[np.int64], delete: bool) -> NDArray[np.bool_]:
    """Return (T,) which transitions to train on: those with a label, but for cuts, static stretches and bad episodes.

    Args:
        episode: its labels.
        cuts: frames before which its video is cut.
        delete: whether the whole episode is better left out.

    """
    kept = np.zeros(episode.frames, np.bool_)
    if delete:
        return kept
    kept[episode.frame_S] = True
    for first, last in static_stretches(episode):
        kept[first : last + 1] = False
    for cut in cuts.tolist():
        kept[max(0, cut - episode.step) : cut] = False
    return kept


def static_stretches(episode: CheckedEpisode) -> list[tuple[int, int]]:
    """Return the first and last frame of each row of `STRETCH` labelled transitions or more in which nothing moves."""
    return [
        (int(episode.frame_S[start]), int(episode.frame_S[stop - 1]))
        for start, stop in runs(~episode.moving_S)
        if stop - start >= STRETCH
    ]


def check_maskable(labelled: LabelledFile) -> None:
    """Raise DatasetError unless a mask can be written into the file."""
    if labelled.attrs.layout is not None or not isinstance(labelled.path, Path):
        raise DatasetError(
            f"{labelled.path}: got a file of another layout, or behind a URL, expected a local one in robomimic's "
            "layout: --mask writes a filter key; use --parquet here"
        )


def write_mask(labelled: LabelledFile, rows: Sequence[EpisodeRow], kept: Mapping[str, NDArray[np.bool_]]) -> None:
    """Add the mask to the labelled file, replacing an earlier one; the file is replaced whole, or stays as it was.

    Raises:
        DatasetError: see `check_maskable`; or the disk is full.

    """
    check_maskable(labelled)
    names = np.array([row.episode for row in rows if not row.delete], "S")
    with write_hdf5(Path(str(labelled.path)), update=True) as atomic, atomic.writing() as file:
        key = f"mask/{FILTER_KEY}"
        if key in file:
            del file[key]
        file[key] = names if len(names) else np.zeros(0, "S1")
        for name, keep_T in kept.items():
            group = file[labelled.places[name].group]
            if KEEP in group:
                del group[KEEP]
            group[KEEP] = keep_T


__all__ = ["FILTER_KEY", "KEEP", "check_maskable", "kept_transitions", "static_stretches", "write_mask"]
