"""Reads labelled files: the episodes that carry labels, the labels, their provenance and their frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import h5py

from genie_core.data.dataset import HDF5_SUFFIXES
from genie_core.data.episode import Episode
from genie_core.data.formats.hdf5.mapping import frames_in_group, natural_key
from genie_core.data.formats.hdf5.reader import ALOHA_ACTIONS, Hdf5Reader, aloha_frames
from genie_core.data.formats.robomimic.reader import LABEL_GROUP, demo_names, read_demo
from genie_core.data.frames.convention import Convention
from genie_core.data.labelled.assembly import StoredLabels
from genie_core.data.labelled.checksum import is_intact
from genie_core.data.labelled.file_provenance import FileProvenance
from genie_core.data.labelled.labels import Labels
from genie_core.data.labelled.provenance import LabelModel, Provenance
from genie_core.data.labelled.schema import is_labelled, read_attrs_of, read_labels_of, read_model
from genie_core.data.storage.hdf5 import read_hdf5
from genie_core.data.storage.location import SourcePath, files_below
from genie_core.errors import DatasetError


@dataclass(frozen=True)
class LabelledFile:
    """A labelled file; labels and frames are read on demand.

    Attributes:
        path: the file.
        model: the model that made the labels, with its codebook.
        attrs: the file's provenance.
        episodes: names of the episodes that carry labels, in order: ``demo_N`` in robomimic's layout, in others the
            names in the labelled dataset.
        places: file and group of each episode.

    """

    path: SourcePath
    model: LabelModel
    attrs: FileProvenance
    episodes: tuple[str, ...]
    places: Mapping[str, StoredLabels] = field(default_factory=dict, repr=False)

    def labels(self, episode: str) -> tuple[Labels, Provenance]:
        """Read the labels of all frames of an episode and their provenance. Raises DatasetError."""
        with self._open(episode) as group:
            return read_labels_of(group)

    def labels_attrs(self, episode: str) -> Provenance:
        """Read only the provenance of an episode's labels. Raises DatasetError."""
        with self._open(episode) as group:
            return read_attrs_of(group)

    def is_intact(self, episode: str) -> bool:
        """Return whether the labels of an episode match their checksum; True if they have none."""
        try:
            with self._open(episode) as group:
                return is_intact(group[LABEL_GROUP]) is not False
        except DatasetError:
            return False

    def episode(self, episode: str, camera: str | None = None) -> Episode | None:
        """Return an episode's frames, None if the file keeps none.

        Args:
            episode: its name.
            camera: one of the cameras whose labels were fused; None: the first, or the only one.

        Raises:
            DatasetError: there is no such episode, or its frames are links to a file that no longer exists.

        """
        with self._open(episode) as group:
            attrs = read_attrs_of(group)
            if camera is not None and camera != attrs.camera:
                attrs = attrs.seen_by(camera)
                if self.attrs.frames == "model":
                    return None
            if self.attrs.frames == "none":
                return None
            place = self.places[episode]
            if self.attrs.layout is not None:
                own = _own_reader(place, episode, attrs)
                return Episode(episode, place.path, attrs.camera, own, attrs.fps, attrs.convention, attrs.actions_path)
            reader = read_demo(place.path, group.parent, episode, attrs.camera)
        convention = Convention() if self.attrs.frames == "model" else attrs.convention
        return Episode(episode, place.path, attrs.camera, reader, attrs.fps, convention)

    @contextmanager
    def _open(self, episode: str) -> Iterator[h5py.Group]:
        place = self.places.get(episode)
        if place is None:
            names = ", ".join(self.episodes) or "none"
            raise DatasetError(f"{self.path}: got episode `{episode}`, expected one of those it holds: {names}")
        with read_hdf5(place.path) as file:
            yield file[place.group]


def open_labelled(path: SourcePath) -> LabelledFile:
    """Open a labelled file, or a folder of labelled files in the layout of their source.

    Raises DatasetError if there is none, or the files were labelled by several models.
    """
    files = _labelled_files(path) if isinstance(path, Path) and path.is_dir() else [path]
    if not files:
        raise DatasetError(f"{path}: got no labelled file in it, expected the output of `genie label`")
    places: dict[str, StoredLabels] = {}
    made: tuple[LabelModel, FileProvenance] | None = None
    for name in files:
        with read_hdf5(name) as file:
            model, attrs = read_model(file)
            places |= _places(name, file, attrs)
        made = made or (model, attrs)
        if model.bundle_id != made[0].bundle_id:
            raise DatasetError(
                f"{path}: got labels of several models, {made[0].bundle_name} and {model.bundle_name}, expected one"
            )
    assert made is not None
    order = sorted(places, key=natural_key) if made[1].layout else list(places)
    return LabelledFile(path, *made, tuple(order), places)


def carries_labels(path: SourcePath) -> bool:
    """Return whether a file, or any file in a folder, carries labels. Raises DatasetError if a file is not HDF5."""
    if isinstance(path, Path) and path.is_dir():
        return bool(_labelled_files(path))
    return is_labelled(path)


def seems_labelled(path: SourcePath) -> bool:
    """Return what `carries_labels` does, and False if the file is missing or not HDF5; reading says what is wrong."""
    with suppress(DatasetError):
        return path.exists() and carries_labels(path)
    return False


def _labelled_files(folder: Path) -> list[Path]:
    """Return the files in a folder that carry labels; one that cannot be opened carries none."""
    return [file for file in files_below(folder) if file.suffix.lower() in HDF5_SUFFIXES and seems_labelled(file)]


def _places(path: SourcePath, file: h5py.File, attrs: FileProvenance) -> dict[str, StoredLabels]:
    """Return where the labels of each episode of a file are."""
    if attrs.layout is None:
        names = [name for name in demo_names(file) if LABEL_GROUP in file["data"][name]]
        return {name: StoredLabels(path, f"data/{name}") for name in names}
    groups: list[str] = ["/"] if LABEL_GROUP in file else []

    def look(name: str) -> None:
        if name.endswith(f"/{LABEL_GROUP}"):
            groups.append("/" + name.removesuffix(f"/{LABEL_GROUP}"))

    file.visit(look)  # follows no links
    return {read_attrs_of(file[group]).source_name: StoredLabels(path, group) for group in groups}


def _own_reader(place: StoredLabels, name: str, attrs: Provenance) -> Hdf5Reader:
    """Reads the frames beside labels in their source's own layout."""
    where = f"{place.path}: {name}"
    if attrs.frames_path is not None:
        return Hdf5Reader(place.path, where, place.group, frames_in_group(attrs.frames_path, place.group))
    return Hdf5Reader(place.path, where, place.group, aloha_frames(attrs.camera), ALOHA_ACTIONS)


def read_labels(path: SourcePath, episode: str) -> tuple[Labels, Provenance]:
    """Read the labels of one episode (``demo_3``) of a labelled file.

    Returns:
        Labels of all T frames, and their provenance.

    Raises:
        DatasetError: `path` cannot be read, or has no such episode, or it carries no labels.

    """
    with _open_demo(path, episode) as demo:
        return read_labels_of(demo)


@contextmanager
def _open_demo(path: SourcePath, episode: str) -> Iterator[h5py.Group]:
    with read_hdf5(path) as file:
        demo = file.get(f"data/{episode}")
        if not isinstance(demo, h5py.Group):
            names = ", ".join(demo_names(file)) or "none"
            raise DatasetError(f"{path}: got episode `{episode}`, expected one of those it holds: {names}")
        yield demo


__all__ = ["LabelledFile", "carries_labels", "open_labelled", "read_labels", "seems_labelled"]
