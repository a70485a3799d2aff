"""Adds labels to a LeRobot dataset itself: new columns, features and statistics; no video is encoded again.

The folder is made anew beside itself, of links to all files that stay as they are, and exchanged when it is whole: it
is the old dataset or the new one, whenever a process is killed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.data.export.lerobot import label_columns, label_values, labels_summary
from genie_core.data.export.provenance import LabelledSet, provenance_bytes, provenance_document, read_provenance
from genie_core.data.export.stores import Hdf5Labels
from genie_core.data.formats.lerobot.meta import INFO, Entry, LeRobotMeta, read_lerobot_meta
from genie_core.data.formats.lerobot.writer import ACTION_OF, PROVENANCE, Column, column_array
from genie_core.data.formats.lerobot.writer_stats import Stats, merge_stats, number_stats
from genie_core.data.labelled.reading import open_labelled
from genie_core.data.storage.atomic import failures_named, new_folder
from genie_core.errors import DatasetError

LABELS_SUFFIX = ".in-place.labelled.hdf5"
"""End of the name of the file that holds the labels until they are in the dataset; its beginning is the folder's."""

_STATS, _EPISODE_STATS = "meta/stats.json", "meta/episodes_stats.jsonl"
_AT_ONCE = 256 * 2**20
"""Row groups of more bytes are read in pieces of `_ROWS`."""
_ROWS = 256


def labels_beside(dataset: Path) -> Path:
    """Return the file in which labels wait until they are added to the `dataset`, a folder."""
    folder = dataset.resolve()
    return folder.with_name(folder.name + LABELS_SUFFIX)


def carries_feature(dataset: Path) -> bool:
    """Return whether a LeRobot dataset has our labels."""
    return (dataset / PROVENANCE).is_file() or "latent_action" in read_lerobot_meta(dataset).info.features


def is_added(labels: Path, dataset: Path) -> bool:
    """Return whether a dataset already carries just the labels of the file `labels`."""
    document = dataset / PROVENANCE
    if not document.is_file() or not labels.is_file():
        return False
    there = read_provenance(document.read_bytes(), str(document))
    return provenance_document(there, "") == provenance_document(Hdf5Labels(open_labelled(labels)).provenance, "")


def add_labels(labels: Path, dataset: Path, *, added: datetime | None = None) -> Path:
    """Add labels to a LeRobot dataset, whole or not at all; labels that it has are replaced.

    Decoded actions become the feature ``latent_action.action`` and, where the dataset has no ``action``, that too. The
    robot's own actions stay as they are.

    Args:
        labels: file that `genie label` has made of the dataset, with labels of every episode.
        dataset: folder of the dataset, v2.0, v2.1 or v3.0.
        added: the time that the labels bear as that of their export; None: now.

    Raises:
        DatasetError: an episode has no labels, or others than it has frames; a file is missing or damaged; or the disk
            is full or cannot be written, and `dataset` is as it was.

    """
    folder = dataset.resolve()
    meta = read_lerobot_meta(folder)
    addition = _Addition(meta, Hdf5Labels(open_labelled(labels)))
    addition.check()
    exported = (added or datetime.now(UTC)).isoformat(timespec="seconds")
    with failures_named(folder), new_folder(folder, replace=True) as new:
        rewritten = {path.relative_to(folder) for path in (*addition.data_files, *addition.list_files)}
        rewritten |= {Path(name) for name in (INFO, _STATS, _EPISODE_STATS, PROVENANCE)}
        _link_tree(folder, new, rewritten)
        stats = addition.write_rows(new)
        addition.write_lists(new, stats)
        _write_json(new / INFO, addition.info(json.loads((folder / INFO).read_bytes())))
        (new / PROVENANCE).write_bytes(provenance_bytes(addition.provenance, exported))
    return dataset


@dataclass(frozen=True)
class _Addition:
    """What is added to one dataset."""

    meta: LeRobotMeta
    store: Hdf5Labels

    @property
    def provenance(self) -> LabelledSet:
        return self.store.provenance

    @property
    def data_files(self) -> list[Path]:
        """The Parquet files of all rows."""
        return sorted(self._root.glob("data/**/*.parquet"))

    @property
    def list_files(self) -> list[Path]:
        """The Parquet files that list episodes; none before v3.0."""
        return sorted(self._root.glob("meta/episodes/*/*.parquet")) if self.meta.is_shared else []

    def check(self) -> None:
        """Raise DatasetError unless every episode has as many labels as frames."""
        counts = {episode.attrs.source_name: episode.num_frames for episode in self.provenance.episodes}
        for entry in self.meta.entries:
            if counts.get(entry.name) != entry.length:
                raise DatasetError(
                    f"{self._root}: {entry.name} has {counts.get(entry.name, 'no')} labels for {entry.length} frames: "
                    "labels in place need every episode; mend it, or label to a file of its own"
                )

    def columns(self) -> dict[str, Column]:
        """Return the features that are added."""
        columns = label_columns(self.provenance)
        names = self.provenance.action_names
        if names is not None and self._is_decoded_action:
            columns["action"] = Column("float32", len(names), names)
        return columns

    def values(self, index: int) -> dict[str, NDArray[Any]]:
        """Return the columns of one episode, in the dtypes that they are stored in."""
        labels = self.store.labels(self._names[index])
        found = label_values(labels, self.provenance)
        if labels.action is not None:
            found["action"] = labels.action
        return {key: np.asarray(found[key], column.dtype) for key, column in self.columns().items()}

    def write_rows(self, new: Path) -> dict[int, dict[str, Stats]]:
        """Write all Parquet files of rows with the columns; return the columns' statistics by episode."""
        columns, values = self.columns(), lru_cache(maxsize=2)(self.values)
        entries = {entry.index: entry for entry in self.meta.entries}
        seen = dict.fromkeys(entries, 0)
        for path in self.data_files:
            target = new / path.relative_to(self._root)
            target.parent.mkdir(parents=True, exist_ok=True)
            for episode, count in _write_table(path, target, columns, values, self._episode_of(path), entries):
                seen[episode] += count
        for index, entry in entries.items():
            if seen[index] != entry.length:
                raise DatasetError(
                    f"{self._root}: {entry.name} has {seen[index]} rows, its dataset lists {entry.length} frames"
                )
        kept = {entry.index: entry for entry in self.meta.entries if entry.length}
        return {index: {key: number_stats(value) for key, value in values(index).items()} for index in kept}

    def write_lists(self, new: Path, stats: Mapping[int, Mapping[str, Stats]]) -> None:
        """Write the statistics of the episodes and of the dataset where this version has them."""
        named = _stat_names(self._root)
        for path in self.list_files:
            _write_list(path, new / path.relative_to(self._root), self.columns(), stats, named)
        if (self._root / _EPISODE_STATS).is_file():
            _write_episode_stats(self._root / _EPISODE_STATS, new / _EPISODE_STATS, stats, named)
        if (self._root / _STATS).is_file():
            there = json.loads((self._root / _STATS).read_bytes())
            merged = merge_stats(list(stats.values()))
            _write_json(new / _STATS, {**there, **{key: _said(part, named) for key, part in merged.items()}})

    def info(self, there: dict[str, Any]) -> dict[str, Any]:
        """Return ``info.json`` with the features and what it says of the labels."""
        features = {key: value for key, value in there["features"].items() if not _is_ours(key)}
        described = {key: column.describe() for key, column in self.columns().items()}
        action_of = "decoded" if self._is_decoded_action else "robot"
        said = {**labels_summary(self.provenance), ACTION_OF: action_of}
        return {**there, "features": {**features, **described}, "genie": said}

    @property
    def _root(self) -> Path:
        assert isinstance(self.meta.path, Path)
        return self.meta.path

    @property
    def _is_decoded_action(self) -> bool:
        """Whether ``action`` is, or will be, what an alignment decoded."""
        if self.provenance.action_names is None:
            return False
        there = json.loads((self._root / INFO).read_bytes())
        was_ours = there.get("genie", {}).get(ACTION_OF) == "decoded"
        return was_ours or not {"action", "actions"} & self.meta.info.features.keys()

    @property
    def _names(self) -> dict[int, str]:
        """What the store calls each episode, by its number."""
        by_source = {episode.attrs.source_name: episode.name for episode in self.provenance.episodes}
        return {entry.index: by_source[entry.name] for entry in self.meta.entries}

    def _episode_of(self, path: Path) -> int | None:
        """Return the episode that a file of its own belongs to; None where episodes share files."""
        if self.meta.is_shared:
            return None
        return next((entry.index for entry in self.meta.entries if self.meta.data_file(entry) == path), None)


def _write_table(
    path: Path,
    target: Path,
    columns: Mapping[str, Column],
    values: Any,
    alone: int | None,
    entries: Mapping[int, Entry],
) -> Iterator[tuple[int, int]]:
    """Write one file of rows with the columns; yield the episodes of its rows, piece by piece, and their numbers."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile, ParquetWriter

    with ParquetFile(path) as file:
        dropped = [name for name in file.schema_arrow.names if _is_ours(name) or name in columns]
        writer: Any = None
        seen: dict[int, int] = {}
        try:
            for piece in _pieces(file):
                table = pa.table(piece).drop_columns(dropped)
                counts = _episodes_of(table, alone)
                parts: dict[str, list[NDArray[Any]]] = {key: [] for key in columns}
                for episode, count in counts:
                    if episode not in entries:
                        raise DatasetError(f"{path}: has rows of episode {episode}, which the dataset does not list")
                    start = seen.get(episode, 0)
                    for key, value in values(episode).items():
                        parts[key].append(value[start : start + count])
                    seen[episode] = start + count
                    yield episode, count
                for key, column in columns.items():
                    table = table.append_column(key, column_array(np.concatenate(parts[key]), column))
                writer = writer or ParquetWriter(target, table.schema, compression=_compression(file))
                writer.write_table(table, row_group_size=max(1, len(table)))
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            shutil.copy2(path, target)


def _pieces(file: Any) -> Iterator[Any]:
    """Yield the rows of a Parquet file, row group by row group; large ones in pieces."""
    for group in range(file.num_row_groups):
        if file.metadata.row_group(group).total_byte_size <= _AT_ONCE:
            yield file.read_row_group(group, use_threads=False)
        else:
            yield from file.iter_batches(_ROWS, [group], use_threads=False)


def _episodes_of(table: Any, alone: int | None) -> list[tuple[int, int]]:
    """Return the episodes of consecutive rows, and how many rows each has."""
    if alone is not None:
        return [(alone, len(table))]
    numbers = np.asarray(table.column("episode_index").to_numpy(), np.int64).ravel()
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    return [(int(numbers[start]), stop - start) for start, stop in pairwise(bounds) if stop > start]


def _compression(file: Any) -> str:
    first = file.metadata.row_group(0).column(0) if file.num_row_groups and file.metadata.num_columns else None
    named = "snappy" if first is None else str(first.compression).lower()
    return "none" if named == "uncompressed" else named


def _stat_names(root: Path) -> tuple[str, ...] | None:
    """Return the names of the statistics that this dataset keeps; None if it does not show: all."""
    try:
        stats = json.loads((root / _STATS).read_bytes())
        return tuple(next(iter(stats.values())))
    except (OSError, ValueError, StopIteration, AttributeError, TypeError):
        pass
    try:
        with (root / _EPISODE_STATS).open() as file:
            return tuple(next(iter(json.loads(file.readline())["stats"].values())))
    except (OSError, ValueError, StopIteration, KeyError, TypeError):
        return None


def _said(stats: Stats, named: Sequence[str] | None) -> dict[str, Any]:
    return {name: value.tolist() for name, value in stats.items() if named is None or name in named}


def _write_list(
    path: Path,
    target: Path,
    columns: Mapping[str, Column],
    stats: Mapping[int, Mapping[str, Stats]],
    named: Sequence[str] | None,
) -> None:
    """Write one list of episodes of v3.0 with the statistics of the columns."""
    import pyarrow as pa
    from pyarrow.parquet import read_table, write_table

    table = read_table(path, use_threads=False, partitioning=None)
    table = table.drop_columns([name for name in table.column_names if _is_stat_of_ours(name, columns)])
    numbers = table.column("episode_index").to_pylist()
    for key in columns:
        said = [_said(stats[number][key], named) if number in stats else {} for number in numbers]
        for name in dict.fromkeys(name for each in said for name in each):
            table = table.append_column(f"stats/{key}/{name}", pa.array([each.get(name) for each in said]))
    target.parent.mkdir(parents=True, exist_ok=True)
    write_table(table, target)


def _is_stat_of_ours(name: str, columns: Mapping[str, Column]) -> bool:
    parts = name.split("/")
    return parts[0] == "stats" and len(parts) == 3 and (_is_ours(parts[1]) or parts[1] in columns)


def _write_episode_stats(
    path: Path, target: Path, stats: Mapping[int, Mapping[str, Stats]], named: Sequence[str] | None
) -> None:
    """Write the statistics of the episodes of v2.1, a line each."""
    with path.open(encoding="utf-8") as lines, target.open("w", encoding="utf-8") as file:
        for line in filter(str.strip, lines):
            values = json.loads(line)
            own = stats.get(values["episode_index"], {})
            kept = {key: part for key, part in values["stats"].items() if not _is_ours(key)}
            added = {key: _said(part, named) for key, part in own.items()}
            file.write(json.dumps({**values, "stats": {**kept, **added}}, ensure_ascii=False) + "\n")


def _is_ours(feature: str) -> bool:
    return feature == "latent_action" or feature.startswith("latent_action.")


def _link_tree(source: Path, target: Path, without: set[Path]) -> None:
    """Fill `target` with links to the files of `source`; copies where the file system has no links."""
    for folder, names, files in os.walk(source):
        here = Path(folder).relative_to(source)
        for name in [each for each in names if (Path(folder) / each).is_symlink()]:
            (target / here / name).symlink_to(os.readlink(Path(folder) / name))
            names.remove(name)
        for name in names:
            (target / here / name).mkdir(exist_ok=True)
        for name in files:
            if here / name not in without:
                _link(Path(folder) / name, target / here / name)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False), encoding="utf-8")


__all__ = ["LABELS_SUFFIX", "add_labels", "carries_feature", "is_added", "labels_beside"]
