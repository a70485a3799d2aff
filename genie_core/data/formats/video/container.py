"""Opens video files through FFmpeg: containers alone, and its errors as DatasetError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from genie_core.data.frames.image_structure import MAX_PIXELS
from genie_core.data.storage.git_lfs import lfs_pointer
from genie_core.data.storage.location import SourcePath, local_file
from genie_core.errors import DatasetError

_CONTAINERS = "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,avi,gif,mpegts,mpeg,flv,asf,ogg"
"""Containers that are opened, whatever a file is named. FFmpeg knows play lists too, which name other files to read."""

_DECODER = {"err_detect": "crccheck+explode", "max_pixels": str(MAX_PIXELS)}
"""Options of decoders: by default some fill in what is damaged, and say nothing; and any frame may be of any size."""


@dataclass(frozen=True)
class Window:
    """Where a file lies within another, uncompressed: bytes `start` .. `stop` - 1; `name`: what it is called there."""

    name: str
    start: int
    stop: int


def open_container(path: SourcePath, window: Window | None = None) -> InputContainer:
    """Open a file, or a part of one, for reading. Raises FFmpegError if it is not one of the containers above."""
    # FFmpeg decodes a frame to learn about the stream, of whatever size unless it is told here too.
    allowed = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS, "max_pixels": _DECODER["max_pixels"]}
    name = str(local_file(path))
    if window is not None:
        name = f"subfile,,start,{window.start},end,{window.stop},,:{name}"
        allowed["protocol_whitelist"] = "file,subfile"
    return av.open(name, metadata_errors="ignore", options=allowed)


@contextmanager
def open_video(path: SourcePath, window: Window | None = None) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file, or a part, and its best video stream; FFmpeg's errors, also in the block, become DatasetError."""
    where = str(path) if window is None else f"{path}: {window.name}"
    try:
        with open_container(path, window) as container:
            stream = container.streams.best("video")
            if not isinstance(stream, VideoStream):
                raise DatasetError(f"{where}: the file holds no video stream")
            if stream.codec_context is None:
                raise DatasetError(f"{where}: its video is in a codec that cannot be decoded here")
            if stream.width * stream.height > MAX_PIXELS:
                came = f"got frames of {stream.width} x {stream.height} pixels"
                raise DatasetError(f"{where}: {came}, expected at most {MAX_PIXELS} pixels: make it smaller")
            stream.thread_type = "AUTO"
            stream.codec_context.options = _DECODER
            yield container, stream
    except av.error.FFmpegError as error:
        raise DatasetError(f"{where}: {_reason(local_file(path), window, error)}") from error


def is_cover(stream: VideoStream) -> bool:
    """Return whether a stream is a still picture that stands for the file, not a video."""
    return bool(stream.disposition & Disposition.attached_pic)


def _reason(path: Path, window: Window | None, error: av.error.FFmpegError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    pointer = lfs_pointer(path)
    if pointer:
        return pointer
    if (path.stat().st_size if window is None else window.stop - window.start) == 0:
        return "not a video: the file is empty"
    return f"not a video, or truncated or damaged: {error.strerror or error}"


__all__ = ["Window", "is_cover", "open_container", "open_video"]
