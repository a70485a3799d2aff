"""Small LeRobot datasets for tests, written with PyArrow and PyAV in the layouts that LeRobot's own writers leave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from genie_core.data import encode_image
from tests.factories.data import make_frames, make_video

TOP = "observation.images.top"
LENGTHS = (12, 5, 9)
STATE, ACTION = 3, 2


def state_of(episode: int, length: int) -> NDArray[np.float32]:
    """What `observation.state` of an episode holds, (length, STATE)."""
    return np.random.default_rng(100 + episode).normal(size=(length, STATE)).astype(np.float32)


def action_of(episode: int, length: int) -> NDArray[np.float32]:
    """What `action` of an episode holds, (length, ACTION)."""
    return np.random.default_rng(200 + episode).normal(size=(length, ACTION)).astype(np.float32)


def make_lerobot_v21(
    path: Path,
    lengths: Sequence[int] = LENGTHS,
    fps: float = 10,
    size: tuple[int, int] = (48, 64),
    cameras: Sequence[str] = (TOP,),
    dtype: str = "video",
    version: str = "v2.1",
    **info: Any,
) -> Path:
    """Write one video a camera and one Parquet file for each episode; `info` is merged into meta/info.json."""
    (path / "data/chunk-000").mkdir(parents=True)
    (path / "meta").mkdir()
    lines = []
    for episode, length in enumerate(lengths):
        table = _table(episode, length, fps, sum(lengths[:episode]), cameras if dtype == "image" else (), size)
        pq.write_table(table, path / f"data/chunk-000/episode_{episode:06d}.parquet")
        lines.append(json.dumps({"episode_index": episode, "tasks": ["Lift."], "length": length}))
        for number, camera in enumerate(cameras if dtype == "video" else ()):
            folder = path / f"videos/chunk-000/{camera}"
            folder.mkdir(parents=True, exist_ok=True)
            if length:
                seed = 10 * number + episode
                make_video(folder / f"episode_{episode:06d}.mp4", length, size, fps, options={"g": "4"}, seed=seed)
    (path / "meta/episodes.jsonl").write_text("\n".join(lines) + "\n")
    (path / "meta/tasks.jsonl").write_text(json.dumps({"task_index": 0, "task": "Lift."}) + "\n")
    paths = {
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }
    _write_info(path, version, lengths, fps, size, cameras, dtype, {**paths, **info})
    return path


def make_lerobot_v30(
    path: Path,
    lengths: Sequence[int] = LENGTHS,
    fps: float = 10,
    size: tuple[int, int] = (48, 64),
    cameras: Sequence[str] = (TOP,),
    dtype: str = "video",
    per_video: int = 2,
    clips: Path | None = None,
    **info: Any,
) -> Path:
    """Write all rows to one Parquet file and `per_video` episodes to a video, encoded apart and joined.

    The encoded episodes stay in the folder `clips`, ``0.mp4`` and so on, of the last camera; None: they do not.
    """
    rows: dict[str, list[Any]] = {"episode_index": list(range(len(lengths))), "length": list(lengths)}
    rows |= {"tasks": [["Lift."] for _ in lengths], "stats/action/mean": [[0.0] * ACTION for _ in lengths]}
    for key in ("data/chunk_index", "data/file_index"):
        rows[key] = [0 for _ in lengths]
    starts = [sum(lengths[:episode]) for episode in range(len(lengths))]
    rows["dataset_from_index"] = starts
    rows["dataset_to_index"] = [start + length for start, length in zip(starts, lengths, strict=True)]
    images = cameras if dtype == "image" else ()
    (path / "data/chunk-000").mkdir(parents=True)
    tables = [_table(e, n, fps, s, images, size) for e, (n, s) in enumerate(zip(lengths, starts, strict=True))]
    with pq.ParquetWriter(path / "data/chunk-000/file-000.parquet", tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    for number, camera in enumerate(cameras if dtype == "video" else ()):
        rows |= _write_shared_videos(path, camera, number, lengths, fps, size, per_video, clips)
    (path / "meta/episodes/chunk-000").mkdir(parents=True)
    pq.write_table(pa.table(rows), path / "meta/episodes/chunk-000/file-000.parquet")
    pq.write_table(pa.table({"task_index": [0], "task": ["Lift."]}), path / "meta/tasks.parquet")
    paths = {
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
    _write_info(path, "v3.0", lengths, fps, size, cameras, dtype, {**paths, **info})
    return path


def edit_info(path: Path, **changes: Any) -> None:
    """Change fields of meta/info.json."""
    info = path / "meta/info.json"
    info.write_text(json.dumps({**json.loads(info.read_text()), **changes}))


def edit_table(path: Path, **columns: Any) -> None:
    """Replace or add columns of a Parquet file; None drops one. Keys with dots and slashes go in by `**{...}`."""
    table = pq.read_table(path)
    for key, values in columns.items():
        if key in table.column_names:
            table = table.drop_columns(key)
        if values is not None:
            table = table.append_column(key, pa.array(values))
    pq.write_table(table, path)


def cut_table(path: Path, start: int, stop: int) -> None:
    """Keep rows start .. stop - 1 of a Parquet file."""
    pq.write_table(pq.read_table(path).slice(start, stop - start), path)


def _table(episode: int, length: int, fps: float, start: int, images: Sequence[str], size: tuple[int, int]) -> pa.Table:
    columns = {
        "observation.state": _lists(state_of(episode, length)),
        "action": _lists(action_of(episode, length)),
        "observation.grid": pa.array(
            np.arange(length * 4.0).reshape(length, 2, 2).tolist(), pa.list_(pa.list_(pa.float64()))
        ),
        "next.done": pa.array([t == length - 1 for t in range(length)], pa.bool_()),
        "timestamp": pa.array(np.arange(length) / fps, pa.float32()),
        "frame_index": pa.array(range(length), pa.int64()),
        "episode_index": pa.array([episode] * length, pa.int64()),
        "index": pa.array(range(start, start + length), pa.int64()),
        "task_index": pa.array([0] * length, pa.int64()),
    }
    for number, camera in enumerate(images):
        frames = make_frames(length, *size, seed=10 * number + episode)
        cells = [{"bytes": encode_image(frame), "path": f"frame-{t:06d}.png"} for t, frame in enumerate(frames)]
        columns[camera] = pa.array(cells, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    return pa.table(columns)


def _lists(values: NDArray[np.float32]) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _write_shared_videos(
    path: Path,
    camera: str,
    number: int,
    lengths: Sequence[int],
    fps: float,
    size: tuple[int, int],
    per_video: int,
    kept: Path | None,
) -> dict[str, list[Any]]:
    """The columns of meta/episodes that say where in which video each episode is."""
    folder = path / f"videos/{camera}/chunk-000"
    folder.mkdir(parents=True)
    if kept is not None:
        kept.mkdir(exist_ok=True)
    rows: dict[str, list[Any]] = {part: [] for part in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")}
    # One or two frames have fewer B-frames, and are decoded earlier than others of their time: joined, they would move
    # the next clip.
    options = {"g": "4"} | ({"bf": "0"} if {1, 2} & set(lengths) else {})
    for first in range(0, len(lengths), per_video):
        clips, time_s = [], 0.0
        for episode in range(first, min(first + per_video, len(lengths))):
            length = lengths[episode]
            if length:
                clip = (kept or folder) / f"{episode}.mp4"
                clips.append(make_video(clip, length, size, fps, options=options, seed=10 * number + episode))
            values = (0, first // per_video, time_s, time_s + length / fps)
            for part, value in zip(rows, values, strict=True):
                rows[part].append(value)
            time_s += length / fps
        _join(clips, folder / f"file-{first // per_video:03d}.mp4")
        for clip in clips if kept is None else ():
            clip.unlink()
    return {f"videos/{camera}/{part}": values for part, values in rows.items()}


def _join(clips: Sequence[Path], path: Path) -> None:
    """Join videos without encoding them again."""
    with av.open(str(path), "w") as target:
        stream, offset = None, 0
        for clip in clips:
            with av.open(str(clip)) as source:
                video = source.streams.video[0]
                stream = stream or target.add_stream_from_template(video)
                for packet in source.demux(video):
                    if packet.size:
                        packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                        packet.stream = stream
                        target.mux(packet)
                offset += video.duration


def _write_info(
    path: Path,
    version: str,
    lengths: Sequence[int],
    fps: float,
    size: tuple[int, int],
    cameras: Sequence[str],
    dtype: str,
    info: dict[str, Any],
) -> None:
    names = ["height", "width", "channels"]
    features: dict[str, Any] = {camera: {"dtype": dtype, "shape": [*size, 3], "names": names} for camera in cameras}
    features["observation.state"] = {"dtype": "float32", "shape": [STATE], "names": ["x", "y", "z"]}
    features["action"] = {"dtype": "float32", "shape": [ACTION], "names": None}
    for key in ("frame_index", "episode_index", "index", "task_index"):
        features[key] = {"dtype": "int64", "shape": [1], "names": None}
    facts = {
        "codebase_version": version,
        "robot_type": "so100",
        "total_episodes": len(lengths),
        "total_frames": sum(lengths),
        "chunks_size": 1000,
        "fps": fps,
        "splits": {"train": f"0:{len(lengths)}"},
        "features": features,
    }
    (path / "meta/info.json").write_text(json.dumps({**facts, **info}, indent=4))
