"""Writes and reads labels as a plain Parquet file: a row per frame, a row group per episode, provenance as metadata.

The file holds no frames. Pandas, Polars and DuckDB read it as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.data.export.provenance import LabelledEpisode, LabelledSet, read_provenance
from genie_core.data.labelled.labels import Labels
from genie_core.data.storage.atomic import failures_named, new_file
from genie_core.data.storage.parquet import ParquetTable
from genie_core.errors import DatasetError

METADATA_KEY = b"genie"
"""Metadata key of the provenance document (`provenance_bytes`)."""

DECODED = "decoded_action"
"""Column of the actions decoded by an alignment."""

FINE, FEATURE = "fine_code", "feature"
"""The columns of the second level's codes and of features."""

_VIEW_FIELDS = ("code", "latent", "confidence", "valid")
"""What is written of each camera's own labels where several were fused."""

_MAGIC = b"PAR1"


@dataclass(frozen=True)
class RobotColumns:
    """Type and width of the robot's columns beside the labels; None for a column that no episode has.

    Attributes:
        action: the column ``action``.
        state: the column ``observation.state``.
        partial: names of columns that only some episodes have; they are null in the others.

    """

    action: tuple[np.dtype[Any], int] | None = None
    state: tuple[np.dtype[Any], int] | None = None
    partial: frozenset[str] = frozenset()


class ParquetLabelWriter:
    """Appends episodes to a Parquet file; made by `write_parquet_labels`."""

    def __init__(self, path: Path, provenance: LabelledSet, document: bytes, robot: RobotColumns) -> None:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        metadata = {METADATA_KEY: document}
        self._schema = pa.schema(_fields(provenance, robot), metadata)
        self._writer = ParquetWriter(path, self._schema, compression="zstd")
        self._count = 0
        self._views = provenance.view_names

    def add(
        self,
        episode: LabelledEpisode,
        labels: Labels,
        action: NDArray[Any] | None = None,
        state: NDArray[Any] | None = None,
    ) -> None:
        """Write one episode as a row group: its labels and, where known, its actions (T, A) and states (T, S)."""
        import pyarrow as pa

        count, fps = len(labels), episode.attrs.fps
        frame_index = np.arange(count)
        columns: dict[str, Any] = {
            "episode_index": np.full(count, self._count),
            "episode": pa.array([episode.name] * count, pa.string()).dictionary_encode(),
            "frame_index": frame_index,
            "timestamp": None if fps is None else frame_index / fps,
            "code": labels.code,
            "latent": labels.latent,
            "confidence": labels.confidence,
            "valid": labels.valid,
            "reason": np.zeros(count, np.uint8) if labels.reason is None else labels.reason,
            DECODED: labels.action,
            FINE: labels.fine_code,
            FEATURE: labels.feature,
            **{
                _view_column(name, field): getattr((labels.views or {})[camera], field)
                for camera, name in self._views.items()
                for field in _VIEW_FIELDS
            },
            "action": action,
            "observation.state": state,
        }
        arrays = [_array(columns[field.name], field.type, count) for field in self._schema]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=max(1, count))
        self._count += 1

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


@contextmanager
def write_parquet_labels(
    path: Path, provenance: LabelledSet, document: bytes, robot: RobotColumns
) -> Iterator[ParquetLabelWriter]:
    """Write `path` whole or not at all; the block must add every episode of `provenance`, in that order.

    `document` is that provenance as the file keeps it (`provenance_bytes`).

    Raises:
        DatasetError: the disk is full or not writable; `path` does not exist then.

    """
    with failures_named(path), new_file(path, replace=False) as temporary:
        writer = ParquetLabelWriter(temporary, provenance, document, robot)
        try:
            yield writer
        except BaseException:
            with suppress(OSError):  # what went wrong first counts
                writer.close()
            raise
        writer.close()


@dataclass(frozen=True)
class ParquetLabels:
    """A file written by `write_parquet_labels`; labels are read on demand."""

    path: Path
    provenance: LabelledSet

    def labels(self, name: str) -> Labels:
        """Read the labels of all frames of an episode, bit for bit as written.

        Raises:
            DatasetError: the file is damaged, or a column of labels is missing.

        """
        columns = (self._column(name, key) for key in ("code", "latent", "confidence", "valid"))
        decoded = None if self.provenance.action_names is None else self._column(name, DECODED)
        excluded = {episode.name: episode.attrs.excluded for episode in self.provenance.episodes}
        reason = None if excluded[name] is None else self._column(name, "reason")
        fine = None if self.provenance.model.fine_codebook is None else self._column(name, FINE)
        feature = None if self.provenance.feature_dim is None else self._column(name, FEATURE)
        views = {
            camera: Labels(0, *(self._column(name, _view_column(short, field)) for field in _VIEW_FIELDS))
            for camera, short in self.provenance.view_names.items()
        }
        return Labels(0, *columns, action=decoded, reason=reason, fine_code=fine, feature=feature, views=views or None)

    def array(self, name: str, key: str) -> NDArray[Any] | None:
        """Read a column of an episode, (T,) or (T, D); None where the column is missing or null for this episode."""
        rows = self._rows[name]
        if key not in self._table.columns or next(self._table.cells(key, rows[:1], 1), [None]) == [None]:
            return None
        return self._table.array(key, rows)

    @cached_property
    def _table(self) -> ParquetTable:
        return ParquetTable(self.path)

    @cached_property
    def _rows(self) -> dict[str, range]:
        """Rows of each episode, by name. Raises DatasetError where rows and provenance disagree."""
        start, rows = 0, {}
        for episode in self.provenance.episodes:
            rows[episode.name] = range(start, start + episode.num_frames)
            start += episode.num_frames
        if start != self._table.num_rows:
            raise DatasetError(
                f"{self.path}: got {self._table.num_rows} rows, expected {start}, the frames that its provenance counts"
            )
        index = self._table.array("episode_index")
        expected = np.repeat(np.arange(len(rows)), [len(span) for span in rows.values()])
        if index is None or not np.array_equal(index, expected):
            raise DatasetError(f"{self.path}: got rows out of order, expected the order of episodes in its provenance")
        return rows

    def _column(self, name: str, key: str) -> NDArray[Any]:
        values = self._table.array(key, self._rows[name])
        if values is None:
            raise DatasetError(f"{self.path}: got no column `{key}`, expected a Parquet file that `genie export` wrote")
        return values


def _view_column(name: str, field: str) -> str:
    return f"views.{name}.{field}"


def is_parquet(path: Path) -> bool:
    """Return whether a file starts with Parquet's magic number; False if it does not exist."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def open_parquet_labels(path: Path) -> ParquetLabels:
    """Open a Parquet file of labels. Raises DatasetError if it is damaged or was not written by Genie."""
    return ParquetLabels(path, read_provenance(read_document(path), str(path)))


def read_document(path: Path) -> bytes:
    """Return the provenance document of a Parquet file. Raises DatasetError if it is damaged or has none."""
    import pyarrow as pa
    from pyarrow.parquet import read_metadata

    try:
        metadata = read_metadata(path).metadata or {}
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path}: not a Parquet file, or damaged: {error}") from error
    if METADATA_KEY not in metadata:
        raise DatasetError(f"{path}: carries no latent actions, expected a Parquet file that `genie export` wrote")
    document: bytes = metadata[METADATA_KEY]
    return document


def _fields(provenance: LabelledSet, robot: RobotColumns) -> list[Any]:
    import pyarrow as pa

    latent_dim, action_names = provenance.model.codebook.shape[1], provenance.action_names
    fields = [
        pa.field("episode_index", pa.int64(), nullable=False),
        pa.field("episode", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("frame_index", pa.int64(), nullable=False),
        pa.field("timestamp", pa.float64()),
        pa.field("code", pa.uint16(), nullable=False),
        pa.field("latent", pa.list_(pa.field("item", pa.float32(), nullable=False), latent_dim), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
        pa.field("valid", pa.bool_(), nullable=False),
    ]
    if provenance.leaves_out:
        fields.append(pa.field("reason", pa.uint8(), nullable=False))
    if action_names is not None:
        numbers = pa.list_(pa.field("item", pa.float32(), nullable=False), len(action_names))
        fields.append(pa.field(DECODED, numbers, nullable=False))
    if provenance.model.fine_codebook is not None:
        fields.append(pa.field(FINE, pa.uint16(), nullable=False))
    if provenance.feature_dim is not None:
        wide = pa.list_(pa.field("item", pa.float32(), nullable=False), provenance.feature_dim)
        fields.append(pa.field(FEATURE, wide, nullable=False))
    own = {field.name: field for field in fields}
    for name in provenance.view_names.values():
        fields += [own[key].with_name(_view_column(name, key)) for key in _VIEW_FIELDS]
    for key, column in (("action", robot.action), ("observation.state", robot.state)):
        if column is not None:
            dtype, width = column
            # PyArrow 21 and older cannot read nulls among lists of a fixed size.
            size = -1 if key in robot.partial else width
            fields.append(pa.field(key, pa.list_(pa.from_numpy_dtype(dtype), size)))
    return fields


def _array(values: Any, kind: Any, count: int) -> Any:
    """Return the arrow array of `count` values; all null where `values` is None."""
    import pyarrow as pa

    if values is None:
        return pa.nulls(count, kind)
    if isinstance(values, np.ndarray) and values.ndim == 2:
        # Not `to_pandas_dtype`, which needs Pandas in older versions of PyArrow.
        dtype = pa.array([], kind.value_type).to_numpy(zero_copy_only=False).dtype
        flat = pa.array(np.ascontiguousarray(values, dtype).ravel())
        if pa.types.is_fixed_size_list(kind):
            return pa.FixedSizeListArray.from_arrays(flat, type=kind)
        return pa.ListArray.from_arrays(np.arange(count + 1, dtype=np.int32) * values.shape[1], flat, type=kind)
    return pa.array(values, kind) if isinstance(values, np.ndarray) else values


__all__ = [
    "METADATA_KEY",
    "ParquetLabels",
    "RobotColumns",
    "is_parquet",
    "open_parquet_labels",
    "read_document",
    "write_parquet_labels",
]
