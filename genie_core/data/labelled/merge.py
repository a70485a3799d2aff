"""Merges the files of all shards into the one labelled file that a single process would have written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from genie_core.data.auto_step import AutoSteps
from genie_core.data.dataset import Dataset
from genie_core.data.formats.robomimic.reader import LABEL_GROUP
from genie_core.data.labelled.assembly import StoredLabels
from genie_core.data.labelled.checksum import CHECKSUM, group_digest
from genie_core.data.labelled.journal import Journal, journal_folder
from genie_core.data.labelled.reading import LabelledFile, open_labelled
from genie_core.data.labelled.shards import (
    Shard,
    ShardEntry,
    ShardPlan,
    names_sha256,
    read_entry,
    read_plan,
    shards_folder,
)
from genie_core.data.labelled.writer import LabelWriter
from genie_core.data.storage.hdf5 import read_hdf5
from genie_core.errors import DatasetError


@dataclass(frozen=True)
class Merged:
    """What `merge` has done.

    Attributes:
        output: the file.
        entries: of all shards, in order.
        was_complete: whether the file was there already.

    """

    output: Path
    entries: tuple[ShardEntry, ...]
    was_complete: bool

    @property
    def episodes(self) -> int:
        """Number of episodes in the file."""
        return sum(len(entry.episodes) for entry in self.entries)

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """Name and reason of each episode that could not be labelled."""
        return tuple(skipped for entry in self.entries for skipped in entry.skipped)


def merge(
    output: Path, dataset: Dataset, *, overwrite: bool = False, advance: Callable[[float], None] = lambda shards: None
) -> Merged:
    """Write `output` from the files of its shards, which stay.

    Args:
        output: file to write.
        dataset: the dataset, opened as for labelling.
        overwrite: whether to replace an output that holds other labels.
        advance: called with the number of shards checked since the last call.

    Raises:
        DatasetError: a shard is missing, of another dataset, split or setting, or not what it wrote; the data have
            changed since; or the output exists with other labels, or cannot be written. Nothing is written then.

    """
    plan = _plan(output, dataset)
    entries = _entries(output, dataset, plan)
    checked: dict[str, StoredLabels] = {}
    files: list[tuple[str, LabelledFile]] = []
    for entry in entries:
        if entry.episodes:
            file = open_labelled(Shard(entry.shard, plan.shards).file(output))
            checked |= _checked(file, entry)
            files.append((entry.finished, file))
        advance(1.0)
    if not checked:
        raise DatasetError(f"{shards_folder(output)}: none of {plan.episodes} episodes could be labelled")
    was_complete = _holds(output, {episode.name: episode.sha256 for entry in entries for episode in entry.episodes})
    if was_complete:
        _remove_journal(output, plan)
    elif output.exists() and not overwrite:
        raise DatasetError(f"{output}: exists already, and holds other labels; --overwrite replaces it")
    else:
        _write(output, dataset, plan, checked, files, overwrite)
    return Merged(output, entries, was_complete)


def _plan(output: Path, dataset: Dataset) -> ShardPlan:
    plan = read_plan(output)
    if plan is None:
        raise DatasetError(f"{shards_folder(output)}: got no shards of {output.name}, expected those of `--shard I/N`")
    here = plan.model_copy(update={"episodes": len(dataset.episodes), "names_sha256": names_sha256(dataset.episodes)})
    difference = here.difference(plan)
    if difference is not None:
        raise DatasetError(f"{dataset.path}: has changed since the shards began: {difference}")
    return plan


def _entries(output: Path, dataset: Dataset, plan: ShardPlan) -> tuple[ShardEntry, ...]:
    """Read the entries of all shards, and refuse if one is missing, or belongs to something else."""
    shards = [Shard(number, plan.shards) for number in range(1, plan.shards + 1)]
    wanted = {shard.entry(output): shard for shard in shards}
    foreign = sorted(set(shards_folder(output).glob("shard-*.json")) - wanted.keys())
    if foreign:
        raise DatasetError(f"{foreign[0]}: is not of these {plan.shards} shards; remove it with its labelled file")
    missing = [str(shard) for path, shard in wanted.items() if not path.exists()]
    if missing:
        more = ", ..." if len(missing) > 10 else ""
        raise DatasetError(
            f"{shards_folder(output)}: {len(missing)} of {plan.shards} shards are not finished: "
            f"{', '.join(missing[:10])}{more}; run them with --shard, then merge"
        )
    return tuple(_entry(path, shard, dataset, plan) for path, shard in wanted.items())


def _entry(path: Path, shard: Shard, dataset: Dataset, plan: ShardPlan) -> ShardEntry:
    entry = read_entry(path)
    difference = entry.plan.difference(plan)
    if entry.shard != shard.number:
        difference = f"shard: got {entry.shard}, expected {shard.number}"
    if difference is not None:
        raise DatasetError(f"{path}: is of other shards ({difference}); remove it and run that shard again")
    if entry.names != {episode.name for episode in shard.episodes(dataset.episodes)}:
        raise DatasetError(
            f"{path}: got other episodes than those of shard {shard}; remove it and run that shard again"
        )
    return entry


def _checked(file: LabelledFile, entry: ShardEntry) -> dict[str, StoredLabels]:
    """Return where a shard's labels are, all of which are as its entry says."""
    wanted = {episode.name: episode.sha256 for episode in entry.episodes}
    if file.attrs.codebook_sha256 != entry.plan.settings.codebook_sha256:
        raise DatasetError(f"{file.path}: got labels of another codebook than those of the other shards")
    found = {}
    with read_hdf5(file.path) as opened:
        for demo in file.episodes:
            group = opened[file.places[demo].group][LABEL_GROUP]
            name = file.labels_attrs(demo).source_name
            try:
                digest = group_digest(group)
            except OSError:
                digest = "none: it cannot be read"
            if not digest == group.attrs.get(CHECKSUM) == wanted.get(name):
                raise DatasetError(
                    f"{file.path}: {name}: got labels of SHA-256 {digest[:12]}, "
                    f"expected {wanted.get(name, 'none')[:12]}; run shard {entry.shard}/{entry.plan.shards} again"
                )
            found[name] = file.places[demo]
    if missing := sorted(wanted.keys() - found.keys()):
        raise DatasetError(f"{file.path}: {missing[0]} is missing; run shard {entry.shard}/{entry.plan.shards} again")
    return found


def _holds(output: Path, wanted: Mapping[str, str]) -> bool:
    """Return whether the output is there, intact, with just the labels of these checksums."""
    try:
        labelled = open_labelled(output)
        with read_hdf5(output) as file:
            found = {
                labelled.labels_attrs(demo).source_name: str(file[f"data/{demo}/{LABEL_GROUP}"].attrs[CHECKSUM])
                for demo in labelled.episodes
            }
        return found == wanted and all(map(labelled.is_intact, labelled.episodes))
    except (DatasetError, KeyError):
        return False


def _remove_journal(output: Path, plan: ShardPlan) -> None:
    """Remove what a merge that was killed after its last step has left."""
    if journal_folder(output).is_dir():
        Journal(output, plan.settings, start_over=False).remove()


def _write(
    output: Path,
    dataset: Dataset,
    plan: ShardPlan,
    stored: Mapping[str, StoredLabels],
    files: list[tuple[str, LabelledFile]],
    overwrite: bool,
) -> None:
    settings = plan.settings
    last = max(files, key=lambda pair: pair[0])[1]  # a file's provenance is of the run that completed it
    first = files[0][1].labels_attrs(files[0][1].episodes[0])
    with LabelWriter(
        output,
        dataset,
        last.model,
        step=settings.step,
        auto_steps=None if settings.auto_steps is None else AutoSteps.of(settings.auto_steps),
        density=settings.density,
        frames=settings.frames,
        transport=settings.transport or "raw",
        alignment=first.aligned_by,
        keep_frozen=settings.frozen is not None,
        feature_dim=settings.feature_dim,
        existing="overwrite" if overwrite else "refuse",
        created=min(datetime.fromisoformat(file.attrs.created) for _, file in files),
    ) as writer:
        difference = writer.settings.difference(settings)
        if difference is not None:
            raise DatasetError(f"{dataset.path}: is not read as the shards read it: {difference}")
        writer.take_over(stored)
        writer.finish(allow_missing=True)


__all__ = ["Merged", "merge"]
