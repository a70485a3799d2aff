"""Writes finished episodes into a journal, a file each: what one process does for all of them, and many for some."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py

from genie_core.data.auto_step import AutoSteps
from genie_core.data.dataset import Dataset
from genie_core.data.episode import Episode
from genie_core.data.frames.timing import Step
from genie_core.data.labelled.attributes import Attributes
from genie_core.data.labelled.exclusion import counted
from genie_core.data.labelled.journal import Manifest, part_file
from genie_core.data.labelled.labels import Density
from genie_core.data.labelled.part import EpisodePart
from genie_core.data.labelled.provenance import FramesMode, LabelAlignment, LabelModel
from genie_core.data.labelled.schema import write_labels
from genie_core.data.storage.hdf5 import write_hdf5

_HOST = "host"
"""Attribute of a part: the machine that wrote it. It is not copied into the output, which is that of any machine."""


@dataclass(frozen=True)
class PartSettings:
    """Settings of the labels of every episode of one output; for the fields see `LabelWriter`.

    Attributes:
        created: when labelling began, ISO 8601, UTC.

    """

    model: LabelModel
    step: int | None
    auto_steps: AutoSteps | None
    density: Density
    frames: FramesMode
    transport: Literal["jpeg"] | None
    alignment: LabelAlignment | None
    frozen: Literal["kept"] | None
    feature_dim: int | None
    created: str

    def manifest(self, dataset: Dataset) -> Manifest:
        """What all labels of the output have in common."""
        return Manifest.of(
            dataset,
            self.model,
            step=self.step,
            auto_steps=None if self.auto_steps is None else self.auto_steps.pairs,
            density=self.density,
            frames=self.frames,
            transport=self.transport,
            alignment_id=self.alignment and self.alignment.alignment_id,
            frozen=self.frozen,
            feature_dim=self.feature_dim,
        )

    def attributes(self, dataset: Dataset) -> Attributes:
        """What makes the provenance of each episode."""
        return Attributes(
            dataset,
            self.model,
            step=self.step,
            auto_steps=self.auto_steps,
            density=self.density,
            transport=self.transport,
            alignment=self.alignment,
            frozen=self.frozen,
            feature_dim=self.feature_dim,
            created=self.created,
        )


class PartWriter:
    """Writes episodes of a dataset into a journal's folder, whole or not at all. Not thread-safe.

    Writing an episode again, from another machine too, replaces its file by one with the same labels.
    """

    def __init__(self, folder: Path, dataset: Dataset, settings: PartSettings, held: Callable[[], None]) -> None:
        """Take note of the dataset's sources as they are now.

        Args:
            folder: the journal's.
            dataset: what is labelled.
            settings: with what.
            held: raises DatasetError if whoever the folder was opened for no longer holds it.

        """
        self._folder, self._settings, self._held = folder, settings, held
        self.about = settings.attributes(dataset)

    @property
    def keeps_frames(self) -> bool:
        """Whether an episode's frames, at the model's size, are stored with its labels."""
        return self._settings.frames == "model"

    def step(self, episode: Episode) -> Step:
        """Return the transition length for `episode`. Raises DatasetError if it is unknown."""
        return self.about.step(episode)

    @contextmanager
    def episode(self, episode: Episode) -> Iterator[EpisodePart]:
        """Write one episode: it is durable when the block ends; if the block raises, none of it is kept.

        Raises:
            DatasetError: labels or frames do not fit the episode, the source has changed, or the disk is full.

        """
        attrs = self.about.of(episode).model_copy(update={"source_sha256": self.about.sha256(episode.source)})
        with write_hdf5(part_file(self._folder, episode.name)) as atomic:
            part = EpisodePart(
                atomic,
                episode,
                self._settings.model,
                self._settings.alignment,
                feature_dim=self._settings.feature_dim,
                keep_frames=self.keeps_frames,
            )
            yield part
            labels = part.complete_labels()
            for view in (episode, *episode.views):
                if isinstance(view.source, Path):  # sources behind URLs are checked at the end only
                    self.about.check_unchanged(view.source)
            self._held()
            computed = attrs.model_copy(update={"computation": part.computation, "excluded": counted(labels)})
            with atomic.writing() as file:
                write_labels(file, labels, computed, part.frames_sha256)
                file.attrs[_HOST] = platform.node()


def host_of(part: h5py.File) -> str | None:
    """Return the machine that wrote an episode of a journal; None of an earlier version's."""
    host = part.attrs.get(_HOST)
    return None if host is None else str(host)


__all__ = ["PartSettings", "PartWriter", "host_of"]
