"""Where a labelled file may go: its default name, which frames it can have, and why a path is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from genie_core.data.dataset import LABELLED_SUFFIX, Dataset, Format
from genie_core.data.hdf5 import read_hdf5
from genie_core.data.label_schema import MODEL_GROUP, FramesMode
from genie_core.errors import DatasetError

Existing = Literal["refuse", "resume", "overwrite"]
"""What to do where the output exists: say so, add the episodes that it lacks, or replace it."""

_FRAMES_MODES: dict[Format, tuple[FramesMode, ...]] = {
    "lerobot": ("model", "none"),
    "robomimic": ("link", "copy", "in_place", "none"),
    "video": ("model", "none"),
}


def default_output(source: Path) -> Path:
    """Where the labels of `source` go if nobody says: ``X.labelled.hdf5`` beside the file or folder ``X``."""
    source = source.resolve()
    return source.with_name((source.name if source.is_dir() else source.stem) + LABELLED_SUFFIX)


def default_frames(dataset: Dataset) -> FramesMode:
    """Where the frames of a labelled file are if nobody says: ``link`` for HDF5 sources, ``model`` for all others."""
    return _FRAMES_MODES[dataset.format][0]


def check_output(output: Path, dataset: Dataset, frames: FramesMode, existing: Existing) -> None:
    """Raise DatasetError where the labels of `dataset` cannot or must not be written to `output`."""
    modes = _FRAMES_MODES[dataset.format]
    if frames not in modes:
        wanted = ", ".join(modes)
        raise DatasetError(f"frames: came {frames}, wanted one of {wanted} for a {dataset.format} source")
    if output.is_dir() or not output.parent.is_dir():
        raise DatasetError(f"{output}: cannot be written: it is a folder, or lies in none that exists")
    if frames == "in_place":
        _check_in_place(output, dataset, existing)
    else:
        _check_beside(output, dataset, existing)


def is_labelled(path: Path) -> bool:
    """Whether an HDF5 file carries labels. Raises DatasetError where it is no HDF5 file."""
    with read_hdf5(path) as file:
        return MODEL_GROUP in file


def _check_in_place(output: Path, dataset: Dataset, existing: Existing) -> None:
    if output.resolve() != dataset.path.resolve():
        raise DatasetError(f"{output}: to label in place the output is the source itself, one HDF5 file")
    if existing == "refuse" and is_labelled(output):
        raise DatasetError(f"{output}: carries labels already; resume it, or overwrite them")


def _check_beside(output: Path, dataset: Dataset, existing: Existing) -> None:
    resolved, source = output.resolve(), dataset.path.resolve()
    if resolved in {episode.source.resolve() for episode in dataset.episodes}:
        raise DatasetError(f"{output}: is the source itself; choose another file, or label in place")
    if source.is_dir() and resolved.is_relative_to(source) and not output.name.endswith(LABELLED_SUFFIX):
        raise DatasetError(f"{output}: lies among its sources; choose another folder, or a name *{LABELLED_SUFFIX}")
    if existing == "refuse" and output.exists():
        raise DatasetError(f"{output}: exists already; resume it, or overwrite it")


__all__ = ["Existing", "check_output", "default_frames", "default_output", "is_labelled"]
