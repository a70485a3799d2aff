"""Shards of one labelled file, made by processes that share nothing but a file system: who labels what, and who did.

Beside the output lies the folder ``<output>.shards``: ``plan.json`` (what all shards agree on, written by the first),
and of each finished shard a labelled file and its entry, ``shard-I-of-N.json``. `merge` makes one file of them.
"""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from genie_core import __version__
from genie_core.data.auto_step import AutoSteps
from genie_core.data.dataset import LABELLED_SUFFIX, Dataset
from genie_core.data.episode import Episode
from genie_core.data.labelled.checksum import CHECKSUM
from genie_core.data.labelled.journal import Manifest
from genie_core.data.labelled.provenance import StepPolicy
from genie_core.data.labelled.reading import open_labelled
from genie_core.data.storage.atomic import failures_named, write_bytes, write_once
from genie_core.data.storage.hdf5 import read_hdf5
from genie_core.errors import DatasetError

_PLAN = "plan.json"
_MOST_SHARDS = 100_000
_T = TypeVar("_T")
_WORDS = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)


class OtherStepsError(DatasetError):
    """Another shard has found other transition lengths meanwhile; those are the ones to use."""


@dataclass(frozen=True)
class Shard:
    """One of `count` equal parts of a dataset.

    Attributes:
        number: which one, 1 .. `count`.
        count: number of shards, at least 1.

    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count <= _MOST_SHARDS:
            raise DatasetError(
                f"shard: got {self.number}/{self.count}, expected I/N with I from 1 to N, and N up to {_MOST_SHARDS:,}"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``3/8``. Raises DatasetError if it is not of that form."""
        match = _WORDS.fullmatch(text)
        if match is None:
            raise DatasetError(f"shard: got {text!r}, expected I/N, as 3/8")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def stem(self) -> str:
        """Prefix of the names of its files."""
        return f"shard-{self.number}-of-{self.count}"

    def episodes(self, every: Sequence[_T]) -> list[_T]:
        """Return those of a dataset's episodes that are this shard's: every `count`-th, in order.

        It depends on their order and `count` alone, so that all machines agree without asking. Neighbours, often of one
        recording and so alike in length, go to different shards.
        """
        return list(every[self.number - 1 :: self.count])

    def part(self, dataset: Dataset) -> Dataset:
        """Return the dataset of this shard's episodes alone."""
        return replace(dataset, episodes=self.episodes(dataset.episodes))

    def file(self, output: Path) -> Path:
        """Return the path of this shard's labelled file, for all shards' output `output`."""
        return shards_folder(output) / f"{self.stem}{LABELLED_SUFFIX}"

    def entry(self, output: Path) -> Path:
        """Return the path of this shard's entry."""
        return shards_folder(output) / f"{self.stem}.json"


class ShardPlan(BaseModel):
    """What all shards of one output agree on.

    Attributes:
        shards: number of shards.
        episodes: number of episodes of the dataset.
        names_sha256: `names_sha256` of them.
        settings: settings of the labels, transition lengths included: those found are found on all the data.

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shards: int
    episodes: int
    names_sha256: str
    settings: Manifest

    def difference(self, wanted: Self) -> str | None:
        """Describe the first field in which this plan differs from `wanted`; None if they agree."""
        if self.shards != wanted.shards:
            return f"shards: got {self.shards}, expected {wanted.shards}"
        if (self.episodes, self.names_sha256) != (wanted.episodes, wanted.names_sha256):
            names = "other names" if self.episodes == wanted.episodes else f"{self.episodes} of them"
            return f"episodes: got {names}, expected the {wanted.episodes} that the first shard found"
        return self.settings.difference(wanted.settings)


class ShardEpisode(BaseModel):
    """An episode that a shard has labelled.

    Attributes:
        name: its name in the dataset.
        frames: number of frames.
        transitions: number of valid labels.
        step: transition length in frames.
        step_policy: how that was chosen.
        sha256: checksum of its labels with their provenance, as in the file.

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    frames: int
    transitions: int
    step: int
    step_policy: StepPolicy | None
    sha256: str


class ShardEntry(BaseModel):
    """What one shard has done.

    Attributes:
        shard: its number, 1 .. ``plan.shards``.
        plan: what it agreed on with the others.
        bundle_name: name of the model.
        episodes: those it has labelled, in order; none: it has no file.
        skipped: name and reason of each that could not be labelled.
        host: machine on which `genie label` ran.
        processor: on which the networks ran, as the server says; None: it does not, or there was nothing to label.
        torch_version: version of PyTorch there.
        began: when labelling began, ISO 8601, UTC.
        finished: when this was written.
        tool_version: version of Genie.

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    shard: int
    plan: ShardPlan
    bundle_name: str
    episodes: tuple[ShardEpisode, ...]
    skipped: tuple[tuple[str, str], ...]
    host: str
    processor: str | None
    torch_version: str | None
    began: str
    finished: str
    tool_version: str

    @property
    def names(self) -> set[str]:
        """Names of the episodes that it has labelled or skipped."""
        return {episode.name for episode in self.episodes} | {name for name, _ in self.skipped}


def shards_folder(output: Path) -> Path:
    """Return the folder of the shards of `output`, whether or not it exists."""
    return output.with_name(f"{output.name}.shards")


def begin_shards(output: Path) -> None:
    """Make the folder of the shards of `output` if it is missing. Raises DatasetError if it cannot be made."""
    folder = shards_folder(output)
    with failures_named(folder):
        folder.mkdir(exist_ok=True)


def names_sha256(episodes: Sequence[Episode]) -> str:
    """Return the SHA-256 over the names of episodes in order, each ended by a zero byte; 64 hexadecimal digits."""
    return hashlib.sha256(b"".join(episode.name.encode() + b"\0" for episode in episodes)).hexdigest()


def agreed_steps(output: Path, bundle_id: str) -> AutoSteps | None:
    """Return the transition lengths that the shards of `output` have agreed on; None if none were found for them."""
    plan = read_plan(output)
    if plan is None or plan.settings.bundle_id != bundle_id or plan.settings.auto_steps is None:
        return None
    return AutoSteps.of(plan.settings.auto_steps)


def join(output: Path, shard: Shard, episodes: Sequence[Episode], settings: Manifest) -> ShardPlan:
    """Agree with the other shards of `output` on what all do, and return it; the first to come decides.

    Args:
        output: all shards' output.
        shard: this one.
        episodes: all of the dataset.
        settings: with what this shard would label.

    Raises:
        OtherStepsError: another shard was quicker and found other transition lengths: take `agreed_steps`.
        DatasetError: the others have other episodes or settings, or are another number.

    """
    ours = ShardPlan(shards=shard.count, episodes=len(episodes), names_sha256=names_sha256(episodes), settings=settings)
    path = shards_folder(output) / _PLAN
    with failures_named(path):
        text = write_once(path, _json(ours))
    there = _parse_plan(path, text)
    difference = ours.difference(there)
    if difference is None:
        return there
    if None not in (settings.auto_steps, there.settings.auto_steps) and difference.startswith("auto_steps"):
        raise OtherStepsError(f"{path}: {difference}; run the same command again")
    raise DatasetError(
        f"{path}: shard {shard} is not of these shards: {difference}; "
        f"use what they use, or remove {path.parent} to start over"
    )


def record(output: Path, shard: Shard, plan: ShardPlan, bundle_name: str, skipped: Sequence[tuple[str, str]]) -> None:
    """Write the entry of a shard whose file is finished, or that had nothing to label.

    Raises:
        DatasetError: the file cannot be read, or the entry not be written.

    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    file, path = shard.file(output), shard.entry(output)
    labelled = open_labelled(file) if file.exists() else None
    computation = None if labelled is None else labelled.attrs.computation
    entry = ShardEntry(
        shard=shard.number,
        plan=plan,
        bundle_name=bundle_name,
        episodes=() if labelled is None else read_episodes(file),
        skipped=tuple(skipped),
        host=platform.node(),
        processor=computation and computation.processor,
        torch_version=computation and computation.torch_version,
        began=now if labelled is None else labelled.attrs.created,
        finished=now,
        tool_version=__version__,
    )
    if path.exists() and _is_same(path, entry):
        return  # it says who did it
    with failures_named(path):
        write_bytes(path, _json(entry))


def read_episodes(file: Path) -> tuple[ShardEpisode, ...]:
    """Read what an entry says of the episodes in a labelled file. Raises DatasetError."""
    labelled = open_labelled(file)
    found = []
    with read_hdf5(file) as opened:
        for demo in labelled.episodes:
            labels, attrs = labelled.labels(demo)
            found.append(
                ShardEpisode(
                    name=attrs.source_name,
                    frames=len(labels),
                    transitions=int(labels.valid.sum()),
                    step=attrs.step,
                    step_policy=attrs.step_policy,
                    sha256=str(opened[f"data/{demo}/latent_actions"].attrs[CHECKSUM]),
                )
            )
    return tuple(found)


def read_plan(output: Path) -> ShardPlan | None:
    """Return what the shards of `output` have agreed on; None if none has begun. Raises DatasetError if damaged."""
    path = shards_folder(output) / _PLAN
    try:
        return _parse_plan(path, path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error


def read_entry(path: Path) -> ShardEntry:
    """Read an entry. Raises DatasetError if it is damaged, or of another version."""
    try:
        return ShardEntry.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DatasetError(f"{path}: not a shard's entry that this version reads; run that shard again") from error


def _is_same(path: Path, entry: ShardEntry) -> bool:
    try:
        there = read_entry(path)
    except DatasetError:
        return False
    return (there.plan, there.episodes, there.skipped) == (entry.plan, entry.episodes, entry.skipped)


def _parse_plan(path: Path, text: bytes) -> ShardPlan:
    try:
        return ShardPlan.model_validate_json(text)
    except ValidationError as error:
        raise DatasetError(f"{path}: not a plan that this version reads; remove {path.parent} to start over") from error


def _json(model: BaseModel) -> bytes:
    return model.model_dump_json(indent=2).encode()


__all__ = [
    "OtherStepsError",
    "Shard",
    "ShardEntry",
    "ShardEpisode",
    "ShardPlan",
    "agreed_steps",
    "begin_shards",
    "join",
    "names_sha256",
    "read_entry",
    "read_episodes",
    "read_plan",
    "record",
    "shards_folder",
]
