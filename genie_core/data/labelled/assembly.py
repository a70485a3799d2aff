"""Assembles finished episodes: into a new file in robomimic's layout, or into the source, labelled in place."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import h5py
import numpy as np

from genie_core.data.dataset import ROBOMIMIC_LAYOUT, Dataset
from genie_core.data.episode import Episode
from genie_core.data.formats.robomimic.reader import LABEL_GROUP, demo_names, require_link
from genie_core.data.labelled.file_provenance import FileProvenance
from genie_core.data.labelled.provenance import FramesMode, LabelModel
from genie_core.data.labelled.robomimic_file import complete_file
from genie_core.data.labelled.schema import write_model
from genie_core.data.storage.hdf5 import read_hdf5, write_hdf5
from genie_core.data.storage.location import SourcePath, absolute, lies_within, path_within
from genie_core.errors import DatasetError


@dataclass(frozen=True)
class StoredLabels:
    """A finished episode: an HDF5 group laid out like a demo, with its labels and, if kept, frames."""

    path: SourcePath
    group: str


def assemble(
    output: Path, dataset: Dataset, stored: Mapping[str, StoredLabels], model: LabelModel, attrs: FileProvenance
) -> None:
    """Write a new labelled file of the dataset's episodes that are in `stored`, by name.

    Raises:
        DatasetError: a source cannot be read, or the disk is full; `output` is left as it was.

    """
    names = {name: demo for name, demo in _output_names(dataset).items() if name in stored}
    is_robomimic = dataset.format in ROBOMIMIC_LAYOUT
    with write_hdf5(output) as atomic:
        wanted = (episode for episode in dataset.episodes if episode.name in names)
        for source, episodes in groupby(wanted, key=lambda episode: episode.source if is_robomimic else None):
            with nullcontext() if source is None else read_hdf5(source) as opened:
                target = link_target(source, output) if source is not None and attrs.frames == "link" else ""
                for episode in episodes:
                    with atomic.writing() as file:
                        demo = file.create_group(f"data/{names[episode.name]}")
                        _copy_stored(stored[episode.name], demo, with_frames=attrs.frames == "model")
                        if opened is None:
                            _describe_video(demo, episode)
                        else:
                            _add_demo(demo, episode, attrs.frames, opened, target)
        with atomic.writing() as file:
            first = next(episode for episode in dataset.episodes if episode.name in names)
            masks = {key: [names[e] for e in episodes if e in names] for key, episodes in dataset.masks.items()}
            complete_file(file, model, attrs, masks, first.source if is_robomimic else None)


def label_in_place(path: Path, stored: Mapping[str, StoredLabels], model: LabelModel, attrs: FileProvenance) -> None:
    """Write the labels in `stored`, by demo name, into the robomimic file `path`, replacing any that are there.

    Raises:
        DatasetError: `path` cannot be read, or the disk is full; `path` is left as it was.

    """
    with write_hdf5(path, update=True) as atomic:
        with read_hdf5(path) as source:
            names = demo_names(source)
        for name in names:
            labels = stored.get(name)
            if labels is not None and labels.path == path:
                continue
            with atomic.writing() as file:
                demo = file["data"][name]
                if LABEL_GROUP in demo:
                    del demo[LABEL_GROUP]
                if labels is not None:
                    _copy_stored(labels, demo, with_frames=False)
        with atomic.writing() as file:
            write_model(file, model, attrs)


def _output_names(dataset: Dataset) -> dict[str, str]:
    """Name the episodes in the output: as they are if all are from one HDF5 file, else ``demo_N`` by number."""
    episodes = [episode.name for episode in dataset.episodes]
    if dataset.format in ROBOMIMIC_LAYOUT and dataset.path.is_file():
        return {name: name for name in episodes}
    return {name: f"demo_{index}" for index, name in enumerate(episodes)}


def copy_labels(stored: StoredLabels, group: h5py.Group) -> None:
    """Copy the labels of a finished episode into `group`."""
    _copy_stored(stored, group, with_frames=False)


def _copy_stored(stored: StoredLabels, demo: h5py.Group, *, with_frames: bool) -> None:
    with read_hdf5(stored.path) as file:
        group = file[stored.group]
        file.copy(group[LABEL_GROUP], demo, name=LABEL_GROUP)
        if with_frames and "obs" in group:
            file.copy(group["obs"], demo, name="obs")


def _add_demo(demo: h5py.Group, episode: Episode, frames: FramesMode, opened: h5py.File, target: str) -> None:
    """Add the attributes and arrays, copied or linked to `target`, of the demo of `episode` in its source `opened`."""
    name = episode.name.rpartition("/")[2]
    source = opened["data"][name]
    for key, value in source.attrs.items():
        demo.attrs[key] = value
    for key in source:
        if key == LABEL_GROUP or frames == "none":
            continue
        if frames == "copy":
            require_link(source, key, f"{episode.source}: {name}")
            opened.copy(source[key], demo, name=key, expand_external=True)
        else:
            demo[key] = h5py.ExternalLink(target, f"/data/{name}/{key}")
    demo.attrs.setdefault("num_samples", np.int64(episode.num_frames))
    if name != episode.name:
        demo.attrs["source"] = str(absolute(episode.source))
        demo.attrs["source_name"] = episode.name


def link_target(source: SourcePath, output: Path) -> str:
    """Return the path for a link: relative if the source is beside or below the output, so that both can move."""
    if not isinstance(source, Path):
        raise DatasetError(f"{source}: links: got a URL, expected a local file; copy the frames instead")
    place, folder = absolute(source), absolute(output.parent)
    return str(path_within(place, folder) if lies_within(place, folder) else place)


def _describe_video(demo: h5py.Group, episode: Episode) -> None:
    demo.attrs["num_samples"] = np.int64(episode.num_frames)
    demo.attrs["source"] = str(absolute(episode.source))
    demo.attrs["source_name"] = episode.name
    if episode.fps is not None:
        demo.attrs["fps"] = episode.fps


__all__ = ["StoredLabels", "assemble", "copy_labels", "label_in_place", "link_target"]
