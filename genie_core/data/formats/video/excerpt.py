"""A part of a video file as an MP4 of its own, without decoding: for programs that show the original video."""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import islice

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from genie_core.data.episode import FilmSpan
from genie_core.data.formats.video.container import open_container
from genie_core.data.formats.video.copying import CODECS
from genie_core.errors import DatasetError

_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
MOST_BYTES = 512 * 2**20
"""Longest excerpt; it is held in memory."""


@dataclass(frozen=True)
class Excerpt:
    """A part of a video.

    Attributes:
        mp4: an MP4 file with one video stream.
        codec: ``av1``, ``h264`` or ``hevc``.
        time_T: (T,) int64, nanoseconds from the excerpt's start at which each wanted frame is shown.

    """

    mp4: bytes
    codec: str
    time_T: NDArray[np.int64]


def mp4_excerpt(span: FilmSpan) -> Excerpt | None:
    """Copy the frames of `span`, and those since the key frame before them, into an MP4.

    Returns None if the file is no MP4, in a codec that viewers do not play, its frames bear no times of their own, or
    the excerpt would take more than `MOST_BYTES`. Raises DatasetError if the file cannot be read.
    """
    try:
        with open_container(span.path) as container:
            stream = container.streams.best("video")
            if container.format.name != _MP4 or not isinstance(stream, VideoStream) or stream.codec_context is None:
                return None
            if stream.codec_context.name not in CODECS or stream.time_base is None:
                return None
            packets = [(p.pts, p.is_keyframe, p.size) for p in container.demux(stream) if p.size]
        shown = sorted(pts for pts, _, _ in packets if pts is not None)
        wanted = shown[span.first : span.first + span.count]
        if len(set(shown)) != len(packets) or len(wanted) != span.count or not wanted:
            return None
        chosen = _needed(packets, wanted[0], wanted[-1])
        if sum(packets[number][2] for number in chosen) > MOST_BYTES:
            return None
        return _muxed(span, chosen, wanted)
    except av.error.InvalidDataError:
        return None  # no MP4
    except av.error.FFmpegError as error:
        raise DatasetError(f"{span.path}: {error.strerror or error}") from error


def _needed(packets: list[tuple[int | None, bool, int]], first: int, last: int) -> range:
    """Return the packets from the last key frame shown by `first` to the last packet shown by `last`, by number."""
    times = [(pts, is_key) for pts, is_key, _ in packets if pts is not None]
    start = max((n for n, (pts, is_key) in enumerate(times) if is_key and pts <= first), default=0)
    return range(start, 1 + max(n for n, (pts, _) in enumerate(times) if pts <= last))


def _muxed(span: FilmSpan, chosen: range, wanted: list[int]) -> Excerpt:
    """Write packets to an MP4 that starts at their first time."""
    target, origin = io.BytesIO(), None
    with open_container(span.path) as container, av.open(target, "w", format="mp4") as output:
        stream = container.streams.best("video")
        assert isinstance(stream, VideoStream)
        assert stream.time_base is not None
        tick_ns, name = float(stream.time_base) * 1e9, stream.codec_context.name
        copy = output.add_stream_from_template(stream, opaque=True)
        for packet in islice((p for p in container.demux(stream) if p.size), chosen.start, chosen.stop):
            assert packet.pts is not None
            origin = packet.pts if origin is None else origin  # the key frame is shown first
            packet.pts -= origin
            packet.dts = None if packet.dts is None else packet.dts - origin
            packet.stream = copy
            output.mux(packet)
    time_T = np.round((np.array(wanted) - (origin or 0)) * tick_ns).astype(np.int64)
    return Excerpt(target.getvalue(), CODECS[name], time_T)


__all__ = ["MOST_BYTES", "Excerpt", "mp4_excerpt"]
