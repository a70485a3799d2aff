"""Reads what can be exported: labels of a labelled HDF5 file or an earlier export, and the frames they belong to.

`export.run` writes. Nothing is kept open between calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from genie_core.data.episode import Episode
from genie_core.data.export.features import (
    DECODED_FEATURE,
    FINE_FEATURE,
    REASON_FEATURE,
    VIEW_FIELDS,
    WIDE_FEATURE,
    view_feature,
)
from genie_core.data.export.parquet import ParquetLabels, is_parquet, open_parquet_labels
from genie_core.data.export.provenance import LabelledEpisode, LabelledSet, read_provenance
from genie_core.data.formats.lerobot.writer import ACTION_OF, PROVENANCE, camera_key
from genie_core.data.labelled.labels import Labels
from genie_core.data.labelled.originals import Originals
from genie_core.data.labelled.reading import LabelledFile, carries_labels, open_labelled
from genie_core.data.opening import open_dataset
from genie_core.data.robot import Proprioception, first_known
from genie_core.data.storage.hdf5 import read_hdf5
from genie_core.data.storage.json_text import parse_json
from genie_core.errors import DatasetError, SourceGoneError

_OWN_FRAMES = frozenset({"link", "copy", "in_place"})
"""Frames modes in which a labelled file has the source's frames at full size."""


class LabelStore(Protocol):
    """Where labels are stored. Every member raises DatasetError if the file is damaged."""

    @property
    def provenance(self) -> LabelledSet:
        """Provenance of the labels, and the episodes that have any."""

    @property
    def has_original_frames(self) -> bool:
        """Whether it holds the labelled frames at their original size."""

    def labels(self, name: str) -> Labels:
        """Return the labels of all frames of an episode."""

    def episode(self, name: str) -> Episode | None:
        """Return the frames of an episode; None if the store keeps none."""

    def robot(self, name: str) -> Robot:
        """Return the robot's data stored beside the labels of an episode."""

    def task(self, name: str) -> str | None:
        """Return the task in words; None if the store does not say."""


@dataclass(frozen=True)
class Robot:
    """The robot's data in an episode.

    Attributes:
        action: (T, A); None if unknown.
        proprioception: None if unknown.

    """

    action: NDArray[Any] | None = None
    proprioception: Proprioception | None = None

    @staticmethod
    def of(episode: Episode | None) -> Robot:
        """Take them from the episode's own file."""
        return Robot() if episode is None else Robot(episode.actions, episode.proprioception)


@dataclass(frozen=True)
class ExportSource:
    """A labelled set to export: its store and, if it still exists, the dataset that was labelled."""

    path: Path
    store: LabelStore

    @cached_property
    def provenance(self) -> LabelledSet:
        """Provenance of the labels."""
        return self.store.provenance

    @cached_property
    def _originals(self) -> Originals:
        return Originals()

    def labels(self, episode: LabelledEpisode) -> Labels:
        """Return the labels of all frames of an episode."""
        return self.store.labels(episode.name)

    def stored_frames(self, episode: LabelledEpisode) -> Episode:
        """Return frames stored beside the labels. Raises DatasetError if there are none."""
        stored = self.store.episode(episode.name)
        if stored is None:
            raise DatasetError(
                f"{self.path}: got no frames, expected some beside the labels: "
                "take them from the source, or export labels only"
            )
        return self._checked(episode, stored)

    def source_frames(self, episode: LabelledEpisode) -> Episode:
        """Return frames as recorded. Raises DatasetError if they no longer exist."""
        if self.store.has_original_frames:
            return self.stored_frames(episode)
        return self._checked(episode, self._in_source(episode))

    def robot(self, episode: LabelledEpisode) -> Robot:
        """Return actions and proprioception: those stored beside the labels, else the source's."""
        try:
            known = self.store.robot(episode.name)
        except SourceGoneError as error:  # labels, and what else there is beside them, go on without it
            self._missing[episode.name] = str(error)
            known = Robot()
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
        """Return the task in words: that stored beside the labels, else the source's."""
        known = self.store.task(episode.name)
        if known is not None:
            return known
        source = self._source_if_there(episode)
        return None if source is None else source.task

    @property
    def missing(self) -> str | None:
        """Describe missing sources that might have held actions, proprioception or task; None if none are."""
        if not self._missing:
            return None
        first, count = next(iter(self._missing.values())), len(self._missing)
        return f"actions, proprioception and task could not be read from the source: {first}" + (
            f" (and {count - 1} more episodes)" if count > 1 else ""
        )

    @cached_property
    def _missing(self) -> dict[str, str]:
        """Why an episode's source was not found, by the episode's name."""
        return {}

    def _source_if_there(self, episode: LabelledEpisode) -> Episode | None:
        """Return the labelled episode, if the store may lack some of it; None, noted in `missing`, if it is gone."""
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
                f"{self.path}: {episode.name}: `{what}`: got {values.shape} {values.dtype}, "
                f"expected a row of numbers for each of {episode.num_frames} frames"
            )
        return values

    def _in_source(self, episode: LabelledEpisode) -> Episode:
        return self._originals.episode(episode.attrs, f"{episode.name} of {self.path}")

    def _checked(self, episode: LabelledEpisode, frames: Episode) -> Episode:
        if frames.num_frames != episode.num_frames:
            raise DatasetError(
                f"{frames.source}: {frames.name}: got {frames.num_frames} frames, "
                f"expected {episode.num_frames}, one for each label of {episode.name} in {self.path}"
            )
        return frames


@dataclass(frozen=True)
class Hdf5Labels:
    """`LabelStore` of a file written by `genie label`. Episodes in their source's own layout are named by number."""

    file: LabelledFile

    @property
    def provenance(self) -> LabelledSet:
        """From the attributes, and the length of each array of codes."""
        episodes = []
        for name, own in self._names.items():
            labels, attrs = self.file.labels(own)
            episodes.append(LabelledEpisode(name, len(labels), attrs))
        made = self.file.attrs
        return LabelledSet(self.file.model, made.created, made.tool_version, tuple(episodes), self._masks())

    @property
    def has_original_frames(self) -> bool:
        """Whether frames are linked, copied or labelled in place."""
        return self.file.attrs.frames in _OWN_FRAMES

    @property
    def is_robomimic(self) -> bool:
        """Whether it is a single file in robomimic's layout."""
        return self.file.attrs.layout is None

    def labels(self, name: str) -> Labels:
        """Return the labels of an episode."""
        return self.file.labels(self._names[name])[0]

    def episode(self, name: str) -> Episode | None:
        """Return the frames in the file or behind its links."""
        return self.file.episode(self._names[name])

    def robot(self, name: str) -> Robot:
        """From the demo, or the file that the labels lie in."""
        return Robot.of(self.episode(name))

    def task(self, name: str) -> None:
        """None: the format has no place for a task."""

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
    """`LabelStore` of a Parquet file written by `genie export`."""

    file: ParquetLabels
    has_original_frames: bool = False

    @property
    def provenance(self) -> LabelledSet:
        """From the file's metadata."""
        return self.file.provenance

    def labels(self, name: str) -> Labels:
        """Return the labels of an episode."""
        return self.file.labels(name)

    def episode(self, name: str) -> None:
        """It keeps no frames."""

    def robot(self, name: str) -> Robot:
        """From the columns ``action`` and ``observation.state``."""
        columns = (("observation.state",),)
        state = first_known(lambda key: self.file.array(name, key), columns, "", f"{self.file.path}: {name}")
        return Robot(self.file.array(name, "action"), state)

    def task(self, name: str) -> None:
        """None: the format has no place for a task."""


@dataclass(frozen=True)
class LeRobotStore:
    """`LabelStore` of a LeRobot dataset written by `genie export`."""

    provenance: LabelledSet
    episodes: Mapping[str, Episode]
    robot_actions: bool = True
    has_original_frames: bool = True

    def labels(self, name: str) -> Labels:
        """Return the labels of an episode, from the ``latent_action`` features."""
        code, latent, confidence, valid = (
            self._feature(name, key)
            for key in ("latent_action", "latent_action.latent", "latent_action.confidence", "latent_action.valid")
        )
        decoded = None if self.provenance.action_names is None else self._feature(name, DECODED_FEATURE)
        excluded = {episode.name: episode.attrs.excluded for episode in self.provenance.episodes}
        reason = None if excluded[name] is None else self._feature(name, REASON_FEATURE).ravel().astype(np.uint8)
        made = self.provenance
        fine = None if made.model.fine_codebook is None else self._feature(name, FINE_FEATURE).ravel()
        wide = None if made.feature_dim is None else self._feature(name, WIDE_FEATURE)
        return Labels(
            0,
            code.astype(np.uint16),
            latent.reshape(len(code), -1).astype(np.float32),
            confidence.astype(np.float32),
            valid.astype(np.bool_),
            action=None if decoded is None else decoded.reshape(len(code), -1).astype(np.float32),
            reason=reason,
            fine_code=None if fine is None else fine.astype(np.uint16),
            feature=None if wide is None else wide.reshape(len(code), -1).astype(np.float32),
            views={camera: self._view(name, short) for camera, short in made.view_names.items()} or None,
        )

    def _view(self, name: str, short: str) -> Labels:
        code, latent, confidence, valid = (self._feature(name, view_feature(short, field)) for field in VIEW_FIELDS)
        latent = latent.reshape(len(code), -1).astype(np.float32)
        return Labels(0, code.astype(np.uint16), latent, confidence.astype(np.float32), valid.astype(np.bool_))

    def episode(self, name: str) -> Episode:
        """Return the frames of the dataset's videos."""
        return self.episodes[name]

    def robot(self, name: str) -> Robot:
        """From its features; `robot_actions` says whether the feature ``action`` holds the robot's own actions."""
        episode = self.episodes[name]
        return Robot(episode.actions if self.robot_actions else None, episode.proprioception)

    def task(self, name: str) -> str | None:
        """From its list of episodes."""
        return self.episodes[name].task

    def _feature(self, name: str, key: str) -> NDArray[Any]:
        values = self.episodes[name].array(key)
        if values is None:
            raise DatasetError(f"{self.episodes[name].source}: {name}: got no feature `{key}`, expected labels")
        return values


def open_export_source(path: Path) -> ExportSource:
    """Open labels to export: labelled HDF5 (a file, or a folder of files), or an earlier export.

    Raises:
        DatasetError: `path` does not exist, carries no labels, or is damaged.

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
            f"{path}: got a folder without {PROVENANCE}, expected a labelled HDF5 file or an export of `genie export`"
        )
    provenance = read_provenance(document.read_bytes(), str(document))
    about = parse_json((path / "meta/info.json").read_bytes())
    about = about if isinstance(about, dict) else {}
    own = about.get("features", {})
    cameras = {
        camera if (camera := episode.attrs.camera) in own else camera_key(camera) for episode in provenance.episodes
    }
    if len(cameras) != 1:
        raise DatasetError(f"{document}: cameras: got {len(cameras)}, expected 1")
    dataset = open_dataset(path, camera=cameras.pop())
    if len(dataset.episodes) != len(provenance.episodes):
        raise DatasetError(
            f"{path}: got {len(dataset.episodes)} episodes, "
            f"expected the {len(provenance.episodes)} that {PROVENANCE} names"
        )
    names = (episode.name for episode in provenance.episodes)
    said = about.get("genie", {})
    robot_actions = not isinstance(said, dict) or said.get(ACTION_OF, "robot") == "robot"
    return LeRobotStore(provenance, dict(zip(names, dataset.episodes, strict=True)), robot_actions)


__all__ = [
    "ExportSource",
    "LabelStore",
    "Robot",
    "open_export_source",
]
