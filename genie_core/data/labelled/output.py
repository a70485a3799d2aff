"""Paths of labelled files: the default, the possible frames modes, and checks."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from genie_core.data.dataset import LABELLED_FOLDER, LABELLED_SUFFIX, ROBOMIMIC_LAYOUT, Dataset
from genie_core.data.labelled.journal import journal_folder
from genie_core.data.labelled.provenance import FramesMode
from genie_core.data.labelled.reading import seems_labelled
from genie_core.data.labelled.schema import is_labelled
from genie_core.data.labelled.source_layout import check_own_output, has_own_layout
from genie_core.data.storage.location import RemotePath, SourcePath, absolute, lies_within
from genie_core.errors import DatasetError

Existing = Literal["refuse", "resume", "overwrite"]
"""What to do if the output exists: refuse, add the episodes that it lacks, or replace it."""

_OF_ROBOMIMIC: tuple[FramesMode, ...] = ("link", "copy", "in_place", "none")
_OF_REMOTE_ROBOMIMIC: tuple[FramesMode, ...] = ("copy", "none")
_OF_OWN_LAYOUT: tuple[FramesMode, ...] = ("model", "link", "copy", "in_place", "none")
_OF_OTHERS: tuple[FramesMode, ...] = ("model", "none")


def keeps_layout(dataset: Dataset, frames: FramesMode) -> bool:
    """Return whether labels are written in the layout of a source that is not robomimic's."""
    return frames in ("link", "copy", "in_place") and has_own_layout(dataset)


def default_output(source: SourcePath, *, own_layout: bool = False) -> Path:
    """Return the default path for the labels of `source`: ``X.labelled.hdf5`` beside the file or folder ``X``.

    For a URL it is in the current folder; for a folder in its `own_layout` it is the folder ``X.labelled``.
    """
    if own_layout and isinstance(source, Path) and source.is_dir():
        source = _local(source)
        return source.with_name(source.name + LABELLED_FOLDER)
    if isinstance(source, RemotePath):
        return Path(source.stem + LABELLED_SUFFIX)
    source = _local(source)
    return source.with_name((source.name if source.is_dir() else source.stem) + LABELLED_SUFFIX)


def _local(source: Path) -> Path:
    place = absolute(source)
    assert isinstance(place, Path)
    return place


def default_frames(dataset: Dataset) -> FramesMode:
    """Return the default frames mode of a labelled file.

    ``link`` for robomimic's layout, ``copy`` for such files behind a URL, ``model`` for all others.
    """
    return frames_modes(dataset)[0]


def frames_modes(dataset: Dataset) -> tuple[FramesMode, ...]:
    """Return the possible frames modes of a labelled file, the default first."""
    if has_own_layout(dataset):
        return _OF_OWN_LAYOUT
    if dataset.format not in ROBOMIMIC_LAYOUT:
        return _OF_OTHERS
    return _OF_REMOTE_ROBOMIMIC if isinstance(dataset.path, RemotePath) else _OF_ROBOMIMIC


def check_output(output: Path, dataset: Dataset, frames: FramesMode, existing: Existing) -> None:
    """Raise DatasetError if the labels of `dataset` cannot or must not be written to `output`.

    If an output exists beside a journal, or carries labels, `LabelWriter` checks whether it is what this run, or the
    journal's, has written.
    """
    place = output.resolve() if frames == "in_place" else output
    may_exist = existing != "refuse" or journal_folder(place).is_dir() or seems_labelled(place)
    check_place(output, dataset, frames, may_exist=may_exist)


def check_place(output: Path, dataset: Dataset, frames: FramesMode, *, may_exist: bool) -> None:
    """Raise DatasetError if labels cannot be written to `output`, or it exists (in place: has labels) and must not."""
    modes = frames_modes(dataset)
    if frames not in modes:
        wanted = ", ".join(modes)
        raise DatasetError(f"frames: got {frames}, expected one of {wanted} for a {_kind(dataset)} source")
    if keeps_layout(dataset, frames):
        if not output.resolve().parent.is_dir():
            raise DatasetError(f"{output}: cannot be written: it lies in no folder that exists")
        check_own_output(output, dataset, frames, exists_is_fine=may_exist)
        return
    if output.is_dir() or not output.parent.is_dir():
        raise DatasetError(f"{output}: cannot be written: it is a folder, or lies in none that exists")
    if frames == "in_place":
        _check_in_place(output, dataset, may_exist)
    else:
        _check_beside(output, dataset, may_exist)


def _kind(dataset: Dataset) -> str:
    return f"remote {dataset.format}" if isinstance(dataset.path, RemotePath) else dataset.format


def _check_in_place(output: Path, dataset: Dataset, may_exist: bool) -> None:
    if output.resolve() != dataset.path.resolve():
        raise DatasetError(f"{output}: labelling in place: got another output, expected the source, one HDF5 file")
    if not may_exist and is_labelled(output):
        raise DatasetError(f"{output}: carries labels already; resume it, or overwrite them")


def _check_beside(output: Path, dataset: Dataset, may_exist: bool) -> None:
    resolved, source = output.resolve(), dataset.path.resolve()
    if resolved in {episode.source.resolve() for episode in dataset.episodes}:
        raise DatasetError(f"{output}: is the source itself; choose another file, or label in place")
    if lies_within(resolved, source) and source.is_dir() and not output.name.endswith(LABELLED_SUFFIX):
        raise DatasetError(f"{output}: lies among its sources; choose another folder, or a name *{LABELLED_SUFFIX}")
    if not may_exist and output.exists():
        raise DatasetError(f"{output}: exists already; resume it, or overwrite it")


__all__ = [
    "Existing",
    "check_output",
    "check_place",
    "default_frames",
    "default_output",
    "frames_modes",
    "keeps_layout",
]
