"""Metadata of an RLDS dataset, a folder written by TFDS: its splits, their shards, and its features.

Shards are not opened, except one if nothing else says what they hold. `reader` reads frames and numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genie_core.data.formats.rlds.example import Values, parse_example
from genie_core.data.formats.rlds.features import StepFeature, declared_features, inferred_features, step_count
from genie_core.data.formats.rlds.tfrecord import RecordIndex, index_records
from genie_core.data.storage.json_text import parse_json
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError, problems_of

DATASET_INFO = "dataset_info.json"
FEATURES = "features.json"

_SHARD = re.compile(r"(?P<name>.+)-(?P<split>[^-]+)\.tfrecord-(?P<index>\d{5,})-of-(?P<count>\d{5,})")
_MOST_RECORDS = 1_000_000
"""Most episodes of a shard; TFDS makes shards of some hundred MB."""

_VERSION = re.compile(r"\d+\.\d+\.\d+")


class Split(BaseModel):
    """One split, as ``dataset_info.json`` lists it."""

    model_config = ConfigDict(frozen=True)

    name: str
    shard_lengths: tuple[Annotated[int, Field(ge=0, le=_MOST_RECORDS)], ...] = Field((), alias="shardLengths")


class DatasetInfo(BaseModel):
    """The part of ``dataset_info.json`` that Genie reads."""

    model_config = ConfigDict(frozen=True)

    file_format: str = Field("tfrecord", alias="fileFormat")
    splits: tuple[Split, ...] = ()


@dataclass(frozen=True)
class Shard:
    """One TFRecord file of a split; each record is an episode.

    Attributes:
        path: the file.
        listed: number of its records according to the dataset; None if not listed.

    """

    path: SourcePath
    listed: int | None

    @property
    def num_records(self) -> int:
        """Number of episodes; counted if not listed, in which case records hidden by damage count as one."""
        if self.listed is not None:
            return self.listed
        return len(self._index) + (self._index.damage is not None)

    def record(self, number: int) -> Mapping[str, Values]:
        """Return the features of one record by name.

        Raises DatasetError, naming file and record, if the record is missing, damaged or not a tf.train.Example, or if
        the file holds more records than listed, some of which would be lost.
        """
        index = self._index
        if self.listed is not None and index.damage is None and not number < len(index) <= self.listed:
            problem = f"the file holds {len(index)} records, {DATASET_INFO} lists {self.listed}"
            raise DatasetError(f"{self.path}: record {number}: {problem}")
        try:
            return parse_example(index.read(number))
        except DatasetError as error:
            where = f"{self.path}: record {number}"
            raise (error if str(error).startswith(str(self.path)) else DatasetError(f"{where}: {error}")) from error

    @cached_property
    def _index(self) -> RecordIndex:
        return index_records(self.path)


@dataclass(frozen=True)
class RldsEntry:
    """One episode: a record of a shard.

    Attributes:
        name: split and number in the split, from 0 over all shards: ``train/0007``.
        shard: file that holds it.
        record: number in that file, from 0.

    """

    name: str
    shard: Shard
    record: int


@dataclass(frozen=True)
class RldsMeta:
    """Metadata of one dataset.

    Attributes:
        path: folder that holds the shards.
        features: features of a step, by key.
        splits: shards of each split, in order.
        warnings: oddities that do not stop reading.

    """

    path: SourcePath
    features: Mapping[str, StepFeature]
    splits: Mapping[str, tuple[Shard, ...]]
    warnings: tuple[str, ...]

    @cached_property
    def entries(self) -> tuple[RldsEntry, ...]:
        """Episodes, split by split, in the order of shards and records."""
        return tuple(entry for split in self.splits for entry in self._entries_of(split))

    @cached_property
    def masks(self) -> dict[str, tuple[str, ...]]:
        """Names of episodes by split."""
        return {split: tuple(entry.name for entry in self._entries_of(split)) for split in self.splits}

    @property
    def files(self) -> tuple[SourcePath, ...]:
        """All shards."""
        return tuple(shard.path for shards in self.splits.values() for shard in shards)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Features that can be read as RGB frames."""
        return tuple(key for key, feature in self.features.items() if feature.is_camera)

    @property
    def refused(self) -> dict[str, str]:
        """Picture features that are not cameras, and why."""
        return _refused(self.features)

    @property
    def facts(self) -> tuple[str, ...]:
        """How its features are interpreted, one sentence each."""
        parts = [part.key for part in action_parts(self.features)]
        return (f"actions are concatenated from {', '.join(parts)}, in this order",) if len(parts) > 1 else ()

    def _entries_of(self, split: str) -> list[RldsEntry]:
        shards = self.splits[split]
        starts = accumulate((shard.num_records for shard in shards), initial=0)
        return [
            RldsEntry(f"{split}/{start + record:04d}", shard, record)
            for shard, start in zip(shards, starts, strict=False)
            for record in range(shard.num_records)
        ]


def rlds_reason(path: SourcePath) -> str | None:
    """Return why a folder counts as an RLDS dataset, in words for the user; None if it is not one."""
    for folder in _folders(path):
        shard = next((file.name for file in _files(folder) if _SHARD.fullmatch(file.name)), None)
        if shard:
            return f"holds {shard if folder == path else f'{folder.name}/{shard}'}, a shard as TFDS names it"
        if (folder / FEATURES).is_file() and (folder / DATASET_INFO).is_file():
            return f"holds {FEATURES} and {DATASET_INFO}, which TFDS writes"
    return None


def is_rlds(path: SourcePath) -> bool:
    """Return whether a folder is an RLDS dataset, or holds versions of one (``1.0.0``)."""
    return rlds_reason(path) is not None


def read_rlds_meta(path: SourcePath) -> RldsMeta:
    """Read the metadata of the dataset in the folder `path`, or of its only version in a sub-folder.

    Raises:
        DatasetError: there are several versions, a shard is missing, a JSON file is damaged, or the data are not
            RLDS in TFRecord.

    """
    folder = _one_folder(path)
    info = _read_info(folder / DATASET_INFO)
    files = _shard_files(folder)
    splits, warnings = _splits(folder, info, files)
    features, more = _features(folder, splits)
    odd = [f"{key}: no camera: {why}" for key, why in _refused(features).items()]
    return RldsMeta(folder, features, splits, (*warnings, *more, *odd))


def action_parts(features: Mapping[str, StepFeature]) -> tuple[StepFeature, ...]:
    """Return the features that make up the robot's action: ``action``, or those below it in order of their names."""
    if "action" in features:
        return (features["action"],)
    return tuple(feature for key, feature in features.items() if key.startswith("action/"))


def _refused(features: Mapping[str, StepFeature]) -> dict[str, str]:
    pictures = (feature for feature in features.values() if feature.kind == "image")
    return {picture.key: picture.problem for picture in pictures if picture.problem}


def _folders(path: SourcePath) -> list[SourcePath]:
    """Return the folders that may hold the dataset's files: `path` and those of its versions."""
    if not path.is_dir():
        return []
    names = sorted(folder.name for folder in path.glob("*") if _VERSION.fullmatch(folder.name))
    return [path, *(folder for folder in (path / name for name in names) if folder.is_dir())]


def _files(folder: SourcePath) -> list[SourcePath]:
    return sorted(folder.glob("*"), key=str)


def _one_folder(path: SourcePath) -> SourcePath:
    folders = [folder for folder in _folders(path) if folder == path or rlds_reason(folder)]
    if not folders:
        raise DatasetError(f"{path}: no such folder")
    if len(folders) == 1 or any(_SHARD.fullmatch(file.name) for file in _files(path)):
        return path
    if len(folders) > 2:
        versions = ", ".join(folder.name for folder in folders[1:])
        raise DatasetError(f"{path}: holds several versions of an RLDS dataset, expected one of them: {versions}")
    return folders[1]


def _read_json(path: SourcePath) -> Any:
    """Return the contents of a JSON file; None if there is no such file."""
    try:
        return parse_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise DatasetError(f"{path}: damaged, not JSON: {error}") from error


def _read_info(path: SourcePath) -> DatasetInfo | None:
    document = _read_json(path)
    if document is None:
        return None
    try:
        info = DatasetInfo.model_validate(document)
    except ValidationError as error:
        raise DatasetError(f"{path}: {problems_of(error)}") from error
    if info.file_format != "tfrecord":
        raise DatasetError(
            f"{path}: fileFormat: got {info.file_format}, expected tfrecord; TFDS converts it: tfds convert_format"
        )
    return info


def _shard_files(folder: SourcePath) -> dict[str, dict[int, SourcePath]]:
    """Return the shards of each split by number. Raises DatasetError if any are missing, or of two datasets."""
    found = [match for file in _files(folder) if (match := _SHARD.fullmatch(file.name))]
    if not found:
        raise DatasetError(f"{folder}: got no shard, expected files like NAME-train.tfrecord-00000-of-00001")
    names = sorted({match["name"] for match in found})
    if len(names) > 1:
        raise DatasetError(f"{folder}: got shards of several datasets, expected one: {', '.join(names)}")
    shards: dict[str, dict[int, SourcePath]] = {}
    for split in sorted({match["split"] for match in found}):
        own = [match for match in found if match["split"] == split]
        counts = sorted({int(match["count"]) for match in own})
        if len(counts) > 1:
            raise DatasetError(f"{folder}: {split}: got shards of {counts[0]} and of {counts[-1]}, expected one set")
        shards[split] = {int(match["index"]): folder / match[0] for match in own}
        _check_complete(f"{folder}: {split}", set(shards[split]), counts[0])
    return shards


def _check_complete(where: str, numbers: set[int], count: int) -> None:
    """Raise DatasetError unless the `numbers` of shards are 0 to `count` - 1."""
    missing, strange = sorted(set(range(count)) - numbers), sorted(numbers - set(range(count)))
    if missing:
        named = ", ".join(f"{number:05d}" for number in missing[:5]) + (", ..." if len(missing) > 5 else "")
        there = count - len(missing)
        raise DatasetError(f"{where}: got {there} of {count} shards, expected all; missing: {named}")
    if strange:
        raise DatasetError(f"{where}: got shard {strange[0]:05d} of {count}, expected 00000 to {count - 1:05d}")


def _splits(
    folder: SourcePath, info: DatasetInfo | None, files: Mapping[str, Mapping[int, SourcePath]]
) -> tuple[dict[str, tuple[Shard, ...]], list[str]]:
    """Return the splits that have files, listed ones first, and warnings about them."""
    if info is None:
        warnings = [f"{folder / DATASET_INFO}: there is none, so that missing episodes would not be noticed"]
    else:
        warnings = []
    splits = {}
    for split in info.splits if info else ():
        if split.name in files:
            splits[split.name] = _listed_shards(folder, split, files[split.name])
        elif sum(split.shard_lengths):
            warnings.append(
                f"{folder}: {split.name}: {DATASET_INFO} lists {sum(split.shard_lengths)} episodes, but none of the "
                "shards exists: the split is left out"
            )
    for name in sorted(set(files) - set(splits)):
        if info:
            warnings.append(f"{folder / DATASET_INFO}: does not list the split {name}, which is read all the same")
        splits[name] = tuple(Shard(files[name][number], None) for number in sorted(files[name]))
    return splits, warnings


def _listed_shards(folder: SourcePath, split: Split, files: Mapping[int, SourcePath]) -> tuple[Shard, ...]:
    lengths: Sequence[int | None] = split.shard_lengths or [None] * len(files)
    if len(lengths) != len(files):
        raise DatasetError(
            f"{folder / DATASET_INFO}: {split.name}: lists {len(lengths)} shards, the files are {len(files)}"
        )
    return tuple(Shard(files[number], length) for number, length in enumerate(lengths))


def _features(
    folder: SourcePath, splits: Mapping[str, tuple[Shard, ...]]
) -> tuple[Mapping[str, StepFeature], tuple[str, ...]]:
    """Return the features of a step: as declared, else as inferred from the first episode with steps (warned of)."""
    path = folder / FEATURES
    document = _read_json(path)
    if isinstance(document, dict) and "pythonClassName" in document:
        try:
            return declared_features(document), ()
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from error
    values, where = _first_record([shard for shards in splits.values() for shard in shards])
    try:
        features = inferred_features(values)
    except DatasetError as error:
        raise DatasetError(f"{where}: {error}") from error
    why = "missing" if document is None else "not in the layout that Genie knows (pythonClassName)"
    return features, (f"{path}: {why}: cameras and arrays are those of {where}, arrays of several axes are read flat",)


def _first_record(shards: Sequence[Shard]) -> tuple[Mapping[str, Values], str]:
    """Return the first record with steps, or if none has any the first record, and its location."""
    without: tuple[Mapping[str, Values], str] | None = None
    problem: DatasetError | None = None
    for shard, number in ((file, record) for file in shards for record in range(file.num_records)):
        try:
            values = shard.record(number)
        except DatasetError as error:
            problem = problem or error
            continue
        found = values, f"{shard.path}: record {number}"
        if step_count(values) != 0:
            return found
        without = without or found
    if without is None:
        raise problem or DatasetError(f"{shards[0].path.parent}: its shards hold no episode")
    return without


__all__ = [
    "DATASET_INFO",
    "FEATURES",
    "RldsEntry",
    "RldsMeta",
    "Shard",
    "action_parts",
    "is_rlds",
    "read_rlds_meta",
    "rlds_reason",
]
