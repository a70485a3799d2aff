"""Reads Parquet columns as arrays, or cell by cell, a range of rows at a time. Knows nothing about robots.

PyArrow takes a quarter of a second to import, so it is imported when the first file is opened: most data need none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genie_core.data.storage.git_lfs import lfs_pointer
from genie_core.data.storage.location import SourcePath, local_file
from genie_core.errors import DatasetError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import FileMetaData, ParquetFile

_Stamp = tuple[int, int, int]
"""Identity, size and time of change of a file, equal as long as it is unchanged."""


@dataclass(frozen=True)
class _RowGroups:
    columns: frozenset[str]
    group_ends: NDArray[np.int64]


@dataclass(frozen=True)
class ParquetTable:
    """One Parquet file. Nothing is kept open between calls; every member raises DatasetError naming the file.

    The footer of a file with several row groups, which describes all of them, is cached: reading it again for every row
    group would take quadratic time.
    """

    path: SourcePath

    @property
    def num_rows(self) -> int:
        """Number of rows."""
        ends = self._row_groups.group_ends
        return int(ends[-1]) if len(ends) else 0

    @property
    def columns(self) -> frozenset[str]:
        """Names of the columns; a part after a dot belongs to the name."""
        return self._row_groups.columns

    @cached_property
    def _footers(self) -> dict[_Stamp, FileMetaData]:
        """Cached footer; not used if the file has changed since."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_footers"}  # large, and soon read again

    @cached_property
    def _row_groups(self) -> _RowGroups:
        with self._open() as file:
            counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            return _RowGroups(frozenset(file.schema_arrow.names), np.cumsum(counts, dtype=np.int64))

    def array(self, key: str, rows: range | None = None) -> NDArray[Any] | None:
        """Return the numbers of one column; None if there is no such column.

        Args:
            key: name of the column.
            rows: consecutive rows; None: all.

        Returns:
            (T,) for a column of numbers, (T, D, ...) for one of lists of equal length. A missing floating-point number
            is NaN, as Pandas writes it.

        Raises:
            DatasetError: the column holds anything but numbers, lists of different lengths, or gaps.

        """
        rows = range(self.num_rows) if rows is None else rows
        if key not in self.columns:
            return None
        groups, first = self._groups_of(rows)
        with self._open() as file:
            if groups:
                table = file.read_row_groups(groups, columns=[key], use_threads=False)
            else:  # PyArrow before 19 cannot read these
                table = file.schema_arrow.empty_table()
            column = table.column(key).slice(rows.start - first, len(rows)).combine_chunks()
            try:
                return _numbers(column)
            except DatasetError as error:
                raise DatasetError(f"{self.path}: column `{key}` holds {error}") from error

    def cells(self, key: str, rows: range, size: int) -> Iterator[list[Any]]:
        """Yield the cells of consecutive rows as Python objects, `size` at a time, at constant memory."""
        groups, first = self._groups_of(rows)
        skip, left = rows.start - first, len(rows)
        if not left:
            return
        cells: list[Any] = []
        with self._open() as file:
            for batch in file.iter_batches(size, groups, columns=[key], use_threads=False):
                taken = batch.column(key)[skip : skip + left]
                skip = max(0, skip - len(batch))
                left -= len(taken)
                cells += taken.to_pylist()
                while len(cells) >= size:
                    yield cells[:size]
                    del cells[:size]
                if not left:
                    break
        if cells:
            yield cells

    def _groups_of(self, rows: range) -> tuple[list[int], int]:
        """Return the row groups that hold `rows`, and the number of the first row in them."""
        if not rows:
            return [], rows.start
        ends = self._row_groups.group_ends
        low, high = np.searchsorted(ends, [rows.start, rows.stop - 1], side="right").tolist()
        return list(range(low, high + 1)), int(ends[low - 1]) if low else 0

    @contextmanager
    def _open(self) -> Iterator[ParquetFile]:
        """Open the file; PyArrow's errors, also in the block, become DatasetError."""
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile

        try:
            with local_file(self.path).open("rb") as opened:
                stamp = _stamp(opened)
                footer = self._footers.get(stamp)
                with ParquetFile(opened, metadata=footer, pre_buffer=False, buffer_size=2**20) as file:
                    if footer is None:
                        self._footers.clear()
                        if file.num_row_groups > 1:
                            self._footers[stamp] = file.metadata
                    yield file
        except (pa.ArrowException, OSError, UnicodeError) as error:
            reason = lfs_pointer(local_file(self.path)) or getattr(error, "strerror", None)
            reason = reason or f"not a Parquet file, or damaged: {error}"
            raise DatasetError(f"{self.path}: {reason}") from error


def _stamp(file: IO[bytes]) -> _Stamp:
    facts = os.fstat(file.fileno())
    return facts.st_ino, facts.st_size, facts.st_mtime_ns


def _numbers(column: pa.Array) -> NDArray[Any]:
    """Unfold lists of equal length into axes. Raises DatasetError if the column holds anything but numbers."""
    from pyarrow import types

    values, shape = getattr(column, "storage", column), [len(column)]
    while types.is_list(values.type) or types.is_large_list(values.type) or types.is_fixed_size_list(values.type):
        if values.null_count:
            raise DatasetError(f"{values.null_count} gaps, expected a list in every row")
        inner = values.flatten()
        lengths = np.unique(values.value_lengths().to_numpy(zero_copy_only=False))
        if len(lengths) > 1:
            raise DatasetError(f"lists of {lengths[0]} to {lengths[-1]} numbers, expected as many in every row")
        shape.append(int(lengths[0]) if len(lengths) else getattr(values.type, "list_size", 0))
        values = inner
    is_float = types.is_floating(values.type)
    if not (is_float or types.is_integer(values.type) or types.is_boolean(values.type)):
        raise DatasetError(f"{values.type}, expected numbers")
    if values.null_count and not is_float:
        raise DatasetError(f"{values.null_count} gaps, expected a number in every row")
    numbers: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return numbers.reshape(shape)


__all__ = ["ParquetTable"]
