"""Reads what can be exported: labels wherever they are stored, and the frames and robot's data that they belong to.

`export.stores` opens each kind of file and `export.run` writes. Nothing is kept open between calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from genie_core.data.episode import Episode
from genie_core.data.export.parquet import is_parquet, open_parquet_labels
from genie_core.data.export.provenance import LabelledEpisode, LabelledSet
from genie_core.data.export.stores import Hdf5Labels, LabelStore, ParquetStore, Robot, open_lerobot_store
from genie_core.data.formats.lerobot.writer import PROVENANCE
from genie_core.data.labelled.labels import Labels
from genie_core.data.labelled.originals import Originals
from genie_core.data.labelled.reading import carries_labels, open_labelled
from genie_core.errors import DatasetError, SourceGoneError


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

    def cameras(self, *, stored: bool) -> tuple[str, ...]:
        """Return the cameras whose frames can be had, as the labels call them: those that were fused, else the one.

        `stored`: those of which frames lie beside the labels; a labelled file may have the first camera's alone.
        """
        first = self.provenance.episodes[0]
        cameras = first.attrs.fused_cameras or (first.attrs.camera,)
        if not stored and not self.store.has_original_frames:
            return cameras
        return tuple(c for c in cameras if c == first.attrs.camera or self.store.episode(first.name, c) is not None)

    def stored_frames(self, episode: LabelledEpisode, camera: str | None = None) -> Episode:
        """Return frames stored beside the labels, as `source_frames` does. Raises DatasetError if there are none."""
        stored = self.store.episode(episode.name, camera)
        if stored is None:
            raise DatasetError(
                f"{self.path}: got no frames, expected some beside the labels: "
                "take them from the source, or export labels only"
            )
        return self._checked(episode, stored)

    def source_frames(self, episode: LabelledEpisode, camera: str | None = None) -> Episode:
        """Return frames as recorded, by a fused `camera` (None: the first). Raises DatasetError if they are gone."""
        if self.store.has_original_frames:
            return self.stored_frames(episode, camera)
        return self._checked(episode, self._in_source(episode, camera))

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

    def _in_source(self, episode: LabelledEpisode, camera: str | None = None) -> Episode:
        attrs = episode.attrs if camera is None else episode.attrs.seen_by(camera)
        return self._originals.episode(attrs, f"{episode.name} of {self.path}")

    def _checked(self, episode: LabelledEpisode, frames: Episode) -> Episode:
        if frames.num_frames != episode.num_frames:
            raise DatasetError(
                f"{frames.source}: {frames.name}: got {frames.num_frames} frames, "
                f"expected {episode.num_frames}, one for each label of {episode.name} in {self.path}"
            )
        return frames


def open_export_source(path: Path) -> ExportSource:
    """Open labels to export: labelled HDF5 (a file, or a folder of files), or an earlier export.

    Raises:
        DatasetError: `path` does not exist, carries no labels, or is damaged.

    """
    if path.is_dir() and ((path / PROVENANCE).is_file() or not carries_labels(path)):
        return ExportSource(path, open_lerobot_store(path))
    if is_parquet(path):
        return ExportSource(path, ParquetStore(open_parquet_labels(path)))
    return ExportSource(path, Hdf5Labels(open_labelled(path)))


__all__ = ["ExportSource", "open_export_source"]
