"""Where labels are stored that can be exported: a labelled HDF5 file, or an earlier export to Parquet or LeRobot."""

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
from genie_core.data.export.parquet import ParquetLabels
from genie_core.data.export.provenance import LabelledEpisode, LabelledSet, read_provenance
from genie_core.data.formats.lerobot.writer import ACTION_OF, PROVENANCE, camera_key
from genie_core.data.labelled.labels import Labels
from genie_core.data.labelled.reading import LabelledFile
from genie_core.data.opening import open_dataset
from genie_core.data.robot import Proprioception, first_known
from genie_core.data.storage.hdf5 import read_hdf5
from genie_core.data.storage.json_text import parse_json
from genie_core.errors import DatasetError

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

    def episode(self, name: str, camera: str | None = None) -> Episode | None:
        """Return the frames of an episode, seen by a fused `camera` (None: the first); None if the store has none."""

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

    def episode(self, name: str, camera: str | None = None) -> Episode | None:
        """Return the frames in the file or behind its links."""
        return self.file.episode(self._names[name], camera)

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

    def episode(self, name: str, camera: str | None = None) -> None:
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
    """`LabelStore` of a LeRobot dataset written by `genie export`.

    Attributes:
        provenance: as its document says.
        camera: the labelled camera, of fused ones the first, as the labels call it.
        seen_by: the episodes by name, by each labelled camera that the dataset has video of.
        robot_actions: whether the feature ``action`` holds the robot's own actions.
        has_original_frames: always.

    """

    provenance: LabelledSet
    camera: str
    seen_by: Mapping[str, Mapping[str, Episode]]
    robot_actions: bool = True
    has_original_frames: bool = True

    @property
    def episodes(self) -> Mapping[str, Episode]:
        """The episodes by name, seen by `camera`."""
        return self.seen_by[self.camera]

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

    def episode(self, name: str, camera: str | None = None) -> Episode | None:
        """Return the frames of the dataset's videos."""
        return self.seen_by.get(camera or self.camera, {}).get(name)

    def robot(self, name: str) -> Robot:
        """From its features."""
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


def open_lerobot_store(path: Path) -> LeRobotStore:
    """Open a LeRobot dataset that carries labels. Raises DatasetError if it does not, or is damaged."""
    document = path / PROVENANCE
    if not document.is_file():
        raise DatasetError(
            f"{path}: got a folder without {PROVENANCE}, expected a labelled HDF5 file or an export of `genie export`"
        )
    provenance = read_provenance(document.read_bytes(), str(document))
    about = parse_json((path / "meta/info.json").read_bytes())
    about = about if isinstance(about, dict) else {}
    own = about.get("features", {})

    def named(camera: str) -> str:
        return camera if camera in own else camera_key(camera)

    labelled = {episode.attrs.camera for episode in provenance.episodes}
    if len(labelled) != 1:
        raise DatasetError(f"{document}: cameras: got {len(labelled)}, expected 1")
    first = labelled.pop()
    fused = [camera for camera in provenance.view_names if camera != first and named(camera) in own]
    said = about.get("genie", {})
    return LeRobotStore(
        provenance,
        first,
        {camera: _by_name(path, provenance, named(camera)) for camera in (first, *fused)},
        robot_actions=not isinstance(said, dict) or said.get(ACTION_OF, "robot") == "robot",
    )


def _by_name(path: Path, provenance: LabelledSet, camera: str) -> dict[str, Episode]:
    """Return the episodes of a LeRobot dataset, seen by one camera, by the names that its labels have."""
    episodes = open_dataset(path, camera=camera).episodes
    if len(episodes) != len(provenance.episodes):
        raise DatasetError(
            f"{path}: got {len(episodes)} episodes, expected the {len(provenance.episodes)} that {PROVENANCE} names"
        )
    return dict(zip((episode.name for episode in provenance.episodes), episodes, strict=True))


__all__ = ["Hdf5Labels", "LabelStore", "LeRobotStore", "ParquetStore", "Robot", "open_lerobot_store"]
