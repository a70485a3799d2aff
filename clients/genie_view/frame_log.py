"""Logs frames: the original video or pictures where that is possible, encoded pictures where they are small, else a
video stream.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import rerun as rr
from numpy.typing import NDArray

from genie_core.data import Episode, Frames, decode_image, encode_image
from genie_core.data.formats.video.excerpt import mp4_excerpt
from genie_core.data.frames.images import ImageFormat, image_size, is_plain
from genie_core.errors import DatasetError, RequestError
from genie_view.clock import Timeline
from genie_view.video_stream import Codec, encoded

_SMALL_PX = 128
_BATCH = 64
_MOST_PICTURE_BYTES = 16 * 2**20
"""Bytes of an episode as single pictures, by an estimate, from which on a video stream takes their place."""
_BYTES_A_PIXEL = 0.25
"""Of a JPEG of quality 90, about; a PNG of a small frame takes five times as much."""
_MOST_HELD_BYTES = 3 * 10**9
"""Stored pictures that are sent to a viewer on this machine: most of the 4 GB that it keeps."""


@dataclass(frozen=True)
class Codecs:
    """Codecs that the viewer of a recording can decode, and what it can hold.

    Attributes:
        h264: whether it shows H.264 and H.265, for which the native viewer needs the program ffmpeg.
        quick: whether pictures are coded as H.264, in half the time that AV1 takes, which any viewer shows.
        stored_bytes: most bytes of an episode's own JPEGs and PNGs that are shown as they are, without coding them.

    """

    h264: bool = True
    quick: bool = False
    stored_bytes: int = _MOST_PICTURE_BYTES

    @staticmethod
    def here(episodes: int | None = None) -> Codecs:
        """Return those of the viewer on this machine, which is to show so many episodes; None: any number."""
        found = shutil.which("ffmpeg") is not None
        held = _MOST_PICTURE_BYTES if episodes is None else max(_MOST_PICTURE_BYTES, _MOST_HELD_BYTES // episodes)
        return Codecs(found, quick=found, stored_bytes=held)


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
    stored = _stored_within(episode, codecs.stored_bytes)
    if stored is not None:
        _log_stored(recording, entity, episode, stored, timeline)
    elif episode.num_frames * episode.height * episode.width * _BYTES_A_PIXEL > _MOST_PICTURE_BYTES:
        _log_stream(recording, entity, episode, timeline, codecs)
    else:
        log_frames(recording, entity, episode.chunks(), timeline)


def log_frames(
    recording: rr.RecordingStream, entity: str, chunks: Iterable[Frames], timeline: Timeline, *, first: int = 0
) -> None:
    """Log frames, (n, H, W, 3) per chunk, as pictures, from index `first` on; holds one chunk at a time."""
    for chunk in chunks:
        for begin in range(0, len(chunk), _BATCH):
            frames = chunk[begin : begin + _BATCH]
            kind: ImageFormat = "png" if max(frames.shape[1:3]) <= _SMALL_PX else "jpeg"
            _send_pictures(recording, entity, [encode_image(frame, kind) for frame in frames], timeline, first)
            first += len(frames)


def _stored_within(episode: Episode, most_bytes: int) -> Iterator[bytes] | None:
    """Return the episode's own pictures; None if it has none, or they take more than `most_bytes`, by the first."""
    stored = episode.pictures() if episode.convention.colour == "rgb" else None
    if stored is None:
        return None
    first = list(islice(stored, _BATCH))
    if not first or sum(map(len, first)) / len(first) * episode.num_frames > most_bytes:
        return None
    return chain(first, stored)


def _log_stored(
    recording: rr.RecordingStream, entity: str, episode: Episode, stored: Iterator[bytes], timeline: Timeline
) -> None:
    """Log pictures as they are stored; one that a viewer would show otherwise than we read it is coded anew."""
    size, sent = (episode.height, episode.width), 0
    while blobs := list(islice(stored, _BATCH)):
        shown = [_checked(blob, size, episode, sent + number) for number, blob in enumerate(blobs)]
        _send_pictures(recording, entity, shown, timeline, sent)
        sent += len(shown)


def _checked(blob: bytes, size: tuple[int, int], episode: Episode, number: int) -> bytes:
    where = f"{episode.source}: {episode.name}: frame {number}"
    try:
        found = image_size(blob)
        if found != size:
            raise DatasetError(f"{where} is of {found} pixels, expected {size} like the first")
        return blob if is_plain(blob) else encode_image(decode_image(blob), "jpeg")
    except RequestError as error:
        raise DatasetError(f"{where}: {error}") from error


def _send_pictures(
    recording: rr.RecordingStream, entity: str, blobs: list[bytes], timeline: Timeline, first: int
) -> None:
    kinds = ["image/jpeg" if blob.startswith(b"\xff\xd8") else "image/png" for blob in blobs]
    columns = rr.EncodedImage.columns(blob=blobs, media_type=kinds)
    recording.send_columns(entity, timeline.columns(np.arange(first, first + len(blobs))), columns)


def _log_stream(
    recording: rr.RecordingStream, entity: str, episode: Episode, timeline: Timeline, codecs: Codecs
) -> None:
    """Log frames as AV1, which every viewer of Rerun decodes by itself, or as H.264, which is quicker to make."""
    codec: Codec = "h264" if codecs.quick else "av1"
    recording.log(entity, rr.VideoStream(codec=rr.VideoCodec.H264 if codecs.quick else rr.VideoCodec.AV1), static=True)
    samples, sent = encoded(episode, codec), 0
    while some := list(islice(samples, _BATCH)):
        index: NDArray[np.int64] = np.arange(sent, sent + len(some))
        recording.send_columns(entity, timeline.columns(index), rr.VideoStream.columns(sample=some))
        sent += len(some)


__all__ = ["ANY_VIEWER", "BROWSER", "Codecs", "log_episode", "log_frames"]
