"""Writes labelled files episode by episode, so that finished episodes survive whatever stops a run.

Each finished episode goes to the journal at once; `LabelWriter.finish` makes the complete output appear.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from genie_core import __version__
from genie_core.closing import Closing
from genie_core.data.auto_step import AutoSteps
from genie_core.data.dataset import Dataset
from genie_core.data.episode import Episode
from genie_core.data.formats.robomimic.reader import LABEL_GROUP
from genie_core.data.frames.resize import Frames
from genie_core.data.frames.timing import Step
from genie_core.data.labelled.assembly import StoredLabels, assemble, label_in_place
from genie_core.data.labelled.checksum import is_intact
from genie_core.data.labelled.file_provenance import FileProvenance
from genie_core.data.labelled.journal import Journal
from genie_core.data.labelled.labels import Density, Labels
from genie_core.data.labelled.output import Existing, check_output, check_place, default_frames, keeps_layout
from genie_core.data.labelled.part import EpisodePart
from genie_core.data.labelled.part_writer import PartSettings, PartWriter
from genie_core.data.labelled.provenance import (
    FramesMode,
    LabelAlignment,
    LabelModel,
    Provenance,
    Transport,
)
from genie_core.data.labelled.reading import carries_labels, open_labelled
from genie_core.data.labelled.schema import read_attrs_of, read_labels_of
from genie_core.data.labelled.source_layout import write_own_layout
from genie_core.data.storage.hdf5 import read_hdf5
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError


class LabelWriter(Closing):
    """Writes the labels of a dataset to one file, which it locks until `finish` or `close`. Not thread-safe.

    Usage::

        with LabelWriter(output, dataset, model) as writer:
            for episode in writer.pending():
                with writer.episode(episode) as part:
                    part.add_labels(labels)
            writer.finish()

    Attributes:
        is_complete: whether the output was there, and just what this run would make: nothing is left to do.
        settings: what all labels of the output have in common.
        part_settings: with what each episode is labelled, for other processes that write some of them.
        journal: where finished episodes lie until `finish`.

    """

    def __init__(
        self,
        output: Path,
        dataset: Dataset,
        model: LabelModel,
        *,
        step: int | None = None,
        auto_steps: AutoSteps | None = None,
        density: Density = "dense",
        frames: FramesMode | None = None,
        transport: Transport = "raw",
        alignment: LabelAlignment | None = None,
        keep_frozen: bool = False,
        feature_dim: int | None = None,
        existing: Existing = "refuse",
        may_miss: bool = False,
        created: datetime | None = None,
    ) -> None:
        """Prepare to write, and find the episodes that an earlier run finished.

        Args:
            output: file to write; the dataset's own path to label in place.
            dataset: the dataset, of which every episode should be labelled.
            model: the model that makes the labels.
            step: transition length in frames; None: from each episode's frame rate and the model's.
            auto_steps: transition lengths that `step` None stands for, where one was found for the episode's rate.
            density: which frames are labelled.
            frames: where the output keeps frames; None: ``link`` for HDF5 sources, ``model`` for all others.
            transport: how frames are sent to the model.
            alignment: alignment that decodes the robot's actions; None: none.
            keep_frozen: whether transitions of frozen pictures are labelled too; recorded with the labels.
            feature_dim: size of the features that come with the labels; None: none come.
            existing: what to do if the output already exists (in place: carries labels).
            may_miss: whether an output that lacks episodes may be complete: those that cannot be labelled.
            created: creation time to record; None: now.

        Raises:
            DatasetError: the output exists, lies in a forbidden place, cannot be written or is locked by another
                process; or an earlier run left labels of other settings, or of a source that has changed since.

        """
        self._dataset = dataset
        self._model = model
        self._existing: Existing = existing
        self._may_exist, self._may_miss = False, may_miss
        self.is_complete = False
        self._frames: FramesMode = frames or default_frames(dataset)
        self._output = output.resolve() if self._frames == "in_place" else output
        check_output(self._output, dataset, self._frames, existing)
        self._layout = _own_layout(dataset, self._frames)
        self.part_settings = PartSettings(
            model=model,
            step=step,
            auto_steps=auto_steps if step is None else None,
            density=density,
            frames=self._frames,
            transport="jpeg" if transport == "jpeg" else None,
            alignment=alignment,
            frozen="kept" if keep_frozen else None,
            feature_dim=feature_dim,
            created=(created or datetime.now(UTC)).isoformat(timespec="seconds"),
        )
        self.settings = self.part_settings.manifest(dataset)
        self.journal = Journal(self._output, self.settings, start_over=existing == "overwrite")
        self._stored: dict[str, StoredLabels] = {}
        self._may_exist = existing != "refuse"
        try:
            self._parts = PartWriter(self.journal.folder, dataset, self.part_settings, self.journal.check_held)
            self._about = self._parts.about
            self._find_finished()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the output; finished episodes are kept for the next run to continue from. Idempotent."""
        self.journal.close()

    def pending(self) -> list[Episode]:
        """Return the episodes that are still to be labelled, in order."""
        return [episode for episode in self._dataset.episodes if episode.name not in self._stored]

    @property
    def keeps_frames(self) -> bool:
        """Whether an episode's frames, at the model's size, are stored with its labels."""
        return self._parts.keeps_frames

    def step(self, episode: Episode) -> Step:
        """Return the transition length for `episode`. Raises DatasetError if it is unknown."""
        return self._parts.step(episode)

    @contextmanager
    def episode(self, episode: Episode) -> Iterator[EpisodePart]:
        """Write one episode: it is durable when the block ends; if the block raises, none of it is kept.

        Raises:
            DatasetError: labels or frames do not fit the episode, or the disk is full.

        """
        with self._parts.episode(episode) as part:
            yield part
        self._stored[episode.name] = StoredLabels(self.journal.part(episode.name), "/")

    def add(self, episode: Episode, labels: Labels, frames_THWC: Iterable[Frames] = ()) -> None:
        """Write one episode in one call: all its labels and, for ``frames="model"``, its frames in any chunks."""
        with self.episode(episode) as part:
            for chunk_THWC in frames_THWC:
                part.add_frames(chunk_THWC)
            part.add_labels(labels)

    def adopt(self, episode: Episode) -> Labels:
        """Take an episode that another process has written into the journal, and return its labels.

        Raises:
            DatasetError: it is not there, not whole, or not what this run would make.

        """
        found = self._find_parts([episode])
        if not found:
            path = self.journal.part(episode.name)
            raise DatasetError(
                f"{path}: got no whole labels of {episode.name} there, expected those that a worker has written: the "
                "folder of the output must be shared by all machines, at the same path"
            )
        self._stored |= found
        place = found[episode.name]
        with read_hdf5(place.path) as file:
            return read_labels_of(file[place.group])[0]

    @property
    def stored(self) -> dict[str, StoredLabels]:
        """Where the finished episodes are, by name, in the dataset's order."""
        return {e.name: self._stored[e.name] for e in self._dataset.episodes if e.name in self._stored}

    def take_over(self, stored: Mapping[str, StoredLabels]) -> None:
        """Take finished episodes, by name, from other labelled files instead of labelling them.

        Raises:
            DatasetError: labels are not what this run would make: of another model, setting or state of the source.

        """
        for episode in self._dataset.episodes:
            if episode.name in stored:
                place = stored[episode.name]
                with read_hdf5(place.path) as file:
                    attrs = read_attrs_of(file[place.group])
                self._may_take_over(place.path, episode, attrs, same_source=True, must=True)
                self._stored[episode.name] = place

    def finish(self, *, allow_missing: bool = False) -> Path:
        """Write the output from the finished episodes, in the dataset's order, and remove the journal.

        Returns:
            The output's path.

        Raises:
            DatasetError: no episode is finished, or some are missing without `allow_missing`; a source has changed
                since this writer was made; or the output cannot be written. Finished episodes are kept.

        """
        missing = self.pending()
        if not self._stored or (missing and not allow_missing):
            names = ", ".join(episode.name for episode in missing[:5])
            raise DatasetError(f"{self._output}: {len(missing)} episodes are not labelled yet: {names}")
        self._about.check_all_unchanged()
        if not self.is_complete and (self._layout or any(s.path != self._output for s in self._stored.values())):
            self._write_output()
        self.journal.remove()
        return self._output

    def _write_output(self) -> None:
        self.journal.check_held()
        check_place(self._output, self._dataset, self._frames, may_exist=self._may_exist)  # much time has gone by
        self._may_exist = True
        attrs = FileProvenance.of(self._model, self._frames, self.part_settings.created, __version__, self._layout)
        if self._layout:
            write_own_layout(self._output, self._dataset, self._stored, self._model, attrs)
        elif self._frames == "in_place":
            label_in_place(self._output, self._stored, self._model, attrs)
        else:
            assemble(self._output, self._dataset, self._stored, self._model, attrs)

    def _find_finished(self) -> None:
        """Take over the episodes that earlier runs finished."""
        self.is_complete = not self.journal.is_old and self._is_complete()
        is_own = self.is_complete or (self.journal.is_old and self._was_written_from_the_journal())
        self._may_exist = self._may_exist or is_own
        check_place(self._output, self._dataset, self._frames, may_exist=self._may_exist)
        if self._existing == "resume" or is_own:
            self._stored |= self._find_labelled()
        self._stored |= self._find_parts(self.pending())

    def _was_written_from_the_journal(self) -> bool:
        """Return whether a run was killed while writing the output, or after that but before its journal was gone.

        Then the output holds the same labels as the journal: all of them or, if it is a folder, some; the journal may
        be partly removed already.
        """
        try:
            written = self._written()
        except DatasetError:
            return False
        if not written:
            return False
        parts = {}
        for path in self.journal.parts():
            with suppress(DatasetError), read_hdf5(path) as file:
                attrs = read_attrs_of(file)
                parts[attrs.source_name] = attrs
        if not parts:  # nothing is left of the journal but itself
            return self._existing == "refuse" and {episode.name for episode in self._dataset.episodes} <= written.keys()
        return written.items() <= parts.items() or parts.items() <= written.items()

    def _is_complete(self) -> bool:
        """Return whether the output is intact and what this run would make, as after a kill in its last instant."""
        if self._existing != "refuse":
            return False
        try:
            written, wanted = self._written(), {episode.name for episode in self._dataset.episodes}
            return (
                bool(written)
                and (written.keys() == wanted or (self._may_miss and written.keys() < wanted))
                and written.keys() == self._find_labelled().keys()
                and open_labelled(self._output).attrs.codebook_sha256 == self._model.codebook_sha256
            )
        except DatasetError:
            return False

    def _written(self) -> dict[str, Provenance]:
        """Return the provenance of the labels in the output, by the episode's name in the dataset."""
        if not self._output.exists() or not carries_labels(self._output):
            return {}
        labelled = open_labelled(self._output)
        every = (labelled.labels_attrs(name) for name in labelled.episodes)
        return {attrs.source_name: attrs for attrs in every}

    def _find_parts(self, episodes: list[Episode]) -> dict[str, StoredLabels]:
        """Return those of `episodes` that the journal holds."""
        parts = {}
        for episode in episodes:
            path = self.journal.part(episode.name)
            if not path.exists():
                continue
            try:
                with read_hdf5(path) as file:
                    attrs, is_whole = read_attrs_of(file), is_intact(file[LABEL_GROUP]) is not False
            except DatasetError:  # the disk damaged it: a killed run leaves no part half written
                is_whole = False
            if is_whole and self._may_take_over(path, episode, attrs, same_source=True):
                parts[episode.name] = StoredLabels(path, "/")
        return parts

    def _find_labelled(self) -> dict[str, StoredLabels]:
        """Return the episodes in the output of an earlier run that this one resumes."""
        in_place = self._frames == "in_place"
        if not self._output.exists():
            return {}
        if (in_place or _is_empty(self._output)) and not carries_labels(self._output):
            return {}
        labelled = open_labelled(self._output)
        if labelled.attrs.frames != self._frames:
            raise DatasetError(f"{self._output}: frames: got {labelled.attrs.frames}, expected {self._frames}")
        episodes = {episode.name: episode for episode in self._dataset.episodes}
        found = {}
        for demo in labelled.episodes:
            if not labelled.is_intact(demo):
                continue  # it is labelled again
            attrs = labelled.labels_attrs(demo)
            episode = episodes.get(attrs.source_name)
            if episode is not None and self._may_take_over(self._output, episode, attrs, same_source=not in_place):
                found[episode.name] = labelled.places[demo]
        return found

    def _may_take_over(
        self, path: SourcePath, episode: Episode, there: Provenance, *, same_source: bool, must: bool = False
    ) -> bool:
        """Return whether labels of an earlier run are what this run would make. Raises DatasetError if they are not."""
        difference = there.difference(self._about.of(episode), same_source=same_source)
        if difference and (must or self._existing != "overwrite"):
            raise DatasetError(
                f"{path}: labels of {episode.name}: got {difference}; "
                "use the same settings and source, or overwrite them"
            )
        return difference is None


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _own_layout(dataset: Dataset, frames: FramesMode) -> Literal["aloha", "hdf5"] | None:
    """Format in whose layout labels are written; None: robomimic's."""
    if not keeps_layout(dataset, frames):
        return None
    return "aloha" if dataset.format == "aloha" else "hdf5"


__all__ = ["LabelWriter"]
