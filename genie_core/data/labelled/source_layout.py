"""Writes labels in the source's own layout (ALOHA, described HDF5): in each episode's group, one file per source file.

A folder becomes a folder of files of the same names; each is written whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import h5py

from genie_core.data.dataset import Dataset
from genie_core.data.episode import Episode
from genie_core.data.formats.robomimic.reader import LABEL_GROUP, require_link
from genie_core.data.labelled.assembly import StoredLabels, copy_labels, link_target
from genie_core.data.labelled.file_provenance import FileProvenance
from genie_core.data.labelled.provenance import FramesMode, LabelModel
from genie_core.data.labelled.reading import seems_labelled
from genie_core.data.labelled.schema import MODEL_GROUP, write_model
from genie_core.data.storage.hdf5 import read_hdf5, write_hdf5
from genie_core.data.storage.location import SourcePath, path_within
from genie_core.errors import DatasetError


def has_own_layout(dataset: Dataset) -> bool:
    """Return whether labels fit into each episode's group: local HDF5 other than robomimic's, one group per episode."""
    if dataset.format not in ("aloha", "hdf5") or not isinstance(dataset.path, Path):
        return False
    groups = [(episode.source, _group(episode)) for episode in dataset.episodes if episode.reader.group is not None]
    return len(set(groups)) == len(groups)


def write_own_layout(
    output: Path, dataset: Dataset, stored: Mapping[str, StoredLabels], model: LabelModel, attrs: FileProvenance
) -> None:
    """Write the dataset's episodes that are in `stored`, by name, file by file.

    A file of `output` that already holds all its labels is left as it is; a file with no stored episode is not written.

    Raises:
        DatasetError: a source cannot be read, or the disk is full; finished files are kept, others left as they were.

    """
    for source, episodes in _by_source(dataset).items():
        labels = {_group(episode): stored[episode.name] for episode in episodes if episode.name in stored}
        target = target_file(output, dataset, source)
        if not labels or all(place.path == target for place in labels.values()):
            continue
        assert isinstance(source, Path)
        if attrs.frames == "in_place":
            _label_file(target.resolve(), [_group(episode) for episode in episodes], labels, model, attrs)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            _mirror_file(source, target, labels, model, attrs)


def target_file(output: Path, dataset: Dataset, source: SourcePath) -> Path:
    """Return the file of `output` for the labels of `source`."""
    return output if source == dataset.path else output / PurePosixPath(path_within(source, dataset.path))


def _label_file(
    path: Path, groups: Sequence[str], labels: Mapping[str, StoredLabels], model: LabelModel, attrs: FileProvenance
) -> None:
    """Write labels into the source itself, replacing those of its episodes."""
    with write_hdf5(path, update=True) as atomic:
        for group in groups:
            place = labels.get(group)
            if place is not None and place.path == path:
                continue
            with atomic.writing() as file:
                if LABEL_GROUP in file[group]:
                    del file[group][LABEL_GROUP]
                if place is not None:
                    copy_labels(place, file[group])
        with atomic.writing() as file:
            write_model(file, model, attrs)


def _mirror_file(
    source: Path, target: Path, labels: Mapping[str, StoredLabels], model: LabelModel, attrs: FileProvenance
) -> None:
    """Write a new file with the labels and everything in `source`, linked or copied."""
    opened = {str(parent) for group in labels for parent in (PurePosixPath(group), *PurePosixPath(group).parents)}
    with write_hdf5(target) as atomic:
        with atomic.writing() as file, read_hdf5(source) as there:
            link = link_target(source, target) if attrs.frames == "link" else None
            _mirror(there, file, opened, link, str(source))
        for group, place in labels.items():
            with atomic.writing() as file:
                copy_labels(place, file[group])
        with atomic.writing() as file:
            write_model(file, model, attrs)


def _mirror(source: h5py.Group, target: h5py.Group, opened: set[str], link: str | None, where: str) -> None:
    """Reproduce `source` in `target`: groups in `opened` as groups, the rest linked (to `link`) or copied."""
    for key, value in source.attrs.items():
        target.attrs[key] = value
    for key in source:
        path = f"{source.name.rstrip('/')}/{key}"
        if key in (LABEL_GROUP, MODEL_GROUP):
            continue
        if path in opened:
            _mirror(source[key], target.create_group(key), opened, link, where)
        elif link is not None:
            target[key] = h5py.ExternalLink(link, path)
        else:
            require_link(source, key, where)
            target.file.copy(source[key], target, name=key, expand_external=True)


def _by_source(dataset: Dataset) -> dict[SourcePath, list[Episode]]:
    files: dict[SourcePath, list[Episode]] = {}
    for episode in dataset.episodes:
        if episode.reader.group is not None:
            files.setdefault(episode.source, []).append(episode)
    return files


def _group(episode: Episode) -> str:
    """Return the episode's group in its file, as an absolute path."""
    assert episode.reader.group is not None
    return "/" + episode.reader.group.strip("/")


def check_own_output(output: Path, dataset: Dataset, frames: FramesMode, *, exists_is_fine: bool) -> None:
    """Raise DatasetError if labels in the source's own layout cannot or must not be written to `output`."""
    source = Path(str(dataset.path)).resolve()
    resolved = output.resolve()
    if frames == "in_place":
        if resolved != source:
            raise DatasetError(
                f"{output}: labelling in place: got another output, expected the source itself, {source}"
            )
        for file in _by_source(dataset):
            if not exists_is_fine and seems_labelled(file):
                raise DatasetError(f"{file}: carries labels already; resume them, or overwrite them")
        return
    if resolved == source or resolved.is_relative_to(source):
        raise DatasetError(f"{output}: is the source itself or lies in it; choose another output, or label in place")
    if source.is_dir() and output.is_file():
        raise DatasetError(f"{output}: got a file, expected a folder for the labelled files of {source}")
    if source.is_file() and output.is_dir():
        raise DatasetError(f"{output}: cannot be written: it is a folder")
    if not exists_is_fine and output.exists():
        raise DatasetError(f"{output}: exists already; resume it, or overwrite it")
    for file in _by_source(dataset):
        target = target_file(output, dataset, file)
        if target.exists() and not seems_labelled(target):
            raise DatasetError(f"{target}: exists and carries no labels, so it is not replaced; choose another output")


__all__ = ["check_own_output", "has_own_layout", "target_file", "write_own_layout"]
