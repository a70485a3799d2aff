"""Reads latents to simulate with: those of a labelled episode, or the user's own array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genie_client.prompt import Moment, is_picture
from genie_core.data import open_labelled, source_path
from genie_core.data.storage.npy import read_npy
from genie_core.errors import DatasetError


@dataclass(frozen=True)
class Replay:
    """Latents (T, D) float32; where they come from labels also their codes, the id of the bundle that made them, and
    how many frames each spans.
    """

    latent_TD: NDArray[np.float32]
    codes: Sequence[int] | None
    bundle_id: str | None = None
    step: int | None = None

    def __len__(self) -> int:
        return len(self.latent_TD)


def read_replay(path: Path, moment: Moment, most: int | None = None) -> Replay:
    """Read latents from a NumPy file (T, D), or from the labels of an episode, from the moment's frame on.

    Of labels every step-th is read, so that each goes on where the one before ends, up to the first that is not valid.

    Args:
        path: ``.npy``, or a labelled file or folder.
        moment: episode of a labelled file, by its name there or in the data that was labelled, None for the first; and
            frame. Neither matters for a NumPy file.
        most: largest number of latents to read; None: all.

    Raises:
        DatasetError: `path` cannot be read, holds something else, or has no labels there.

    """
    if path.suffix.lower() == ".npy":
        return Replay(_read_array(path)[:most], None)
    labelled = open_labelled(source_path(str(path)))
    episode = labelled.episodes[0] if moment.episode is None and labelled.episodes else moment.episode or ""
    if episode not in labelled.episodes:
        episode = next((e for e in labelled.episodes if labelled.labels_attrs(e).source_name == episode), episode)
    labels, provenance = labelled.labels(episode)
    at = np.arange(moment.frame, len(labels.code), provenance.step)
    ends = np.flatnonzero(~labels.valid[at])
    at = at[: int(ends[0]) if len(ends) else len(at)][:most]
    if not len(at):
        raise DatasetError(f"{path}: {episode} has no transition from frame {moment.frame} on")
    codes = [int(code) for code in labels.code[at]]
    return Replay(labels.latent[at].astype(np.float32), codes, labelled.model.bundle_id, provenance.step)


def labelled_with(path: Path) -> tuple[str, str] | None:
    """Return name and id of the bundle whose labels a file or folder holds; None if it holds none."""
    if path.suffix.lower() == ".npy" or is_picture(path):
        return None
    try:
        model = open_labelled(source_path(str(path))).model
    except DatasetError:
        return None
    return model.bundle_name, model.bundle_id


def _read_array(path: Path) -> NDArray[np.float32]:
    held = read_npy(path)
    if held.ndim != 2 or held.dtype.kind not in "fiu" or not len(held):
        found = f"{held.dtype} of shape {held.shape}"
        raise DatasetError(f"{path}: got {found}, expected latents: numbers of shape (frames, size of a latent)")
    return held.astype(np.float32)


__all__ = ["Replay", "labelled_with", "read_replay"]
