"""Shared videos of a LeRobot v3.0 dataset: consecutive episodes in one MP4, a new file beyond a given size.

Knows frames and times but not rows; `writer` combines the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, TypeVar

import av
import numpy as np
from av.container.output import OutputContainer
from av.video.stream import VideoStream

from genie_core.data.frames.resize import Frames
from genie_core.data.frames.rgb import picture_of

_OPTIONS = {"crf": "18", "g": "2", "bf": "0"}
"""Visually lossless; every second frame is a key frame, so that a random frame costs two to decode, as in LeRobot's own
videos; no frame depends on a later one, so that frames and times stay in step."""


@dataclass(frozen=True)
class VideoPlace:
    """Location of an episode: the file's number, and the seconds from its start between which it is shown."""

    number: int
    from_s: float
    to_s: float


class SharedVideos:
    """Writes the frames of consecutive episodes to numbered videos, H.264 in MP4, yuv420p."""

    def __init__(self, folder: Path, path: str, size: tuple[int, int], fps: float, file_bytes: int) -> None:
        """Prepare for writing; no file is opened yet.

        Args:
            folder: of the dataset.
            path: of a video in `folder`, with ``{number}`` and ``{chunk}`` in it as `numbered` takes them.
            size: height and width of every frame; odd ones are made even by repeating the last row or column.
            fps: frames a second.
            file_bytes: an episode that would take a file beyond this size starts a new one.

        """
        self._folder, self._path, self._file_bytes = folder, path, file_bytes
        self._pad = (size[0] % 2, size[1] % 2)
        self.size = (size[0] + self._pad[0], size[1] + self._pad[1])
        self._rate = Fraction(fps).limit_denominator(100_000)
        self._number = -1
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._frames, self._bytes = 0, 0

    def add(self, chunks: Iterator[Frames], num_frames: int) -> VideoPlace:
        """Write an episode of `num_frames` frames, given in (n, H, W, 3) uint8 pieces; return its location."""
        expected = self._bytes / self._frames * num_frames if self._frames else 0
        if self._container is None or self._bytes + expected >= self._file_bytes:
            self.close()
            self._open()
        start = self._frames
        for frames_THWC in chunks:
            self._encode(np.pad(frames_THWC, ((0, 0), (0, self._pad[0]), (0, self._pad[1]), (0, 0)), mode="edge"))
        return VideoPlace(self._number, float(start / self._rate), float(self._frames / self._rate))

    def close(self) -> None:
        """Finish the open file."""
        container, stream = self._container, self._stream
        self._container = self._stream = None  # do not try to finish a file again that failed once
        if container is not None and stream is not None:
            container.mux(stream.encode(None))
            container.close()

    abandon = close

    def describe(self) -> dict[str, Any]:
        """Return the entry in ``info.json`` that describes every video."""
        return {
            "video.height": self.size[0],
            "video.width": self.size[1],
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": int(self._rate) if self._rate.denominator == 1 else float(self._rate),
            "video.channels": 3,
            "has_audio": False,
        }

    def _open(self) -> None:
        self._number += 1
        self._frames = self._bytes = 0
        path = self._folder / numbered(self._path, self._number)
        path.parent.mkdir(parents=True, exist_ok=True)
        container = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
        stream = container.add_stream("libx264", rate=self._rate)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = self.size
        stream.pix_fmt = "yuv420p"
        stream.options = {**_OPTIONS}
        stream.codec_context.thread_count = 1  # with several, x264 writes different bytes about once in a thousand runs
        self._container, self._stream = container, stream

    def _encode(self, frames_THWC: Frames) -> None:
        assert self._container is not None
        assert self._stream is not None
        for frame_HWC in frames_THWC:
            frame = picture_of(frame_HWC, "yuv420p")
            frame.pts, frame.time_base = self._frames, 1 / self._rate
            self._frames += 1
            packets = self._stream.encode(frame)
            self._bytes += sum(packet.size for packet in packets)
            self._container.mux(packets)


FILES_PER_CHUNK = 1000
"""Number of files in one folder."""


def numbered(path: str, number: int) -> str:
    """Fill a file's number into LeRobot's path pattern: 1000 files, 0 to 999, per folder."""
    return path.format(chunk_index=number // FILES_PER_CHUNK, file_index=number % FILES_PER_CHUNK)


class Videos(Protocol):
    """Files that are being written."""

    def close(self) -> None:
        """Finish them."""

    def abandon(self) -> None:
        """Close the files, which the caller removes."""


_V = TypeVar("_V", bound=Videos)


@contextmanager
def closing(videos: _V) -> Iterator[_V]:
    """Close videos at the end of the block; if the block raises, its own error is the one that is raised."""
    try:
        yield videos
    except BaseException:
        with suppress(OSError, av.error.FFmpegError):
            videos.abandon()
        raise
    videos.close()


__all__ = ["FILES_PER_CHUNK", "SharedVideos", "VideoPlace", "closing", "numbered"]
