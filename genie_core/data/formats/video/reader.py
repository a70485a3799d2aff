"""Reads robot video from video files (MP4, MKV, WebM, AVI, MOV, MPEG-TS, GIF; any codec that FFmpeg decodes).

Frames are the decoder's, in order of presentation, however unevenly they are spaced in time, turned as the file asks
for. Transparency is dropped, and of several streams FFmpeg's choice of the best is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, cast

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from genie_core.data.episode import FilmSpan
from genie_core.data.formats.video.container import Window, is_cover, open_video
from genie_core.data.formats.video.packets import Packets, scan_packets
from genie_core.data.frames.resize import Frames
from genie_core.data.frames.rgb import COLOURS_AT_THE_LEFT, RgbConverter
from genie_core.data.frames.timing import is_rate, rate_of
from genie_core.data.frames.turning import UPRIGHT, Turn, turn_of_matrix
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError

VIDEO_CAMERA = "video"
"""Name of the only camera of a video file."""

_TRUE_TIMESTAMPS = frozenset({"gif", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "mpegts"})
"""Containers that store presentation times. For others (AVI) FFmpeg guesses them, and frames are found by counting."""

_RATE_TOLERANCE = 0.05
"""Relative difference from the rate of the usual interval up to which the stated rate is taken."""


@dataclass(frozen=True)
class _Header:
    coded_size: tuple[int, int]
    turn: Turn
    streams: int
    fps: float | None
    codec: str


@dataclass(frozen=True)
class _Index:
    """Frames of the file: their number and, if each has its own, their timestamps in order.

    `tick_s` is the unit of timestamps, seconds. `packets` is None unless each compressed frame is one picture.
    """

    num_frames: int
    timestamps: NDArray[np.int64] | None
    tick_s: np.float64
    packets: Packets | None


@dataclass(frozen=True)
class VideoReader:
    """Reads one video file; the `FrameReader` of video.

    Attributes:
        path: the file.
        window: where in it the video is; None: it is all of the file.

    """

    path: SourcePath
    window: Window | None = None

    @property
    def where(self) -> str:
        """The video in errors."""
        return str(self.path) if self.window is None else f"{self.path}: {self.window.name}"

    @property
    def num_frames(self) -> int:
        """Exact number of frames that decode. The first use scans the file; unusual files are decoded to count."""
        return self._index.num_frames

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width in pixels, as shown."""
        return self._header.turn.size(self._header.coded_size)

    @property
    def fps(self) -> float | None:
        """Frames a second: the average that the file states, unless that is not what its timestamps say: `rate_of`."""
        usual = None if self.times_s is None else rate_of(self.times_s)
        stated = self._header.fps
        if usual is not None and (stated is None or abs(stated / usual - 1) > _RATE_TOLERANCE):
            return usual
        return stated

    @property
    def times_s(self) -> NDArray[np.float64] | None:
        """Presentation times, (T,) seconds in order; None if timestamps do not identify the frames."""
        timestamps = self._index.timestamps
        return None if timestamps is None else timestamps * self._index.tick_s

    @property
    def timestamps(self) -> NDArray[np.int64] | None:
        """(T,) presentation times in order, in units of the stream; None if they do not identify the frames."""
        return self._index.timestamps

    @property
    def packets(self) -> Packets | None:
        """The compressed frames; None unless each is one picture with a time of its own."""
        return self._index.packets

    @property
    def turn(self) -> Turn:
        """How pictures are turned when read."""
        return self._header.turn

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes that pictures are turned, and that the file holds more than one video."""
        header, said = self._header, []
        if header.turn != UPRIGHT:
            said.append(f"the video says how it is to be shown (display matrix): {header.turn.words} when read")
        if header.streams > 1:
            height, width = self.frame_size
            said.append(f"the file holds {header.streams} videos: the one of {height} x {width} is read")
        return tuple(said)

    @property
    def film(self) -> FilmSpan | None:
        """All of the file; None if pictures are turned when read, or the video is but a part of it."""
        if self._header.turn != UPRIGHT or self.window is not None:
            return None
        return FilmSpan(self.path, 0, self.num_frames)

    @cached_property
    def _header(self) -> _Header:
        with self.opened() as (container, stream):
            if not stream.height or not stream.width:
                raise DatasetError(f"{self.where}: the video has no picture size, or too large a one: it is damaged")
            self._refuse_depth(stream)
            fps = None if stream.average_rate is None else float(stream.average_rate)
            fps = fps if fps is not None and is_rate(fps) else None
            size, codec = (stream.height, stream.width), stream.codec_context.name
            streams = sum(not is_cover(video) for video in container.streams.video)
            turn = self._turn(container, stream)
        return _Header(size, turn, streams, fps, codec)

    def _turn(self, container: InputContainer, stream: VideoStream) -> Turn:
        """Return how pictures are turned, which only the first of them says."""
        with suppress(av.error.FFmpegError):  # reading tells
            for picture in container.decode(stream):
                matrix = cast("SideData | None", picture.side_data.get("DISPLAYMATRIX"))
                return UPRIGHT if matrix is None else turn_of_matrix(bytes(matrix), self.where)
        return UPRIGHT

    def _refuse_depth(self, stream: VideoStream) -> None:
        """Raise DatasetError if pictures have one channel of more than 8 bits: those are depth, not brightness."""
        kind = stream.codec_context.format
        if kind is not None and len(kind.components) == 1 and kind.components[0].bits > 8:
            raise DatasetError(
                f"{self.where}: got one channel of {kind.components[0].bits} bits ({kind.name}), which is depth, "
                "expected pictures in colour or 8-bit grey"
            )

    @cached_property
    def _index(self) -> _Index:
        with self.opened() as (container, stream):
            scan = scan_packets(self.path, container, stream, self.where)
            is_timed = container.format.name in _TRUE_TIMESTAMPS and stream.time_base is not None
            tick_s = np.float64(float(stream.time_base or 0))
        timestamps = scan.timestamps
        if not scan.is_regular:
            with self.opened() as (container, stream):
                timestamps = [frame.pts for frame in self._decode(container, stream)]
        known = sorted({pts for pts in timestamps if pts is not None})
        if not is_timed or len(known) != len(timestamps):
            return _Index(len(timestamps), None, tick_s, None)
        packets = None
        if scan.is_regular:
            packets = Packets(np.array(timestamps, np.int64), np.array(scan.are_key, np.bool_))
        return _Index(len(timestamps), np.array(known, np.int64), tick_s, packets)

    def read(self, start: int, stop: int) -> Frames:
        """Return frames start .. stop - 1, (n, H, W, 3) uint8, decoded from the key frame before them if possible."""
        return next(self.chunks_between(start, stop, stop - start), self._empty(0))

    def chunks(self, size: int) -> Iterator[Frames]:
        """Yield all frames, `size` at a time, decoded once."""
        return self._gather(self._all_pictures(), size)

    def chunks_between(self, start: int, stop: int, size: int) -> Iterator[Frames]:
        """Yield frames start .. stop - 1, `size` at a time, at constant memory, in one pass from a key frame."""
        return self._gather(self._pictures(start, stop), size)

    def array(self, key: str) -> NDArray[Any] | None:
        """Return None: a video holds nothing beside its frames."""
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
        """Yield pictures as (n, H, W, 3), `size` at a time, the last chunk shorter."""
        converter = RgbConverter(centred=self._header.codec not in COLOURS_AT_THE_LEFT)
        chunk_THWC, filled, turn = self._empty(size), 0, self._header.turn
        for picture in pictures:
            chunk_THWC[filled] = turn.of(converter.rgb(picture)[None])[0]
            filled += 1
            if filled == size:
                yield chunk_THWC
                chunk_THWC, filled = self._empty(size), 0
        if filled:
            yield chunk_THWC[:filled]

    def _all_pictures(self) -> Iterator[VideoFrame]:
        """Yield every picture. Raises DatasetError at the end if they are not as many as the file lists."""
        wanted, decoded = self.num_frames, 0
        with self.opened() as (container, stream):
            for picture in self._decode(container, stream):
                decoded += 1
                yield picture
        if decoded != wanted:
            raise self._missing(decoded)

    def _pictures(self, start: int, stop: int) -> Iterator[VideoFrame]:
        """Yield pictures start .. stop - 1, found by timestamps, or by counting once those fail."""
        found = start
        for picture in self._pictures_from_key_frame(start, stop):
            found += 1
            yield picture
        if found >= stop:
            return
        with self.opened() as (container, stream):
            for picture in islice(self._decode(container, stream), found, stop):
                found += 1
                yield picture
        if found < stop:
            raise self._missing(found)

    def _pictures_from_key_frame(self, start: int, stop: int) -> Iterator[VideoFrame]:
        """Yield pictures from `start` on as long as timestamps match the index; possibly none."""
        timestamps = self._index.timestamps
        if timestamps is None or start == 0 or start >= stop:
            return
        wanted = iter(timestamps[start:stop].tolist())
        first = expected = next(wanted, None)
        if first is None:
            return
        with self.opened() as (container, stream):
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

    def _decode(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """Yield all frames in order of presentation. Raises DatasetError if one is damaged or has another size."""
        height, width = self._header.coded_size
        for number, frame in enumerate(container.decode(stream)):
            if frame.is_corrupt:
                raise DatasetError(f"{self.where}: frame {number} is damaged")
            if (frame.height, frame.width) != (height, width):
                raise DatasetError(
                    f"{self.where}: frame {number} is {frame.width} x {frame.height} pixels, "
                    f"expected {width} x {height} like the ones before"
                )
            yield frame

    def opened(self) -> AbstractContextManager[tuple[InputContainer, VideoStream]]:
        """Open the file, for those who read packets themselves (`packets`); see `open_video`."""
        return open_video(self.path, self.window)

    def _missing(self, decoded: int) -> DatasetError:
        return DatasetError(
            f"{self.where}: damaged video: {decoded} frames decoded, expected the {self.num_frames} that the file lists"
        )

    def _empty(self, num_frames: int) -> Frames:
        return np.empty((num_frames, *self.frame_size, 3), np.uint8)


@dataclass(frozen=True)
class VideoBacked:
    """What a reader gives whose frames are those of a video, and whose arrays lie elsewhere: all of a video's.

    Attributes:
        video: the frames.

    """

    video: VideoReader

    @property
    def num_frames(self) -> int:
        """Number of frames of the video."""
        return self.video.num_frames

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.video.frame_size

    @property
    def fps(self) -> float | None:
        """The video's rate."""
        return self.video.fps

    @property
    def times_s(self) -> NDArray[np.float64] | None:
        """The video's times."""
        return self.video.times_s

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts in the video file that reading acts on, a sentence each."""
        return self.video.notes

    @property
    def film(self) -> FilmSpan | None:
        """All of the video; None if its pictures are turned when read, or it is but a part of its file."""
        return self.video.film

    def read(self, start: int, stop: int) -> Frames:
        """Return frames start .. stop - 1."""
        return self.video.read(start, stop)

    def chunks(self, size: int) -> Iterator[Frames]:
        """Yield all frames, `size` at a time."""
        return self.video.chunks(size)


__all__ = ["VIDEO_CAMERA", "Packets", "VideoBacked", "VideoReader", "Window"]
