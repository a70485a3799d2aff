"""Reads robot video from video files (MP4, MKV, WebM, AVI, MOV, GIF; whatever codec FFmpeg decodes) frame by frame.

Frames are those of the decoder in order of presentation, one each, however unevenly they are spaced in time. Rotation
in the file's metadata is not applied and transparency is dropped; of several streams the one FFmpeg finds best is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from genie_core.data.frames.resize import Frames
from genie_core.data.frames.rgb import COLOURS_AT_THE_LEFT, RgbConverter
from genie_core.data.frames.timing import is_rate
from genie_core.data.storage.location import SourcePath, local_file
from genie_core.errors import DatasetError

VIDEO_CAMERA = "video"
"""Name of the one camera of a video file."""

_TRUE_TIMESTAMPS = frozenset({"gif", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2"})
"""Containers that store when each frame is shown. In others (AVI) FFmpeg guesses, and frames are found by counting."""


@dataclass(frozen=True)
class _Header:
    frame_size: tuple[int, int]
    fps: float | None
    codec: str


@dataclass(frozen=True)
class _Index:
    """Which frames there are: their number and, where every frame has one of its own, their timestamps in order.

    `tick_s` is what a timestamp counts, seconds.
    """

    num_frames: int
    timestamps: NDArray[np.int64] | None
    tick_s: np.float64


@dataclass(frozen=True)
class VideoReader:
    """Reads one video file; the `FrameReader` of video."""

    path: SourcePath

    @property
    def num_frames(self) -> int:
        """Exact number of frames that decode. The first use reads the file through; an odd one is decoded to count."""
        return self._index.num_frames

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self._header.frame_size

    @property
    def fps(self) -> float | None:
        """Average frames a second, as the file says or its timestamps tell."""
        return self._header.fps

    @property
    def times_s(self) -> NDArray[np.float64] | None:
        """When each frame is shown, (T,) seconds in order; None where timestamps do not tell the frames apart."""
        timestamps = self._index.timestamps
        return None if timestamps is None else timestamps * self._index.tick_s

    @property
    def is_uneven(self) -> bool:
        """Whether frames are known to follow each other at intervals that differ by more than half."""
        return self.times_s is not None and are_uneven(self.times_s)

    @cached_property
    def _header(self) -> _Header:
        with self._open() as (_, stream):
            fps = None if stream.average_rate is None else float(stream.average_rate)
            fps = fps if fps is not None and is_rate(fps) else None
            return _Header((stream.height, stream.width), fps, stream.codec_context.name)

    @cached_property
    def _index(self) -> _Index:
        with self._open() as (container, stream):
            timestamps, is_regular = self._read_packets(container, stream)
            is_timed = container.format.name in _TRUE_TIMESTAMPS and stream.time_base is not None
            tick_s = np.float64(float(stream.time_base or 0))
        if not is_regular:
            with self._open() as (container, stream):
                timestamps = [frame.pts for frame in self._decode(container, stream)]
        known = sorted({pts for pts in timestamps if pts is not None})
        identify = is_timed and len(known) == len(timestamps)
        return _Index(len(timestamps), np.array(known, np.int64) if identify else None, tick_s)

    def read(self, start: int, stop: int) -> Frames:
        """Frames start .. stop - 1, (n, H, W, 3) uint8, decoded from the last key frame before where possible."""
        return next(self.chunks_between(start, stop, stop - start), self._empty(0))

    def chunks(self, size: int) -> Iterator[Frames]:
        """All frames, `size` at a time, decoded once."""
        return self._gather(self._all_pictures(), size)

    def chunks_between(self, start: int, stop: int, size: int) -> Iterator[Frames]:
        """Frames start .. stop - 1, `size` at a time, at constant memory and in one pass from the last key frame."""
        return self._gather(self._pictures(start, stop), size)

    def array(self, key: str) -> NDArray[Any] | None:
        """None: a video holds nothing beside its frames."""
        return None

    @property
    def actions(self) -> None:
        """None."""

    @property
    def proprioception(self) -> None:
        """None."""

    @property
    def task(self) -> None:
        """None."""

    @property
    def group(self) -> None:
        """None."""

    def _gather(self, pictures: Iterator[VideoFrame], size: int) -> Iterator[Frames]:
        """Pictures as (n, H, W, 3), `size` at a time, the last chunk shorter."""
        converter = RgbConverter(centred=self._header.codec not in COLOURS_AT_THE_LEFT)
        chunk_THWC, filled = self._empty(size), 0
        for picture in pictures:
            chunk_THWC[filled] = converter.rgb(picture)
            filled += 1
            if filled == size:
                yield chunk_THWC
                chunk_THWC, filled = self._empty(size), 0
        if filled:
            yield chunk_THWC[:filled]

    def _all_pictures(self) -> Iterator[VideoFrame]:
        """Every picture; raises DatasetError at the end where they are not as many as the file lists."""
        wanted, decoded = self.num_frames, 0
        with self._open() as (container, stream):
            for picture in self._decode(container, stream):
                decoded += 1
                yield picture
        if decoded != wanted:
            raise self._missing(decoded)

    def _pictures(self, start: int, stop: int) -> Iterator[VideoFrame]:
        """Pictures start .. stop - 1, found by their timestamps; from where those fail, by counting."""
        found = start
        for picture in self._pictures_from_key_frame(start, stop):
            found += 1
            yield picture
        if found >= stop:
            return
        with self._open() as (container, stream):
            for picture in islice(self._decode(container, stream), found, stop):
                found += 1
                yield picture
        if found < stop:
            raise self._missing(found)

    def _pictures_from_key_frame(self, start: int, stop: int) -> Iterator[VideoFrame]:
        """Pictures from `start` on as long as each has the timestamp that the index says; may be none at all."""
        timestamps = self._index.timestamps
        if timestamps is None or start == 0 or start >= stop:
            return
        wanted = iter(timestamps[start:stop].tolist())
        first = expected = next(wanted)
        with self._open() as (container, stream):
            container.seek(first, stream=stream)
            for picture in self._decode(container, stream):
                if picture.pts is not None and picture.pts < first:
                    continue
                if picture.pts != expected:
                    return
                yield picture
                expected = next(wanted, None)
                if expected is None:
                    return

    def _read_packets(self, container: InputContainer, stream: VideoStream) -> tuple[list[int | None], bool]:
        """Timestamps of all compressed frames, in the file's order, and whether each will decode to just one frame.

        Raises DatasetError if the file ends before what its header promises.
        """
        timestamps: list[int | None] = []
        last: float = 0.0
        is_regular = True
        for packet in container.demux(stream):
            if not packet.size:
                continue
            if packet.is_corrupt:
                raise DatasetError(f"{self.path}: the file is truncated or damaged in frame {len(timestamps)}")
            is_regular &= not packet.is_discard and (packet.is_keyframe or bool(timestamps))
            timestamps.append(packet.pts)
            time = packet.pts if packet.pts is not None else packet.dts
            if time is not None and stream.time_base is not None:
                last = max(last, float(time * stream.time_base))
        self._check_length(_promised_seconds(container, stream), last, len(timestamps))
        if container.format.name == "gif" and not _ends_as_gif(local_file(self.path)):
            raise DatasetError(f"{self.path}: the file is truncated: the mark that ends a GIF is missing")
        return timestamps, is_regular

    def _check_length(self, promised_s: float | None, last_s: float, num_frames: int) -> None:
        if promised_s is None or num_frames < 2:
            return
        interval_s = last_s / (num_frames - 1)
        missing_s = promised_s - last_s - interval_s
        if missing_s > max(promised_s / 10, 3 * interval_s):
            raise DatasetError(
                f"{self.path}: the file is truncated or damaged: its header promises {promised_s:.2f} s of video, "
                f"its frames end after {last_s + interval_s:.2f} s ({num_frames} frames)"
            )

    def _decode(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """All frames in order of presentation; raises DatasetError where one is damaged or of another size."""
        height, width = self.frame_size
        for number, frame in enumerate(container.decode(stream)):
            if frame.is_corrupt:
                raise DatasetError(f"{self.path}: frame {number} is damaged")
            if (frame.height, frame.width) != (height, width):
                raise DatasetError(
                    f"{self.path}: frame {number} is {frame.width} x {frame.height} pixels, "
                    f"expected {width} x {height} like the ones before"
                )
            yield frame

    def _missing(self, decoded: int) -> DatasetError:
        return DatasetError(
            f"{self.path}: damaged video: {decoded} frames decoded, expected the {self.num_frames} that the file lists"
        )

    def _empty(self, num_frames: int) -> Frames:
        return np.empty((num_frames, *self.frame_size, 3), np.uint8)

    @contextmanager
    def _open(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        """Open the file and its best video stream; FFmpeg's errors, also those in the block, become DatasetError."""
        try:
            with av.open(
                str(local_file(self.path)), metadata_errors="ignore", options={"protocol_whitelist": "file"}
            ) as container:
                stream = container.streams.best("video")
                if not isinstance(stream, VideoStream):
                    raise DatasetError(f"{self.path}: the file holds no video stream")
                stream.thread_type = "AUTO"
                yield container, stream
        except av.error.FFmpegError as error:
            what = "" if isinstance(error, OSError) else "not a video, or truncated or damaged: "
            raise DatasetError(f"{self.path}: {what}{error.strerror or error}") from error


def are_uneven(times_s: NDArray[np.float64]) -> bool:
    """Whether the intervals between frames shown at `times_s`, (T,), differ by more than half."""
    if len(times_s) < 3:
        return False
    intervals = np.diff(times_s)
    return bool(intervals.max() > 1.5 * np.median(intervals))


def _promised_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """How long the header says the video is; None where it does not, or speaks of other streams as well."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def _ends_as_gif(path: Path) -> bool:
    """Whether a GIF ends with its trailer; zeros behind it are harmless."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 1024))
        return file.read().rstrip(b"\0").endswith(b";")


__all__ = ["VIDEO_CAMERA", "VideoReader", "are_uneven"]
