"""Reads labelled files: which episodes carry labels, what made them, and the frames they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py

from genie_core.data.episode import Episode
from genie_core.data.hdf5 import read_hdf5
from genie_core.data.label_schema import (
    LabelAttrs,
    LabelModel,
    ModelAttrs,
    read_attrs_of,
    read_labels_of,
    read_model,
)
from genie_core.data.labels import Labels
from genie_core.data.robomimic import LABEL_GROUP, demo_names, read_robomimic
from genie_core.errors import DatasetError


@dataclass(frozen=True)
class LabelledFile:
    """A file with latent actions; labels and frames are read when asked for.

    Attributes:
        path: the file.
        model: the model that made the labels, with its codebook.
        attrs: where the frames are, when and by which version the labels were made.
        episodes: names ``demo_N`` of the episodes that carry labels, in the order of N.

    """

    path: Path
    model: LabelModel
    attrs: ModelAttrs
    episodes: tuple[str, ...]

    def labels(self, episode: str) -> tuple[Labels, LabelAttrs]:
        """Return the labels of all frames of an episode and what they were made with. Raises DatasetError."""
        return read_labels(self.path, episode)

    def episode(self, episode: str) -> Episode | None:
        """Return the frames that the labels of an episode belong to, None where the file is kept without frames.

        Raises:
            DatasetError: there is no such episode, or its frames are links to a file that is not there any more.

        """
        with _open_demo(self.path, episode) as demo:
            attrs = read_attrs_of(demo)
        if self.attrs.frames == "none":
            return None
        reader = read_robomimic(self.path).reader(episode, attrs.camera)
        return Episode(episode, self.path, attrs.camera, reader, attrs.fps)


def open_labelled(path: Path) -> LabelledFile:
    """Open a file that Genie has labelled. Raises DatasetError where it is no such file."""
    with read_hdf5(path) as file:
        model, attrs = read_model(file)
        episodes = tuple(name for name in demo_names(file) if LABEL_GROUP in file["data"][name])
    return LabelledFile(path, model, attrs, episodes)


def read_labels(path: Path, episode: str) -> tuple[Labels, LabelAttrs]:
    """Read the labels of one episode (``demo_3``) of a labelled file.

    Returns:
        Labels of all T frames, from frame 0 on, and what they were made with and from.

    Raises:
        DatasetError: `path` is not readable or has no such episode, or it carries no labels.

    """
    with _open_demo(path, episode) as demo:
        return read_labels_of(demo)


@contextmanager
def _open_demo(path: Path, episode: str) -> Iterator[h5py.Group]:
    with read_hdf5(path) as file:
        demo = file.get(f"data/{episode}")
        if not isinstance(demo, h5py.Group):
            raise DatasetError(f"{path}: no episode `{episode}`, it holds {', '.join(demo_names(file)) or 'none'}")
        yield demo


__all__ = ["LabelledFile", "open_labelled", "read_labels"]
