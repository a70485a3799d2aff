"""Packets of a video file, which are its compressed frames: their times and key frames, and whether the file is whole.

Nothing is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from genie_core.data.storage.location import SourcePath, local_file
from genie_core.errors import DatasetError


@dataclass(frozen=True)
class Packets:
    """Compressed frames in the order of the file, which is that of decoding.

    Attributes:
        timestamp_N: (N,) int64, when each is shown, in the stream's units.
        is_key_N: (N,) bool, whether decoding can begin there.

    """

    timestamp_N: NDArray[np.int64]
    is_key_N: NDArray[np.bool_]


@dataclass(frozen=True)
class PacketScan:
    """All packets of a file, in its order.

    Attributes:
        timestamps: when each is shown, in the stream's units; None where the file does not say.
        are_key: whether decoding can begin there.
        is_regular: whether each will decode to exactly one frame.

    """

    timestamps: list[int | None]
    are_key: list[bool]
    is_regular: bool


def scan_packets(path: SourcePath, container: InputContainer, stream: VideoStream, where: str) -> PacketScan:
    """Read all packets of an open file; `where` names it. Raises DatasetError if it ends before its header says."""
    timestamps: list[int | None] = []
    are_key: list[bool] = []
    last, held_s = 0.0, 0.0
    is_regular = True
    for packet in container.demux(stream):
        if not packet.size:
            continue
        if packet.is_corrupt:
            raise DatasetError(f"{where}: the file is truncated or damaged in frame {len(timestamps)}")
        is_regular &= not packet.is_discard and (packet.is_keyframe or bool(timestamps))
        timestamps.append(packet.pts)
        are_key.append(packet.is_keyframe)
        time = packet.pts if packet.pts is not None else packet.dts
        if time is not None and stream.time_base is not None and float(time * stream.time_base) >= last:
            last, held_s = float(time * stream.time_base), float((packet.duration or 0) * stream.time_base)
    _check_length(where, _promised_seconds(container, stream), last, held_s, len(timestamps))
    if container.format.name == "gif" and not _ends_as_gif(local_file(path)):
        raise DatasetError(f"{path}: the file is truncated: the mark that ends a GIF is missing")
    return PacketScan(timestamps, are_key, is_regular)


def _check_length(where: str, promised_s: float | None, last_s: float, held_s: float, num_frames: int) -> None:
    """Raise DatasetError if the frames end before the header says; the last may be `held_s` seconds long."""
    if not num_frames and promised_s:
        raise DatasetError(
            f"{where}: the file is truncated or damaged: its header promises {promised_s:.2f} s of video, "
            "there is no frame"
        )
    if promised_s is None or num_frames < 2:
        return
    interval_s = max(held_s, last_s / (num_frames - 1))
    missing_s = promised_s - last_s - interval_s
    if missing_s > max(promised_s / 10, 3 * interval_s):
        raise DatasetError(
            f"{where}: the file is truncated or damaged: its header promises {promised_s:.2f} s of video, "
            f"its frames end after {last_s + interval_s:.2f} s ({num_frames} frames)"
        )


def _promised_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the duration in the header; None if it has none, or includes other streams."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def _ends_as_gif(path: Path) -> bool:
    """Return whether a GIF ends with its trailer; zeros after it are harmless."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 1024))
        return file.read().rstrip(b"\0").endswith(b";")


__all__ = ["PacketScan", "Packets", "scan_packets"]
