"""What can be exported: labels from a labelled HDF5 file, or from an earlier export, with the frames they belong to.

Writing is the work of `export`. Nothing is kept open between calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from genie_core.data.episode import Episode
from genie_core.data.export.parquet import ParquetLabels, is_parquet, open_parquet_labels
from genie_core.data.export.provenance import LabelledEpisode, LabelledSet, read_provenance
from genie_core.data.formats.lerobot.writer import ACTION_OF, PROVENANCE, camera_key
from genie_core.data.labelled.labels import Labels
from genie_core.data.labelled.originals import Originals
from genie_core.data.labelled.reading import LabelledFile, carries_labels, open_labelled
from genie_core.data.opening import open_dataset
from genie_core.data.robot import Proprioception, first_known
from genie_core.data.storage.hdf5 import read_hdf5
from genie_core.errors import DatasetError

DECODED_FEATURE = "latent_action.action"
"""The LeRobot feature of the actions that an alignment has decoded."""

_OWN_FRAMES = frozenset({"link", "copy", "in_place"})
"""Labelled files whose frames are the source's, not made smaller."""


class LabelStore(Protocol):
    """Where labels are stored. Every member raises DatasetError where the file is not what it should be."""

    @property
    def provenance(self) -> LabelledSet:
        """What made the labels, and of which episodes there are any."""

    @property
    def has_original_frames(self) -> bool:
        """Whether the frames in it are of the size of those that were labelled."""

    def labels(self, name: str) -> Labels:
        """Labels of all frames of an episode."""

    def episode(self, name: str) -> Episode | None:
        """The frames in the store; None where it keeps none."""

    def robot(self, name: str) -> Robot:
        """What is stored of the robot beside the labels of an episode."""

    def task(self, name: str) -> str | None:
        """What the robot was to do, in words, where the store says so."""


@dataclass(frozen=True)
class Robot:
    """What is known of the robot in an episode.

    Attributes:
        action: (T, A) its actions; None where they are not known.
        proprioception: None where it is not known.

    """

    action: NDArray[Any] | None = None
    proprioception: Proprioception | None = None

    @staticmethod
    def of(episode: Episode | None) -> Robot:
        """What the episode's own file says."""
        return Robot() if episode is None else Robot(episode.actions, episode.proprioception)


@dataclass(frozen=True)
class ExportSource:
    """A labelled set to export: its store, and the dataset that was labelled, as far as it is still there."""

    path: Path
    store: LabelStore

    @cached_property
    def provenance(self) -> LabelledSet:
        """What made the labels."""
        return self.store.provenance

    @cached_property
    def _originals(self) -> Originals:
        return Originals()

    def labels(self, episode: LabelledEpisode) -> Labels:
        """Labels of all frames of an episode."""
        return self.store.labels(episode.name)

    def stored_frames(self, episode: LabelledEpisode) -> Episode:
        """The frames that lie beside the labels. Raises DatasetError where there are none."""
        stored = self.store.episode(episode.name)
        if stored is None:
            raise DatasetError(f"{self.path}: keeps no frames: take them from the source, or export labels only")
        return self._checked(episode, stored)

    def source_frames(self, episode: LabelledEpisode) -> Episode:
        """The frames as they were recorded. Raises DatasetError where they are not to be found any more."""
        if self.store.has_original_frames:
            return self.stored_frames(episode)
        return self._checked(episode, self._in_source(episode))

    def robot(self, episode: LabelledEpisode) -> Robot:
        """Actions and proprioception, from beside the labels or else from the source."""
        known = self.store.robot(episode.name)
        action, proprioception = known.action, known.proprioception
        if action is None or proprioception is None:
            there = Robot.of(self._source_if_there(episode))
            action = there.action if action is None else action
            proprioception = proprioception or there.proprioception
        if action is not None:
            action = self._numbers(episode, "actions", action)
        if proprioception is not None:
            self._numbers(episode, "proprioception", proprioception.state_TS)
        return Robot(action, proprioception)

    def task(self, episode: LabelledEpisode) -> str | None:
        """What the robot was to do, in words, from beside the labels or else from the source."""
        known = self.store.task(episode.name)
        if known is not None:
            return known
        source = self._source_if_there(episode)
        return None if source is None else source.task

    @property
    def missing(self) -> str | None:
        """Which sources were looked for in vain for what the labelled set does not hold itself, in words."""
        if not self._missing:
            return None
        first, count = next(iter(self._missing.values())), len(self._missing)
        return f"actions, proprioception and task are not known from what was labelled: {first}" + (
            f" (and so of {count - 1} more episodes)" if count > 1 else ""
        )

    @cached_property
    def _missing(self) -> dict[str, str]:
        """Why the source of an episode is not to be found, by the episode's name."""
        return {}

    def _source_if_there(self, episode: LabelledEpisode) -> Episode | None:
        """What was labelled, where it says more than the store; None, and `missing` says so, where it is gone."""
        if self.store.has_original_frames:
            return None
        try:
            return self._in_source(episode)
        except DatasetError as error:
            self._missing[episode.name] = str(error)
            return None

    def _numbers(self, episode: LabelledEpisode, what: str, values: NDArray[Any]) -> NDArray[Any]:
        if values.ndim == 1:
            values = values[:, None]
        if values.ndim != 2 or len(values) != episode.num_frames or values.dtype.kind not in "fiub":
            raise DatasetError(
                f"{self.path}: {episode.name}: `{what}` is {values.shape} {values.dtype}, "
                f"expected numbers for each of {episode.num_frames} frames"
            )
        return values

    def _in_source(self, episode: LabelledEpisode) -> Episode:
        return self._originals.episode(episode.attrs, f"{episode.name} of {self.path}")

    def _checked(self, episode: LabelledEpisode, frames: Episode) -> Episode:
        if frames.num_frames != episode.num_frames:
            raise DatasetError(
                f"{frames.source}: {frames.name} has {frames.num_frames} frames, "
                f"expected {episode.num_frames}, as many as {episode.name} of {self.path} has labels"
            )
        return frames


@dataclass(frozen=True)
class Hdf5Labels:
    """The `LabelStore` of what `genie label` has written. Episodes in their source's own layout go by their number."""

    file: LabelledFile

    @property
    def provenance(self) -> LabelledSet:
        """From the attributes, and the length of every array of codes."""
        episodes = []
        for name, own in self._names.items():
            labels, attrs = self.file.labels(own)
            episodes.append(LabelledEpisode(name, len(labels), attrs))
        made = self.file.attrs
        return LabelledSet(self.file.model, made.created, made.tool_version, tuple(episodes), self._masks())

    @property
    def has_original_frames(self) -> bool:
        """Unless it keeps them at the model's size, or none."""
        return self.file.attrs.frames in _OWN_FRAMES

    @property
    def is_robomimic(self) -> bool:
        """Whether it is one file in robomimic's layout."""
        return self.file.attrs.layout is None

    def labels(self, name: str) -> Labels:
        """Labels of an episode."""
        return self.file.labels(self._names[name])[0]

    def episode(self, name: str) -> Episode | None:
        """Frames in the file, or behind its links."""
        return self.file.episode(self._names[name])

    def robot(self, name: str) -> Robot:
        """What the demo, or the file that the labels lie in, has."""
        return Robot.of(self.episode(name))

    def task(self, name: str) -> None:
        """It has no place for it."""

    @cached_property
    def _names(self) -> dict[str, str]:
        """What the file calls each episode."""
        if self.is_robomimic:
            return {name: name for name in self.file.episodes}
        return {f"demo_{number}": name for number, name in enumerate(self.file.episodes)}

    def _masks(self) -> dict[str, tuple[str, ...]]:
        if not self.is_robomimic:
            return {}
        with read_hdf5(self.file.path) as file:
            return {
                key: tuple(name for name in np.asarray(names).astype(str).ravel().tolist() if name in self._names)
                for key, names in file.get("mask", {}).items()
            }


@dataclass(frozen=True)
class ParquetStore:
    """The `LabelStore` of a Parquet file that `genie export` has written."""

    file: ParquetLabels
    has_original_frames: bool = False

    @property
    def provenance(self) -> LabelledSet:
        """From the file's metadata."""
        return self.file.provenance

    def labels(self, name: str) -> Labels:
        """Labels of an episode."""
        return self.file.labels(name)

    def episode(self, name: str) -> None:
        """It keeps no frames."""

    def robot(self, name: str) -> Robot:
        """From the columns of the robot's numbers."""
        columns = (("observation.state",),)
        state = first_known(lambda key: self.file.array(name, key), columns, "", f"{self.file.path}: {name}")
        return Robot(self.file.array(name, "action"), state)

    def task(self, name: str) -> None:
        """It has no place for it."""


@dataclass(frozen=True)
class LeRobotStore:
    """The `LabelStore` of a LeRobot dataset that `genie export` has written."""

    provenance: LabelledSet
    episodes: Mapping[str, Episode]
    robot_actions: bool = True
    has_original_frames: bool = True

    def labels(self, name: str) -> Labels:
        """Labels of an episode, from the features that carry them."""
        code, latent, confidence, valid = (
            self._feature(name, key)
            for key in ("latent_action", "latent_action.latent", "latent_action.confidence", "latent_action.valid")
        )
        decoded = None if self.provenance.action_names is None else self._feature(name, DECODED_FEATURE)
        return Labels(
            0,
            code.astype(np.uint16),
            latent.reshape(len(code), -1).astype(np.float32),
            confidence.astype(np.float32),
            valid.astype(np.bool_),
            action=None if decoded is None else decoded.reshape(len(code), -1).astype(np.float32),
        )

    def episode(self, name: str) -> Episode:
        """Frames of the dataset's videos."""
        return self.episodes[name]

    def robot(self, name: str) -> Robot:
        """From its features; `robot_actions` tells whether those called ``action`` are the robot's own."""
        episode = self.episodes[name]
        return Robot(episode.actions if self.robot_actions else None, episode.proprioception)

    def task(self, name: str) -> str | None:
        """From its list of episodes."""
        return self.episodes[name].task

    def _feature(self, name: str, key: str) -> NDArray[Any]:
        values = self.episodes[name].array(key)
        if values is None:
            raise DatasetError(f"{self.episodes[name].source}: {name} has no feature `{key}`")
        return values


def open_export_source(path: Path) -> ExportSource:
    """Open labels to export: labelled HDF5, a file or a folder of files, or what `genie export` has written.

    Raises:
        DatasetError: there is nothing at `path`, it carries no labels of ours, or is damaged.

    """
    if path.is_dir() and ((path / PROVENANCE).is_file() or not carries_labels(path)):
        return ExportSource(path, _open_lerobot(path))
    if is_parquet(path):
        return ExportSource(path, ParquetStore(open_parquet_labels(path)))
    return ExportSource(path, Hdf5Labels(open_labelled(path)))


def _open_lerobot(path: Path) -> LeRobotStore:
    document = path / PROVENANCE
    if not document.is_file():
        raise DatasetError(
            f"{path}: a folder without {PROVENANCE}, expected a labelled HDF5 file, or what `genie export` has written"
        )
    provenance = read_provenance(document.read_bytes(), str(document))
    cameras = {camera_key(episode.attrs.camera) for episode in provenance.episodes}
    if len(cameras) != 1:
        raise DatasetError(f"{document}: names {len(cameras)} cameras, expected one")
    dataset = open_dataset(path, camera=cameras.pop())
    if len(dataset.episodes) != len(provenance.episodes):
        raise DatasetError(
            f"{path}: has {len(dataset.episodes)} episodes, "
            f"expected the {len(provenance.episodes)} that {PROVENANCE} names"
        )
    names = (episode.name for episode in provenance.episodes)
    said = json.loads((path / "meta/info.json").read_text()).get("genie", {})
    robot_actions = said.get(ACTION_OF, "robot") == "robot"
    return LeRobotStore(provenance, dict(zip(names, dataset.episodes, strict=True)), robot_actions)


__all__ = ["DECODED_FEATURE", "ExportSource", "LabelStore", "Robot", "open_export_source"]
