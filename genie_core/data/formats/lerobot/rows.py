"""Rows of one episode in LeRobot's Parquet files: in a file of its own, or in one that several episodes share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.data.formats.lerobot.meta import Entry
from genie_core.data.storage.parquet import ParquetTable
from genie_core.errors import DatasetError


@dataclass(frozen=True)
class DataFile:
    """A Parquet file of one episode or, if `is_shared`, of several episodes, which share this object too."""

    table: ParquetTable
    is_shared: bool

    def rows(self, episode: int) -> range:
        """Return the rows of an episode, empty if there are none. Raises DatasetError if they are not contiguous."""
        return self._rows_by_episode.get(episode, range(0)) if self.is_shared else range(self.table.num_rows)

    @cached_property
    def _rows_by_episode(self) -> dict[int, range]:
        episodes = self.table.array("episode_index")
        if episodes is None or episodes.ndim != 1:
            raise DatasetError(f"{self.table.path}: there is no column `episode_index` to find an episode's rows by")
        bounds = [0, *(np.flatnonzero(np.diff(episodes)) + 1).tolist(), len(episodes)]
        rows: dict[int, range] = {}
        for start, stop in pairwise(bounds):
            if stop > start and rows.setdefault(int(episodes[start]), range(start, stop)).start != start:
                raise DatasetError(f"{self.table.path}: the rows of episode {episodes[start]} are not in one piece")
        return rows


@dataclass(frozen=True)
class EpisodeRows:
    """Rows of one episode.

    Attributes:
        entry: the episode.
        listed: file in which the dataset lists it.
        following: the next file, in which rows missing from `listed` are looked up: early releases of LeRobot's
            converter from v2.1 list the first episode of a file in the previous one. None if there is none.

    """

    entry: Entry
    listed: DataFile
    following: DataFile | None

    @property
    def table(self) -> ParquetTable:
        """File that holds them."""
        return self._file.table

    @cached_property
    def span(self) -> range:
        """Range of the rows. Raises DatasetError if they are not as many as listed, or not in order."""
        path, rows, entry = self.table.path, self._file.rows(self.entry.index), self.entry
        if len(rows) != entry.length:
            raise DatasetError(f"{path}: {entry.name} has {len(rows)} rows, its dataset lists {entry.length} frames")
        numbers = self.table.array("frame_index", rows)
        if numbers is not None and not np.array_equal(numbers.ravel(), np.arange(len(rows))):
            raise DatasetError(
                f"{path}: the rows of {entry.name} are not in order: expected frame_index 0 to {entry.length - 1}"
            )
        return rows

    def array(self, key: str) -> NDArray[Any] | None:
        """Return the numbers of a column, (T,) or (T, D, ...); None if there is no such column."""
        return self.table.array(key, self.span)

    @cached_property
    def _file(self) -> DataFile:
        following, number = self.following, self.entry.index
        if following and not self.listed.rows(number) and following.table.path.exists() and following.rows(number):
            return following
        return self.listed


__all__ = ["DataFile", "EpisodeRows"]
