"""Writes frames as an MP4 that every player can show. For reading, see `genie_core.data.formats.video`."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import ArrayLike

from genie_core.data.frames.resize import Frames, conform_frames
from genie_core.data.frames.rgb import picture_of
from genie_core.data.frames.timing import is_rate
from genie_core.data.storage.atomic import new_file
from genie_core.errors import DatasetError

_QUALITY = "18"
"""x264's constant rate factor, 0 (lossless) to 51; 18 is visually lossless."""


def write_video(path: Path, frames_THWC: ArrayLike, fps: float) -> None:
    """Write frames, (T, H, W, 3) uint8 with T >= 1, as H.264 in MP4 (yuv420p) at `fps` frames a second.

    The codec needs an even height and width: an odd one is made even by repeating the last row or column. The file
    appears only when complete, and replaces an existing one.

    Raises:
        RequestError: `frames_THWC` is not (T, H, W, 3) uint8.
        DatasetError: there is no frame, `fps` is not above 0, or `path` cannot be written.

    """
    frames_THWC = conform_frames(frames_THWC)
    if not len(frames_THWC) or not is_rate(fps):
        raise DatasetError(f"{path}: got {len(frames_THWC)} frames at {fps:g} a second, expected 1 or more above 0")
    try:
        with new_file(path) as temporary:
            _encode(temporary, _make_even(frames_THWC), fps)
    except (OSError, av.error.FFmpegError) as error:
        raise DatasetError(f"{path}: cannot be written: {error.strerror or error}") from error


def _encode(path: Path, frames_THWC: Frames, fps: float) -> None:
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(100_000))
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = frames_THWC.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": _QUALITY}
        stream.codec_context.thread_count = 1  # with several, x264 writes different bytes about once in a thousand runs
        for frame_HWC in frames_THWC:
            container.mux(stream.encode(picture_of(frame_HWC, "yuv420p")))
        container.mux(stream.encode(None))


def _make_even(frames_THWC: Frames) -> Frames:
    _, height, width, _ = frames_THWC.shape
    return np.pad(frames_THWC, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")


__all__ = ["write_video"]
