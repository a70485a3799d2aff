"""Metadata of a LeRobot dataset: ``meta/info.json`` and its list of episodes, v2.0, v2.1 and v3.0.

`reader` reads frames and numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat
from pathlib import PurePosixPath
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genie_core.data.storage.git_lfs import lfs_pointer
from genie_core.data.storage.json_text import parse_json
from genie_core.data.storage.location import SourcePath, local_file
from genie_core.data.storage.parquet import ParquetTable
from genie_core.errors import DatasetError, problems_of

INFO = "meta/info.json"

_LISTS = {"v2.0": "meta/episodes.jsonl", "v2.1": "meta/episodes.jsonl", "v3.0": "meta/episodes"}
"""Where each version lists its episodes. 2.0 and 2.1 differ only in their statistics, which are not read here."""

_NEWEST, _LATER = "v3.0", re.compile(r"v3\.[1-9]\d*")
"""The newest version, and later ones of its major version, which LeRobot itself reads as it."""

_VIDEO_PARTS = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
"""What v3.0 lists of an episode's place in the video of each camera."""

_ROWS = 1000
"""Number of rows of a list of episodes held in memory at a time."""

_SPLIT = re.compile(r"([0-9]{1,18}):([0-9]{1,18})")

_TEMPLATE = re.compile(r"(?:[^{}]|\{[a-z_]+(?::0?[0-9]{0,2}d?)?\})*")
"""A path with names of numbers in braces, and how many digits they take; Python's `format` knows far more."""


class Feature(BaseModel):
    """One feature of a frame; `dtype` is ``video``, ``image`` or the name of a NumPy type."""

    model_config = ConfigDict(frozen=True)

    dtype: str
    shape: tuple[int, ...] = ()
    names: Any = None
    info: Mapping[str, Any] | None = None
    video_info: Mapping[str, Any] | None = None

    @property
    def is_camera(self) -> bool:
        """Whether it holds a picture for every frame."""
        return self.dtype in ("video", "image")

    @property
    def is_depth(self) -> bool:
        """Whether its pictures are depth maps."""
        facts = {**(self.video_info or {}), **(self.info or {})}
        if facts.get("is_depth_map") or facts.get("video.is_depth_map"):
            return True
        kind = str(facts.get("video.pix_fmt", facts.get("pix_fmt", "")))
        return self.dtype == "video" and re.fullmatch(r"gray(9|1\d)(le|be)?", kind) is not None

    @property
    def frame_size(self) -> tuple[int, int]:
        """Declared height and width of a picture; (0, 0) if not declared."""
        if len(self.shape) != 3:
            return 0, 0
        names = [str(name).rstrip("s") for name in self.names] if isinstance(self.names, Sequence) else []
        is_channel_first = names[:1] == ["channel"]
        height, width = self.shape[1:] if is_channel_first else self.shape[:2]
        return height, width


class Info(BaseModel):
    """The part of ``meta/info.json`` that Genie reads."""

    model_config = ConfigDict(frozen=True)

    codebase_version: str
    fps: float | None = None
    features: Mapping[str, Feature]
    data_path: str
    video_path: str | None = None
    chunks_size: Annotated[int, Field(gt=0)] = 1000
    total_episodes: int | None = None
    total_frames: int | None = None
    splits: Mapping[str, str] = {}


@dataclass(frozen=True)
class Entry:
    """One episode in the dataset's list.

    Attributes:
        index: its number.
        length: its number of frames.
        where: values that its file names are made of, and in v3.0 its start and end in shared videos, seconds.
        task: first of its tasks, in words; None if the list does not say.

    """

    index: int
    length: int
    where: Mapping[str, float]
    task: str | None = None

    @property
    def name(self) -> str:
        """Name of the episode: ``episode_000003``."""
        return f"episode_{self.index:06d}"


@dataclass(frozen=True)
class LeRobotMeta:
    """Metadata of one dataset.

    Attributes:
        path: folder of the dataset.
        info: from ``meta/info.json``.
        entries: episodes by number.

    """

    path: SourcePath
    info: Info
    entries: tuple[Entry, ...]

    @property
    def is_shared(self) -> bool:
        """Whether episodes share files (v3.0)."""
        return self.info.codebase_version == _NEWEST or _LATER.fullmatch(self.info.codebase_version) is not None

    @property
    def cameras(self) -> tuple[str, ...]:
        """Features that can be read as RGB frames."""
        return tuple(key for key, feature in self.info.features.items() if feature.is_camera and not feature.is_depth)

    @property
    def depths(self) -> tuple[str, ...]:
        """Depth features, which are not cameras."""
        return tuple(key for key, feature in self.info.features.items() if feature.is_camera and feature.is_depth)

    @property
    def masks(self) -> dict[str, tuple[str, ...]]:
        """Names of episodes by split (``"train": "0:60"``); splits that are not ranges of numbers are skipped."""
        masks = {}
        for split, text in self.info.splits.items():
            found = _SPLIT.fullmatch(text.strip())
            if found:
                numbers = range(int(found[1]), int(found[2]))
                masks[split] = tuple(entry.name for entry in self.entries if entry.index in numbers)
        return masks

    @property
    def warnings(self) -> tuple[str, ...]:
        """Oddities that do not stop reading."""
        listed = {"total_episodes": len(self.entries), "total_frames": sum(entry.length for entry in self.entries)}
        odd = [f"{key}: no camera, depth is not read" for key in self.depths]
        if self.is_shared and self.info.codebase_version != _NEWEST:
            odd.append(f"{self.path / INFO}: {self.info.codebase_version} is newer than {_NEWEST}, and is read as it")
        for key, count in listed.items():
            said = getattr(self.info, key)
            if said not in (None, count):
                odd.append(f"{self.path / INFO}: {key} is {said}, the list of episodes has {count} and is followed")
        return tuple(odd)

    def data_file(self, entry: Entry, *, following: bool = False) -> SourcePath:
        """Return the Parquet file that holds the numbers of `entry`, or the file `following` it."""
        chunk, file = entry.where.get("data/chunk_index"), entry.where.get("data/file_index")
        if following and chunk is not None and file is not None:
            carry, file = divmod(file + 1, self.info.chunks_size)
            chunk += carry
        return self._file("data_path", self.info.data_path, entry, chunk_index=chunk, file_index=file)

    def video_file(self, entry: Entry, camera: str) -> SourcePath:
        """Return the video that holds the frames of `entry` seen by `camera`.

        Raises DatasetError if there is none: v3.0 lists nothing for a camera that was absent.
        """
        if self.info.video_path is None:
            raise DatasetError(f"{self.path / INFO}: `{camera}` is a video, but there is no video_path")
        lacks = [part for part in _VIDEO_PARTS if f"videos/{camera}/{part}" not in entry.where]
        if self.is_shared and lacks:
            raise DatasetError(f"{self.path}: {entry.name} has no video of `{camera}` (its {lacks[0]} is null)")
        chunk, file = (entry.where.get(f"videos/{camera}/{part}_index") for part in ("chunk", "file"))
        names = {"video_key": camera, "chunk_index": chunk, "file_index": file}
        return self._file("video_path", self.info.video_path, entry, **names)

    def between_s(self, entry: Entry, camera: str) -> tuple[float, float] | None:
        """Return start and end of `entry` in its video, seconds; None if it has a video of its own."""
        if not self.is_shared:
            return None
        begin, end = (entry.where[f"videos/{camera}/{part}_timestamp"] for part in ("from", "to"))
        return begin, end

    def _file(self, field: str, template: str, entry: Entry, **names: str | float | None) -> SourcePath:
        """Fill a template of ``info.json``; datasets are untrusted, so the result must not lead out of the folder."""
        if not _TEMPLATE.fullmatch(template):
            wanted = "expected a path with parts like {name:03d}"
            raise DatasetError(f"{self.path / INFO}: {field} `{template}` cannot be filled in: {wanted}")
        numbers = {key: int(value) if isinstance(value, float) else value for key, value in names.items()}
        chunk = entry.index // self.info.chunks_size
        try:
            name = PurePosixPath(template.format(episode_index=entry.index, episode_chunk=chunk, **numbers))
        except KeyError as error:
            known = ", ".join(("episode_index", "episode_chunk", *numbers))
            raise DatasetError(
                f"{self.path / INFO}: {field} `{template}` has the key {{{error.args[0]}}}, expected only {known}"
            ) from error
        except (ValueError, AttributeError, TypeError) as error:
            raise DatasetError(
                f"{self.path / INFO}: {field} `{template}` cannot be filled in for {entry.name}: {error}"
            ) from error
        if name.is_absolute() or ".." in name.parts:
            raise DatasetError(f"{self.path / INFO}: {field} `{template}` leads out of the dataset")
        return self.path / name


def overlap_warnings(meta: LeRobotMeta, camera: str) -> tuple[str, ...]:
    """Describe episodes of a shared video that claim the same frames of it: one of them has the other's pictures."""
    if not meta.is_shared or meta.info.features[camera].dtype != "video":
        return ()
    half_s = 0.5 / meta.info.fps if meta.info.fps else 0.0
    places: dict[tuple[float, ...], list[tuple[float, float, Entry]]] = {}
    for entry in meta.entries:
        at = [entry.where.get(f"videos/{camera}/{part}") for part in _VIDEO_PARTS]
        if None not in at and entry.length:
            chunk, file, start, end = (float(value) for value in at if value is not None)
            places.setdefault((chunk, file), []).append((start, end, entry))
    odd = []
    for windows in places.values():
        for (_, end, earlier), (start, _, later) in pairwise(sorted(windows, key=lambda window: window[:2])):
            if end - start > half_s:
                odd.append(
                    f"{earlier.name} and {later.name} overlap in {meta.video_file(later, camera)}: from {start:g} to "
                    f"{end:g} s both have the same frames"
                )
    return (*odd[:3], *([f"and {len(odd) - 3} more pairs of episodes overlap"] if len(odd) > 3 else []))


def is_lerobot(path: SourcePath) -> bool:
    """Return whether a folder is a LeRobot dataset: its ``meta/info.json`` names a version, or is damaged."""
    try:
        values = parse_json((path / INFO).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return isinstance(values, dict) and "codebase_version" in values


def read_lerobot_meta(path: SourcePath) -> LeRobotMeta:
    """Read the metadata of the dataset in the folder `path`.

    Raises:
        DatasetError: a file is missing or damaged, or has a version that Genie does not know.

    """
    info = _read_info(path / INFO)
    listed = path / _LISTS.get(info.codebase_version, _LISTS[_NEWEST])
    is_old = info.codebase_version in ("v2.0", "v2.1")
    entries = _read_episode_lines(listed) if is_old else _read_episode_tables(path, info)
    entries.sort(key=lambda entry: entry.index)
    twice = [later.index for earlier, later in pairwise(entries) if earlier.index == later.index]
    if twice or not entries:
        what = f"episode {twice[0]} twice" if twice else "no episode"
        raise DatasetError(f"{listed}: lists {what}")
    return LeRobotMeta(path, info, tuple(entries))


def _read_info(path: SourcePath) -> Info:
    try:
        values = parse_json(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        pointer = lfs_pointer(local_file(path))
        raise DatasetError(f"{path}: {pointer or f'damaged, no JSON: {error}'}") from error
    version = values.get("codebase_version") if isinstance(values, dict) else None
    if isinstance(version, str) and _LATER.fullmatch(version):
        version = _NEWEST
    if version not in _LISTS:
        raise DatasetError(
            f"{path}: codebase_version: got {version}, expected one of {', '.join(_LISTS)}; {_about(version)}"
        )
    if (stored := str(values.get("storage_format", "parquet"))) != "parquet":
        raise DatasetError(f"{path}: storage_format: got {stored[:40]}, expected LeRobot's Parquet and MP4: save it so")
    try:
        return Info.model_validate(values)
    except ValidationError as error:
        raise DatasetError(f"{path}: {problems_of(error)}") from error


def _about(version: object) -> str:
    """Describe what to do about an unknown version."""
    found = re.fullmatch(r"v(\d+)\.(\d+)", str(version))
    newest = tuple(int(part) for part in max(_LISTS).removeprefix("v").split("."))
    if found and (int(found[1]), int(found[2])) > newest:
        return "it is newer than this version of Genie knows"
    return "LeRobot's own scripts convert older datasets"


def _read_episode_lines(path: SourcePath) -> list[Entry]:
    """Return the entries of ``episodes.jsonl``."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise DatasetError(f"{path}: damaged, no text: {error}") from error
    entries = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            values = parse_json(line)
            entries.append(_entry(values["episode_index"], values["length"], {}, values.get("tasks")))
        except (ArithmeticError, ValueError, TypeError, KeyError) as error:
            raise DatasetError(
                f"{path}: line {number}: got {line[:60]!r}, expected an object with episode_index and length"
            ) from error
    return entries


def _read_episode_tables(path: SourcePath, info: Info) -> list[Entry]:
    """Return the entries of ``meta/episodes/chunk-*/file-*.parquet``, without reading the (large) statistics."""
    wanted = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    videos = [key for key, feature in info.features.items() if feature.dtype == "video" and not feature.is_depth]
    of_videos = [f"videos/{key}/{part}" for part in _VIDEO_PARTS for key in videos]
    folder = path / _LISTS["v3.0"]
    files: list[SourcePath] = sorted(folder.glob("*/*.parquet"), key=str)
    if not files:
        older = path / _LISTS["v2.1"]
        hint = f"; there is {older.name}: the dataset is of v2.1, whatever {INFO} says" if older.exists() else ""
        raise DatasetError(f"{folder}: holds no list of episodes, expected chunk-000/file-000.parquet{hint}")
    entries = []
    for file in files:
        table = ParquetTable(file)
        columns = [_column(table, key) for key in wanted] + [_column_with_gaps(table, key) for key in of_videos]
        for (index, length, *places), tasks in zip(zip(*columns, strict=True), _tasks(table), strict=True):
            named = zip((*wanted[2:], *of_videos), places, strict=True)
            where = {key: value for key, value in named if value is not None}
            try:
                entries.append(_entry(_number(index), _number(length), where, tasks))
            except ValueError as error:
                problem = f"got episode_index {index:g} of length {length:g}, expected whole numbers"
                raise DatasetError(f"{file}: {problem}") from error
    return entries


def _column(table: ParquetTable, key: str) -> list[float]:
    values = table.array(key)
    if values is None or values.ndim != 1 or not np.isfinite(values).all():
        came = "no such column" if values is None else "numbers that are missing" if values.ndim == 1 else "lists"
        raise DatasetError(f"{table.path}: `{key}`: got {came}, expected a number for every episode")
    numbers: list[float] = values.tolist()
    return numbers


def _column_with_gaps(table: ParquetTable, key: str) -> list[float | None]:
    """Return numbers, None where one is missing. Raises DatasetError if there is no such column, or it holds others."""
    if key not in table.columns:
        return list(_column(table, key))
    values = [value for cells in table.cells(key, range(table.num_rows), _ROWS) for value in cells]
    if not all(value is None or (isinstance(value, (int, float)) and math.isfinite(value)) for value in values):
        raise DatasetError(f"{table.path}: `{key}`: got something else, expected a number or none for every episode")
    return values


def _number(value: float | None) -> float:
    assert value is not None  # of a column without gaps
    return value


def _tasks(table: ParquetTable) -> Iterator[Any]:
    """Yield the tasks of each episode as listed; None if not listed."""
    if "tasks" not in table.columns:
        yield from repeat(None, table.num_rows)
        return
    for cells in table.cells("tasks", range(table.num_rows), _ROWS):
        yield from cells


def _entry(index: float, length: float, where: Mapping[str, float], tasks: Any) -> Entry:
    """Return an entry with non-negative whole numbers. Raises ValueError or TypeError for anything else."""
    if int(index) != index or int(length) != length or index < 0 or length < 0:
        raise ValueError(index, length)
    task = tasks[0] if isinstance(tasks, list) and tasks else tasks
    return Entry(int(index), int(length), where, task if isinstance(task, str) else None)


__all__ = ["INFO", "Entry", "Feature", "Info", "LeRobotMeta", "is_lerobot", "overlap_warnings", "read_lerobot_meta"]
