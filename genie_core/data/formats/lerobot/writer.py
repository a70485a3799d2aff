"""Writes LeRobot v3.0 datasets episode by episode: shared Parquet files and videos, statistics, tasks, provenance.

The layout is the one that ``LeRobotDataset`` of lerobot 0.4 writes and opens. Does not know where labels come from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from genie_core.data.formats.lerobot.writer_copy import CopiedVideos
from genie_core.data.formats.lerobot.writer_stats import PictureStats, Stats, merge_stats, number_stats
from genie_core.data.formats.lerobot.writer_video import (
    FILES_PER_CHUNK,
    SharedVideos,
    VideoPlace,
    closing,
    numbered,
)
from genie_core.data.formats.video.copying import VideoPart
from genie_core.data.frames.resize import Frames
from genie_core.data.storage.atomic import failures_named, new_folder
from genie_core.errors import DatasetError

PROVENANCE = "meta/genie.json"
"""Path of the document of `export_provenance` in the dataset's folder. LeRobot itself never reads it."""

ACTION_OF = "action"
"""Key under ``genie`` in ``info.json`` that says whether ``action`` is the robot's own or decoded."""

_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_MB = 2**20
_EPISODES_PER_FILE = 10_000
"""Rows of the episode list per file: some 40 MB with all their statistics."""


@dataclass(frozen=True)
class FileLimits:
    """File sizes in MiB beyond which a new file starts; LeRobot's defaults. Recorded in ``info.json``."""

    data_mb: float = 100
    video_mb: float = 200


@dataclass(frozen=True)
class Column:
    """A numeric feature.

    Attributes:
        dtype: in LeRobot's naming: ``float32``, ``int64``, ``bool``.
        width: numbers per frame, >= 1.
        names: meaning of each number, `width` of them; None if unknown.

    """

    dtype: str
    width: int
    names: tuple[str, ...] | None = None

    def describe(self) -> dict[str, Any]:
        """Return the feature's entry in ``info.json``."""
        return {"dtype": self.dtype, "shape": [self.width], "names": None if self.names is None else [*self.names]}


_COUNTED = {
    "timestamp": Column("float32", 1),
    "frame_index": Column("int64", 1),
    "episode_index": Column("int64", 1),
    "index": Column("int64", 1),
    "task_index": Column("int64", 1),
}
"""Columns that LeRobot itself adds to every frame."""


@dataclass(frozen=True)
class Camera:
    """A feature of pictures.

    Attributes:
        size: height and width of every frame.
        copied: any of the episodes' parts if their videos are copied; None: frames are encoded.

    """

    size: tuple[int, int]
    copied: VideoPart | None = None


@dataclass(frozen=True)
class Pictures:
    """One episode seen by one camera.

    Attributes:
        chunks: the frames, in (n, H, W, 3) uint8 pieces.
        part: where they are compressed, if videos are copied.

    """

    chunks: Iterator[Frames]
    part: VideoPart | None = None


class LeRobotWriter:
    """Appends episodes to a dataset; created by `write_lerobot`."""

    def __init__(
        self,
        folder: Path,
        videos: Mapping[str, SharedVideos | CopiedVideos],
        columns: Mapping[str, Column],
        fps: float,
        file_bytes: float,
    ) -> None:
        self._folder, self._videos = folder, videos
        self._columns, self._fps, self._file_bytes = {**columns, **_COUNTED}, fps, file_bytes
        self._rows: list[dict[str, Any]] = []
        self._stats: list[dict[str, Stats]] = []
        self._tasks: dict[str, int] = {}
        self._frames = 0
        self._number = -1
        self._writer: Any = None
        self._sink: Any = None

    def add(self, values: Mapping[str, NDArray[Any]], pictures: Mapping[str, Pictures], task: str) -> None:
        """Write one episode of at least one frame.

        Args:
            values: by name, (T,) or (T, width), for every column that the writer was created with.
            pictures: by every camera that the writer was created with, T frames each.
            task: instruction to the robot, in words.

        Raises:
            CopyDiffersError: what was copied before is not what its sources show.

        """
        episode = len(self._rows)
        count = len(next(iter(values.values())))
        numbers = np.arange(count)
        task_index = self._tasks.setdefault(task, len(self._tasks))
        values = {
            **values,
            "timestamp": numbers / self._fps,
            "frame_index": numbers,
            "episode_index": np.full(count, episode),
            "index": numbers + self._frames,
            "task_index": np.full(count, task_index),
        }
        values = {key: np.asarray(values[key], column.dtype) for key, column in self._columns.items()}
        places, stats = {}, {}
        for camera in self._videos:
            seen = PictureStats(count)
            places[camera] = self._place(camera, _watched(pictures[camera].chunks, seen), count, pictures[camera].part)
            stats[camera] = seen.stats()
        stats |= {key: number_stats(value) for key, value in values.items()}
        data_number = self._write_rows(values, count)
        self._rows.append(self._row(task, count, data_number, places, stats))
        self._stats.append(stats)
        self._frames += count

    def _place(self, camera: str, chunks: Iterator[Frames], count: int, part: VideoPart | None) -> VideoPlace:
        videos = self._videos[camera]
        if isinstance(videos, SharedVideos):
            return videos.add(chunks, count)
        assert part is not None  # `write_lerobot` was told that all are copied
        return videos.add(chunks, part)

    def _row(
        self, task: str, count: int, data_number: int, places: Mapping[str, VideoPlace], stats: Mapping[str, Stats]
    ) -> Any:
        """Return the next episode's row of ``meta/episodes``."""
        videos: dict[str, Any] = {}
        for camera, place in places.items():
            video = f"videos/{camera}"
            videos |= _file_index(video, place.number)
            videos |= {f"{video}/from_timestamp": place.from_s, f"{video}/to_timestamp": place.to_s}
        return {
            "episode_index": len(self._rows),
            "tasks": [task],
            "length": count,
            **_file_index("data", data_number),
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + count,
            **videos,
            **{f"stats/{key}/{name}": stat.tolist() for key, part in stats.items() for name, stat in part.items()},
            **_file_index("meta/episodes", len(self._rows) // _EPISODES_PER_FILE),
        }

    def finish(self, robot_type: str | None, limits: FileLimits, document: bytes, summary: Mapping[str, Any]) -> None:
        """Write everything in ``meta``; `summary` goes into ``info.json`` under ``genie``."""
        import pyarrow as pa
        from pyarrow.parquet import write_table

        for videos in self._videos.values():
            videos.close()
        self.close()
        for first in range(0, len(self._rows), _EPISODES_PER_FILE):
            episodes = self._folder / numbered(_EPISODES, first // _EPISODES_PER_FILE)
            episodes.parent.mkdir(parents=True, exist_ok=True)
            write_table(pa.Table.from_pylist(self._rows[first : first + _EPISODES_PER_FILE]), episodes)
        write_table(_tasks_table(self._tasks), self._folder / "meta/tasks.parquet")
        merged = merge_stats(self._stats)
        stats = {key: {name: value.tolist() for name, value in part.items()} for key, part in merged.items()}
        info = self._info(robot_type, limits, summary)
        for name, content in (("info", info), ("stats", stats)):
            (self._folder / f"meta/{name}.json").write_text(json.dumps(content, indent=4, ensure_ascii=False))
        (self._folder / PROVENANCE).write_bytes(document)

    def close(self) -> None:
        """Finish the open tables."""
        if self._writer is not None:
            self._writer.close()
            self._sink.close()
            self._writer = None

    def _write_rows(self, values: Mapping[str, NDArray[Any]], count: int) -> int:
        """Write a row group and return the number of the file that it is in."""
        import pyarrow as pa

        arrays = [column_array(values[key], column) for key, column in self._columns.items()]
        table = pa.Table.from_arrays(arrays, names=list(self._columns))
        if self._writer is None or self._sink.tell() + table.nbytes >= self._file_bytes:
            self._next_file(table.schema)
        self._writer.write_table(table, row_group_size=count)
        return self._number

    def _next_file(self, schema: Any) -> None:
        from pyarrow.parquet import ParquetWriter

        if self._writer is not None:
            self._writer.close()
            self._sink.close()
        self._number += 1
        path = self._folder / numbered(_DATA, self._number)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._sink = path.open("wb")
        self._writer = ParquetWriter(self._sink, schema, compression="snappy")

    def _info(self, robot_type: str | None, limits: FileLimits, summary: Mapping[str, Any]) -> dict[str, Any]:
        pictures = {
            camera: {
                "dtype": "video",
                "shape": [*videos.size, 3],
                "names": ["height", "width", "channels"],
                "info": videos.describe(),
            }
            for camera, videos in self._videos.items()
        }
        return {
            "codebase_version": "v3.0",
            "robot_type": robot_type,
            "total_episodes": len(self._rows),
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": limits.data_mb,
            "video_files_size_in_mb": limits.video_mb,
            "fps": int(self._fps) if float(self._fps).is_integer() else self._fps,
            "splits": {"train": f"0:{len(self._rows)}"},
            "data_path": _DATA,
            "video_path": _VIDEO,
            "features": {**pictures, **{key: column.describe() for key, column in self._columns.items()}},
            "genie": dict(summary),
        }


@contextmanager
def write_lerobot(
    folder: Path,
    *,
    cameras: Mapping[str, Camera],
    fps: float,
    columns: Mapping[str, Column],
    document: bytes,
    summary: Mapping[str, Any],
    robot_type: str | None,
    limits: FileLimits,
) -> Iterator[LeRobotWriter]:
    """Write the dataset `folder` whole or not at all; the block adds its episodes, at least one.

    Args:
        folder: must not exist.
        cameras: by the feature name of their pictures, ``observation.images.top``; at least one.
        fps: frames a second.
        columns: numeric features beside those that LeRobot adds to every frame.
        document: contents of ``meta/genie.json``.
        summary: for ``info.json``.
        robot_type: LeRobot's name of the robot; None: unknown.
        limits: sizes beyond which a new file starts.

    Raises:
        DatasetError: the disk is full or cannot be written; `folder` does not exist then.
        CopyDiffersError: what was copied is not what its sources show; nor does it then.

    """
    try:
        with failures_named(folder), new_folder(folder) as temporary, ExitStack() as stack:
            videos = {
                name: stack.enter_context(closing(_videos(temporary, name, camera, fps, int(limits.video_mb * _MB))))
                for name, camera in cameras.items()
            }
            writer = LeRobotWriter(temporary, videos, columns, fps, limits.data_mb * _MB)
            try:
                yield writer
                writer.finish(robot_type, limits, document, summary)
            except BaseException:
                with suppress(OSError):  # the first error is the one to report
                    writer.close()
                raise
    except av.error.FFmpegError as error:
        raise DatasetError(f"{folder}: cannot be written: {error.strerror or error}") from error


def _videos(folder: Path, name: str, camera: Camera, fps: float, file_bytes: int) -> SharedVideos | CopiedVideos:
    path = _VIDEO.replace("{video_key}", name.replace("{", "{{").replace("}", "}}"))  # it is filled in by `numbered`
    if camera.copied is None:
        return SharedVideos(folder, path, camera.size, fps, file_bytes)
    return CopiedVideos(folder, path, fps, file_bytes, camera.copied)


def camera_key(camera: str) -> str:
    """Return LeRobot's name for a camera: LeRobot's own unchanged, any other under ``observation.images``."""
    if camera.startswith("observation.images."):
        return camera
    return "observation.images." + camera.replace("/", "_")


def _watched(chunks: Iterator[Frames], pictures: PictureStats) -> Iterator[Frames]:
    for frames_THWC in chunks:
        pictures.add(frames_THWC)
        yield frames_THWC


def _file_index(kind: str, number: int) -> dict[str, int]:
    """Return the columns that say which file of a kind holds something."""
    chunk, index = divmod(number, FILES_PER_CHUNK)
    return {f"{kind}/chunk_index": chunk, f"{kind}/file_index": index}


def column_array(values: NDArray[Any], column: Column) -> Any:
    """Convert numbers to LeRobot's storage: single numbers as they are, several as a list of fixed length."""
    import pyarrow as pa

    kind = {"float32": pa.float32(), "int64": pa.int64(), "bool": pa.bool_()}[column.dtype]
    flat = pa.array(np.ascontiguousarray(values, column.dtype).ravel(), kind)
    return flat if column.width == 1 else pa.FixedSizeListArray.from_arrays(flat, column.width)


def _tasks_table(tasks: Mapping[str, int]) -> Any:
    """Return a Pandas frame of ``task_index`` indexed by the task's words, which is how LeRobot looks them up."""
    import pyarrow as pa

    index = "__index_level_0__"
    described: list[dict[str, str | None]] = [
        {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"},
        {"name": None, "field_name": index, "pandas_type": "unicode", "numpy_type": "object"},
    ]
    unnamed = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object"}
    pandas = {
        "index_columns": [index],
        "column_indexes": [{**unnamed, "metadata": {"encoding": "UTF-8"}}],
        "columns": [{**column, "metadata": None} for column in described],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    table = pa.table({"task_index": pa.array(tasks.values(), pa.int64()), index: pa.array(tasks.keys(), pa.string())})
    return table.replace_schema_metadata({b"pandas": json.dumps(pandas).encode()})


__all__ = [
    "ACTION_OF",
    "PROVENANCE",
    "Camera",
    "Column",
    "FileLimits",
    "LeRobotWriter",
    "Pictures",
    "camera_key",
    "column_array",
    "write_lerobot",
]
