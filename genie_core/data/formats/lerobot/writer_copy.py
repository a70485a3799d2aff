"""Shared videos of a LeRobot v3.0 dataset that take the packets of other videos as they are, and check every frame.

The counterpart of `writer_video`, which encodes: nothing is lost, and a frame costs reading and not encoding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container.output import OutputContainer
from av.video.stream import VideoStream

from genie_core.data.formats.lerobot.writer_video import VideoPlace, numbered
from genie_core.data.formats.video.copying import VideoPart
from genie_core.data.formats.video.reader import VideoReader
from genie_core.data.frames.resize import Frames

_CHUNK = 32
_TIME_TOLERANCE_S = 5e-5
"""Half of what LeRobot allows between the time that it asks for and that of the frame that it gets."""


class CopyDiffersError(Exception):
    """A copied video does not decode to the frames of its sources; the text says where. Encode instead."""


class CopiedVideos:
    """Copies consecutive episodes into numbered MP4 files. A video of a different kind starts a new file."""

    def __init__(self, folder: Path, path: str, fps: float, file_bytes: int, like: VideoPart) -> None:
        """Prepare for writing; no file is opened yet.

        Args:
            folder: of the dataset.
            path: of a video in `folder`, with ``{number}`` and ``{chunk}`` in it as `numbered` takes them.
            fps: frames a second; frames follow one another at this rate, whatever their times were.
            file_bytes: an episode that would take a file beyond this size starts a new one.
            like: any of the episodes: all need its codec, pixel format and size.

        """
        self._folder, self._path, self._file_bytes = folder, path, file_bytes
        self._rate = Fraction(fps).limit_denominator(100_000)
        self._like = like.kind
        self.size = like.kind.size
        self._number = -1
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._begun_with: VideoPart | None = None
        self._digests: list[bytes] = []
        self._bytes = 0

    def add(self, chunks: Iterator[Frames], part: VideoPart) -> VideoPlace:
        """Copy the episode `part`, whose frames `chunks` yields as its own file decodes to; return its location."""
        size = sum(packet.size for packet, _, _ in part.packets())
        if not self._fits(part, size):
            self.close()
            self._begin(part)
        start = len(self._digests)
        for frames_THWC in chunks:
            self._digests += _digests(frames_THWC)
        self._mux(part, start)
        self._bytes += size
        return VideoPlace(self._number, float(start / self._rate), float(len(self._digests) / self._rate))

    def close(self) -> None:
        """Finish the open file and decode all of it. Raises CopyDiffersError if a frame or its time differs."""
        if self._container is not None:
            self.abandon()
            self._check(VideoReader(self._folder / numbered(self._path, self._number)))

    def abandon(self) -> None:
        """Close the open file, whatever is in it."""
        container, self._container = self._container, None  # do not try to finish a file again that failed once
        if container is not None:
            container.close()

    def describe(self) -> dict[str, Any]:
        """Return the entry in ``info.json`` that describes every video."""
        return {
            "video.height": self.size[0],
            "video.width": self.size[1],
            "video.codec": self._like.codec,
            "video.pix_fmt": self._like.pixel_format,
            "video.is_depth_map": False,
            "video.fps": int(self._rate) if self._rate.denominator == 1 else float(self._rate),
            "video.channels": 3,
            "has_audio": False,
        }

    def _fits(self, part: VideoPart, size: int) -> bool:
        """Return whether an episode can follow those in the open file."""
        first = self._begun_with
        return (
            self._container is not None
            and first is not None
            and first.kind == part.kind
            and first.delay == part.delay
            and self._bytes + size < self._file_bytes
        )

    def _begin(self, part: VideoPart) -> None:
        self._number += 1
        self._digests, self._bytes, self._begun_with, self._stream = [], 0, part, None
        path = self._folder / numbered(self._path, self._number)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})

    def _mux(self, part: VideoPart, start: int) -> None:
        """Write the packets of `part` as frames `start` and following."""
        assert self._container is not None
        tick = 1 / self._rate
        for count, (packet, source, place) in enumerate(part.packets()):
            if self._stream is None:
                self._stream = self._container.add_stream_from_template(source, opaque=True)
                self._stream.time_base = tick
            packet.stream = self._stream
            packet.time_base = tick
            packet.pts, packet.dts, packet.duration = start + place, start + count - part.delay, 1
            self._container.mux(packet)

    def _check(self, video: VideoReader) -> None:
        """Raise CopyDiffersError unless `video` holds just the frames that were added, at their times."""
        times_s = video.times_s
        expected_s = np.arange(len(self._digests)) / float(self._rate)
        if times_s is None or len(times_s) != len(expected_s):
            raise CopyDiffersError(f"{video.num_frames} frames came out, expected {len(expected_s)}")
        late_s = float(np.abs(times_s - expected_s).max())
        if late_s > _TIME_TOLERANCE_S:
            raise CopyDiffersError(f"times differ by up to {late_s:.4f} s")
        for number, digest in enumerate(digest for frames in video.chunks(_CHUNK) for digest in _digests(frames)):
            if digest != self._digests[number]:
                raise CopyDiffersError(f"frame {number} of {video.path.name} differs from its source")


def _digests(frames_THWC: Frames) -> list[bytes]:
    return [hashlib.blake2b(frame_HWC.tobytes(), digest_size=16).digest() for frame_HWC in frames_THWC]


__all__ = ["CopiedVideos", "CopyDiffersError"]
