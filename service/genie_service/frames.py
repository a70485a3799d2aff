"""`Frames` messages to numpy, at the model's size, and back. No payload is read before its header has been checked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from genie_api.v1 import frames_pb2
from genie_core.data.frames.images import decode_image, encode_image, image_size
from genie_core.data.frames.resize import resize_frames
from genie_core.errors import RequestError

T = TypeVar("T")

CHANNELS = 3
MIB = 1 << 20

_AT_ONCE_BYTES = 4 * MIB
"""Frames that are decoded and resized in one go, so that clients take turns."""

_SIGNATURES: dict[int, tuple[str, bytes]] = {
    frames_pb2.FRAME_ENCODING_JPEG: ("JPEG", b"\xff\xd8\xff"),
    frames_pb2.FRAME_ENCODING_PNG: ("PNG", b"\x89PNG\r\n\x1a\n"),
}
"""How the image files of each encoding begin."""


@dataclass(frozen=True)
class FrameLimits:
    """What one `Frames` message may hold: sides in pixels, number of frames, bytes once decoded."""

    min_side: int
    max_side: int
    max_frames: int
    max_decoded_bytes: int


Run = Callable[[Callable[[], T]], Awaitable[T]]
"""Runs a function off the event loop, when its turn comes."""


def decoded_bytes(message: frames_pb2.Frames) -> int:
    """Return the bytes of a message's frames once decoded, at the size they came in."""
    return message.count * message.height * message.width * message.channels


def needs_decoding(message: frames_pb2.Frames, size: tuple[int, int]) -> bool:
    """Return whether a message's frames are anything but raw ones of that size."""
    return message.encoding != frames_pb2.FRAME_ENCODING_RAW or (message.height, message.width) != size


def decoding_parts(message: frames_pb2.Frames) -> int:
    """Number of pieces in which `decode_frames` decodes or resizes a message's frames."""
    return -(-message.count // _at_once(message))


def _at_once(message: frames_pb2.Frames) -> int:
    return max(1, _AT_ONCE_BYTES // (message.height * message.width * CHANNELS))


async def decode_frames(
    message: frames_pb2.Frames, field: str, limits: FrameLimits, size: tuple[int, int], run: Run[None]
) -> NDArray[np.uint8]:
    """Frames (T, height, width, 3) of a message, T >= 1, resized to `size`: exactly, so that it changes no label.

    Images are decoded and frames resized a few at a time by `run`, so that only those are there at the size they came
    in. Raw frames of the wanted size are a read-only view. `field` is where the message sits in its request, e.g.
    ``frames`` or ``start.prompt``. Raises RequestError with the wrong field's full path.
    """
    check_frames(message, field, limits)
    if message.encoding == frames_pb2.FRAME_ENCODING_RAW:
        came_THWC = _raw_frames(message, field)
        if not needs_decoding(message, size):
            return came_THWC
        part = partial(_resized, came_THWC, size)
    else:
        _check_images(message, field)
        part = partial(_images, message, field, size)
    frames_THWC = np.empty((message.count, *size, CHANNELS), np.uint8)
    at_once = _at_once(message)
    for begin in range(0, message.count, at_once):
        chosen = range(begin, min(begin + at_once, message.count))
        await run(partial(_fill, frames_THWC, chosen, part))
    return frames_THWC


def _fill(frames_THWC: NDArray[np.uint8], chosen: range, part: Callable[[range], NDArray[np.uint8]]) -> None:
    frames_THWC[chosen.start : chosen.stop] = part(chosen)


def _resized(frames_THWC: NDArray[np.uint8], size: tuple[int, int], chosen: range) -> NDArray[np.uint8]:
    return resize_frames(frames_THWC[chosen.start : chosen.stop], *size)


async def encode_frames(
    frames_THWC: NDArray[np.uint8], encoding: frames_pb2.FrameEncoding.ValueType, run: Run[list[bytes]]
) -> frames_pb2.Frames:
    """Return the message of frames (T, H, W, 3), RAW or PNG (compressed by `run`)."""
    count, height, width, channels = frames_THWC.shape
    message = frames_pb2.Frames(
        encoding=encoding,
        data_type=frames_pb2.DATA_TYPE_UINT8,
        count=count,
        height=height,
        width=width,
        channels=channels,
    )
    if encoding == frames_pb2.FRAME_ENCODING_RAW:
        message.raw = frames_THWC.tobytes()
    else:
        message.images.extend(await run(lambda: [encode_image(frame, "png") for frame in frames_THWC]))
    return message


def check_frames(message: frames_pb2.Frames, field: str, limits: FrameLimits) -> None:
    """Raise RequestError unless a message's header is one of frames within the limits. Payloads are not inspected."""
    if message.encoding not in (frames_pb2.FRAME_ENCODING_RAW, *_SIGNATURES):
        came = _enum_name(frames_pb2.FrameEncoding, message.encoding)
        raise RequestError(f"{field}.encoding", f"got {came}, expected FRAME_ENCODING_RAW, _JPEG or _PNG")
    if message.channels != CHANNELS:
        raise RequestError(f"{field}.channels", f"got {message.channels}, expected 3 (RGB)")
    if not 1 <= message.count <= limits.max_frames:
        raise RequestError(f"{field}.count", f"got {message.count} frames, expected 1 to {limits.max_frames}")
    for side in ("height", "width"):
        pixels = getattr(message, side)
        if not limits.min_side <= pixels <= limits.max_side:
            wanted = f"expected {limits.min_side} to {limits.max_side}"
            raise RequestError(f"{field}.{side}", f"got {pixels} pixels, {wanted}")
    size = decoded_bytes(message)
    if size > limits.max_decoded_bytes:
        came = f"got {message.count} frames of {message.height} x {message.width}, {size / MIB:.1f} MiB of pixels"
        raise RequestError(f"{field}.count", f"{came}; expected at most {limits.max_decoded_bytes / MIB:g} MiB")


def _raw_frames(message: frames_pb2.Frames, field: str) -> NDArray[np.uint8]:
    if message.data_type != frames_pb2.DATA_TYPE_UINT8:
        came = _enum_name(frames_pb2.DataType, message.data_type)
        raise RequestError(f"{field}.data_type", f"got {came}, expected DATA_TYPE_UINT8")
    if message.images:
        raise RequestError(f"{field}.images", f"got {len(message.images)} with FRAME_ENCODING_RAW, expected none")
    shape = (message.count, message.height, message.width, message.channels)
    wanted = decoded_bytes(message)
    if len(message.raw) != wanted:
        product = " x ".join(map(str, shape))
        raise RequestError(f"{field}.raw", f"got {len(message.raw)} bytes, expected {wanted} = {product}")
    return np.frombuffer(message.raw, np.uint8).reshape(shape)


def _check_images(message: frames_pb2.Frames, field: str) -> None:
    if message.raw:
        raise RequestError(f"{field}.raw", f"got {len(message.raw)} bytes with images, expected none")
    if len(message.images) != message.count:
        raise RequestError(f"{field}.images", f"got {len(message.images)}, expected {message.count} as in count")


def _images(message: frames_pb2.Frames, field: str, size: tuple[int, int], chosen: range) -> NDArray[np.uint8]:
    parts = [_image(message.images[i], message, f"{field}.images[{i}]")[None] for i in chosen]
    return np.concatenate([resize_frames(part, *size) for part in parts])


def _image(data: bytes, message: frames_pb2.Frames, field: str) -> NDArray[np.uint8]:
    name, signature = _SIGNATURES[message.encoding]
    if not data.startswith(signature):
        raise RequestError(field, f"got {len(data)} bytes that are no {name} file, expected one as encoding says")
    height, width = image_size(data, field)
    if (height, width) != (message.height, message.width):
        wanted = f"expected {message.height} x {message.width} as in height and width"
        raise RequestError(field, f"got {height} x {width} pixels, {wanted}")
    return decode_image(data, field)  # no larger than what was asked for and allowed


def _enum_name(enum: type[frames_pb2.FrameEncoding] | type[frames_pb2.DataType], number: int) -> str:
    return enum.Name(number) if number in enum.values() else str(number)  # type: ignore[arg-type]


def scratch_bytes(message: frames_pb2.Frames) -> int:
    """Return the peak bytes of decoding a message's frames: those in hand, unpacked, decoded and converted."""
    frame = message.height * message.width * CHANNELS
    return 4 * max(frame, min(_AT_ONCE_BYTES, message.count * frame))


__all__ = [
    "FrameLimits",
    "Run",
    "check_frames",
    "decode_frames",
    "decoded_bytes",
    "decoding_parts",
    "encode_frames",
    "needs_decoding",
    "scratch_bytes",
]
