"""Which frames of a video file can be copied as they are compressed, and their packets; decodes nothing.

`formats.lerobot.writer_copy` writes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from genie_core.data.formats.video.reader import VideoReader
from genie_core.data.frames.turning import UPRIGHT
from genie_core.errors import DatasetError

CODECS = {"h264": "h264", "hevc": "hevc", "av1": "av1", "libdav1d": "av1", "libaom-av1": "av1"}
"""FFmpeg's decoders of what viewers and LeRobot's tools read in MP4, and the codec's name."""

_PARAMETERS = {"h264": b"\x01", "hevc": b"\x01", "av1": b"\x81"}
"""How the parameters of a stream begin that MP4 takes as they are; others (MPEG-TS, AVI) have them in the packets."""


class CannotCopyError(Exception):
    """Frames cannot be copied as they are compressed; the text says why."""


@dataclass(frozen=True)
class StreamKind:
    """What episodes need to have in common to share a video file.

    Attributes:
        codec: ``h264``, ``hevc`` or ``av1``.
        pixel_format: FFmpeg's name: ``yuv420p``.
        size: height and width, pixels.
        parameters: of the decoder, as containers store them.

    """

    codec: str
    pixel_format: str
    size: tuple[int, int]
    parameters: bytes


@dataclass(frozen=True)
class VideoPart:
    """Consecutive frames start .. stop - 1 of a video, whose packets are consecutive and begin with a key frame."""

    video: VideoReader
    start: int
    stop: int
    kind: StreamKind

    @cached_property
    def delay(self) -> int:
        """Number of packets by which decoding must run ahead of display: 0 unless frames depend on later ones."""
        return int((np.arange(self.stop - self.start) - self._place_N).max(initial=0))

    @property
    def key_frames(self) -> int:
        """Number of key frames."""
        packets = self.video.packets
        assert packets is not None
        return int(packets.is_key_N[self.start : self.stop].sum())

    def packets(self) -> Iterator[tuple[Packet[VideoStream], VideoStream, int]]:
        """Yield the packets in their order, with their stream, and the place of each in presentation order."""
        packets, timestamps = self.video.packets, self.video.timestamps
        assert packets is not None
        assert timestamps is not None
        wanted = packets.timestamp_N[self.start : self.stop]
        found = 0
        with self.video.opened() as (container, stream):
            if self.start:
                container.seek(int(wanted[0]), stream=stream)
            for packet in container.demux(stream):
                if packet.size and found == 0 and packet.pts != wanted[0]:
                    continue
                if found == len(wanted) or packet.pts != wanted[found]:
                    break
                yield packet, stream, int(self._place_N[found])
                found += 1
        if found != len(wanted):
            raise DatasetError(
                f"{self.video.path}: got {found} packets from frame {self.start} on, expected {len(wanted)}"
            )

    @cached_property
    def _place_N(self) -> NDArray[np.int64]:
        """Place of each packet in presentation order."""
        packets, timestamps = self.video.packets, self.video.timestamps
        assert packets is not None
        assert timestamps is not None
        shown_N, stored_N = timestamps[self.start : self.stop], packets.timestamp_N[self.start : self.stop]
        return np.searchsorted(shown_N, stored_N).astype(np.int64)


def video_part(video: VideoReader, start: int, stop: int) -> VideoPart:
    """Return frames start .. stop - 1 (at least one) as a part that can be copied.

    Raises:
        CannotCopyError: its codec, its container, or where its key frames are rules that out.
        DatasetError: the file cannot be read.

    """
    kind = _kind(video)
    packets, timestamps = video.packets, video.timestamps
    if packets is None or timestamps is None:
        raise CannotCopyError("its packets are not one picture each: an edit list cuts it, or times are missing")
    wanted = timestamps[start:stop]
    if not packets.is_key_N[start]:
        raise CannotCopyError(f"frame {start}, with which the episode begins, is no key frame")
    if not np.array_equal(np.sort(packets.timestamp_N[start:stop]), wanted):
        raise CannotCopyError("frames depend on frames of the episode before or after")
    return VideoPart(video, start, stop, kind)


def _kind(video: VideoReader) -> StreamKind:
    """Return what the file holds. Raises CannotCopyError if MP4 cannot take it as it is."""
    if video.turn != UPRIGHT:
        raise CannotCopyError("its pictures are turned when read")
    with video.opened() as (_, stream):
        decoder, parameters = stream.codec_context, bytes(stream.codec_context.extradata or b"")
        codec = CODECS.get(decoder.name)
        if codec is None:
            raise CannotCopyError(f"its codec is {decoder.name}, copied are {', '.join(_PARAMETERS)}")
        if not parameters.startswith(_PARAMETERS[codec]):
            raise CannotCopyError("its container keeps the decoder's parameters in the packets (not MP4 or MKV)")
        return StreamKind(codec, decoder.pix_fmt or "", (stream.height, stream.width), parameters)


__all__ = ["CODECS", "CannotCopyError", "StreamKind", "VideoPart", "video_part"]
