"""Logs frames: the original video where there is one, encoded pictures where they are small, else a video stream."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import rerun as rr
from av.video.codeccontext import VideoCodecContext
from numpy.typing import NDArray

from genie_core.data import Episode, Frames, encode_image
from genie_core.data.formats.video.excerpt import mp4_excerpt
from genie_core.data.frames.images import ImageFormat
from genie_core.data.frames.rgb import picture_of
from genie_core.errors import GenieError
from genie_view.clock import Timeline

_SMALL_PX = 128
_BATCH = 64
_MOST_PICTURE_BYTES = 16 * 2**20
"""Estimated bytes of an episode as single pictures from which on a video stream takes their place."""
_BYTES_A_PIXEL = 0.25
"""Of a JPEG of quality 90, about; a PNG of a small frame takes five times as much."""
_KEY_FRAME_EVERY = 48
_AV1_CRF, _H264_CRF = 45, 26
"""Quality of the stream: 2 to 3 KB a frame of 480 x 640."""


@dataclass(frozen=True)
class Codecs:
    """Codecs that the viewer of a recording can decode.

    Attributes:
        h264: whether it shows H.264 and H.265, for which the native viewer needs the program ffmpeg.
        quick: whether pictures are coded as H.264, in a third of the time that AV1 takes, which any viewer shows.

    """

    h264: bool = True
    quick: bool = False

    @staticmethod
    def here() -> Codecs:
        """Return the codecs of the viewer on this machine."""
        found = shutil.which("ffmpeg") is not None
        return Codecs(found, quick=found)


ANY_VIEWER = Codecs()
"""Of a recording that may be opened anywhere."""

BROWSER = Codecs(quick=True)
"""Of one that is served to a browser now."""


def log_episode(
    recording: rr.RecordingStream, entity: str, episode: Episode, timeline: Timeline, codecs: Codecs
) -> None:
    """Log all frames of an episode at their own size and rate. Raises DatasetError if they cannot be read."""
    if episode.film is not None:
        excerpt = mp4_excerpt(episode.film)
        if excerpt is not None and (codecs.h264 or excerpt.codec == "av1"):
            recording.log(entity, rr.AssetVideo(contents=excerpt.mp4, media_type="video/mp4"), static=True)
            references = rr.VideoFrameReference.columns_nanos(excerpt.time_T)
            recording.send_columns(entity, timeline.columns(np.arange(len(excerpt.time_T))), references)
            return
    if episode.num_frames * episode.height * episode.width * _BYTES_A_PIXEL > _MOST_PICTURE_BYTES:
        _log_stream(recording, entity, episode, timeline, codecs)
        return
    log_frames(recording, entity, episode.chunks(), timeline)


def log_frames(
    recording: rr.RecordingStream, entity: str, chunks: Iterable[Frames], timeline: Timeline, *, first: int = 0
) -> None:
    """Log frames, (n, H, W, 3) per chunk, as pictures, from index `first` on; holds one chunk at a time."""
    for chunk in chunks:
        for begin in range(0, len(chunk), _BATCH):
            frames = chunk[begin : begin + _BATCH]
            kind: ImageFormat = "png" if max(frames.shape[1:3]) <= _SMALL_PX else "jpeg"
            blobs = [encode_image(frame, kind) for frame in frames]
            columns = rr.EncodedImage.columns(blob=blobs, media_type=[f"image/{kind}"] * len(blobs))
            recording.send_columns(entity, timeline.columns(np.arange(first, first + len(frames))), columns)
            first += len(frames)


def _log_stream(
    recording: rr.RecordingStream, entity: str, episode: Episode, timeline: Timeline, codecs: Codecs
) -> None:
    """Log frames as AV1, which every viewer of Rerun decodes by itself, or as H.264, which is quicker to make."""
    codec = rr.VideoCodec.H264 if codecs.quick else rr.VideoCodec.AV1
    recording.log(entity, rr.VideoStream(codec=codec), static=True)
    samples: list[bytes] = []
    sent = 0
    for sample in _encoded(episode, codec):
        samples.append(sample)
        if len(samples) == _BATCH:
            _send(recording, entity, samples, timeline, sent)
            sent, samples = sent + len(samples), []
    if samples:
        _send(recording, entity, samples, timeline, sent)


def _send(recording: rr.RecordingStream, entity: str, samples: list[bytes], timeline: Timeline, first: int) -> None:
    index: NDArray[np.int64] = np.arange(first, first + len(samples))
    recording.send_columns(entity, timeline.columns(index), rr.VideoStream.columns(sample=samples))


def _encoded(episode: Episode, codec: rr.VideoCodec) -> Iterator[bytes]:
    """Yield a sample a frame, in order of presentation: no frame waits for a later one."""
    encoder = _h264_encoder() if codec is rr.VideoCodec.H264 else _av1_encoder()
    encoder.width, encoder.height = episode.width - episode.width % 2, episode.height - episode.height % 2
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, 30)
    number = 0
    for chunk in episode.chunks():
        for frame_HWC in chunk:
            picture = picture_of(np.ascontiguousarray(frame_HWC[: encoder.height, : encoder.width]), "yuv420p")
            picture.pts = number
            number += 1
            yield from map(bytes, encoder.encode(picture))
    yield from map(bytes, encoder.encode(None))


def _h264_encoder() -> VideoCodecContext:
    """An encoder whose key frames can be decoded by themselves: with their headers, as Rerun wants (Annex B)."""
    encoder = _encoder("libx264", "H.264")
    encoder.gop_size = _KEY_FRAME_EVERY
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": str(_H264_CRF), "bf": "0"}
    return encoder


def _av1_encoder() -> VideoCodecContext:
    os.environ.setdefault("SVT_LOG", "1")  # errors alone: it would describe its settings on the terminal
    encoder = _encoder("libsvtav1", "AV1")
    encoder.options = {
        "preset": "12",
        "crf": str(_AV1_CRF),
        "svtav1-params": f"keyint={_KEY_FRAME_EVERY}:pred-struct=1:lookahead=0",
    }
    return encoder


def _encoder(name: str, codec: str) -> VideoCodecContext:
    try:
        encoder = av.CodecContext.create(name, "w")
    except (av.codec.codec.UnknownCodecError, ValueError) as error:
        raise GenieError(f"av: this build cannot write {codec}, expected one with {name} ({error})") from error
    assert isinstance(encoder, VideoCodecContext)
    return encoder


__all__ = ["ANY_VIEWER", "BROWSER", "Codecs", "log_episode", "log_frames"]
