"""`Frames` messages to numpy and back. Nothing is read from a payload before its header has been checked against it.

Resizing to the model's size is not done here: it belongs to the Labeller and the Simulator.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_api.v1 import frames_pb2
from genie_core.data.frames.images import decode_image, encode_image, image_size
from genie_core.errors import RequestError

CHANNELS = 3
MIB = 1 << 20

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


async def decode_frames(message: frames_pb2.Frames, field: str, limits: FrameLimits) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) of a message, T >= 1; raw ones are a read-only view, images are decoded off the event loop.

    `field` is where the message sits in its request, e.g. ``frames`` or ``start.prompt``. Raises RequestError with the
    wrong field's full path.
    """
    _check_header(message, field, limits)
    if message.encoding == frames_pb2.FRAME_ENCODING_RAW:
        return _raw_frames(message, field)
    return await asyncio.to_thread(_image_frames, message, field)


async def encode_frames(
    frames_THWC: NDArray[np.uint8], encoding: frames_pb2.FrameEncoding.ValueType
) -> frames_pb2.Frames:
    """Message of frames (T, H, W, 3), RAW or PNG (compressed off the event loop)."""
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
        images = await asyncio.to_thread(lambda: [encode_image(frame, "png") for frame in frames_THWC])
        message.images.extend(images)
    return message


def _check_header(message: frames_pb2.Frames, field: str, limits: FrameLimits) -> None:
    if message.encoding not in (frames_pb2.FRAME_ENCODING_RAW, *_SIGNATURES):
        came = _enum_name(frames_pb2.FrameEncoding, message.encoding)
        raise RequestError(f"{field}.encoding", f"got {came}, wanted FRAME_ENCODING_RAW, _JPEG or _PNG")
    if message.channels != CHANNELS:
        raise RequestError(f"{field}.channels", f"got {message.channels}, wanted 3 (RGB)")
    if not 1 <= message.count <= limits.max_frames:
        raise RequestError(f"{field}.count", f"got {message.count} frames, wanted 1 to {limits.max_frames}")
    for side in ("height", "width"):
        pixels = getattr(message, side)
        if not limits.min_side <= pixels <= limits.max_side:
            wanted = f"wanted {limits.min_side} to {limits.max_side}"
            raise RequestError(f"{field}.{side}", f"got {pixels} pixels, {wanted}")
    size = _decoded_size(message)
    if size > limits.max_decoded_bytes:
        came = f"got {message.count} frames of {message.height} x {message.width}, {size / MIB:.1f} MiB of pixels"
        raise RequestError(f"{field}.count", f"{came}; wanted at most {limits.max_decoded_bytes / MIB:g} MiB a message")


def _decoded_size(message: frames_pb2.Frames) -> int:
    return message.count * message.height * message.width * message.channels


def _raw_frames(message: frames_pb2.Frames, field: str) -> NDArray[np.uint8]:
    if message.data_type != frames_pb2.DATA_TYPE_UINT8:
        came = _enum_name(frames_pb2.DataType, message.data_type)
        raise RequestError(f"{field}.data_type", f"got {came}, wanted DATA_TYPE_UINT8")
    if message.images:
        raise RequestError(f"{field}.images", f"got {len(message.images)} with FRAME_ENCODING_RAW, wanted none")
    shape = (message.count, message.height, message.width, message.channels)
    wanted = _decoded_size(message)
    if len(message.raw) != wanted:
        product = " x ".join(map(str, shape))
        raise RequestError(f"{field}.raw", f"got {len(message.raw)} bytes, wanted {wanted} = {product}")
    return np.frombuffer(message.raw, np.uint8).reshape(shape)


def _image_frames(message: frames_pb2.Frames, field: str) -> NDArray[np.uint8]:
    if message.raw:
        raise RequestError(f"{field}.raw", f"got {len(message.raw)} bytes with images, wanted none")
    if len(message.images) != message.count:
        raise RequestError(f"{field}.images", f"got {len(message.images)}, wanted {message.count} as in count")
    frames_THWC = np.empty((message.count, message.height, message.width, CHANNELS), np.uint8)
    for i, data in enumerate(message.images):
        frames_THWC[i] = _image(data, message, f"{field}.images[{i}]")
    return frames_THWC


def _image(data: bytes, message: frames_pb2.Frames, field: str) -> NDArray[np.uint8]:
    name, signature = _SIGNATURES[message.encoding]
    if not data.startswith(signature):
        raise RequestError(field, f"got {len(data)} bytes that are no {name} file, wanted one as encoding says")
    height, width = image_size(data, field)
    if (height, width) != (message.height, message.width):
        wanted = f"wanted {message.height} x {message.width} as in height and width"
        raise RequestError(field, f"got {height} x {width} pixels, {wanted}")
    return decode_image(data, field)  # no larger than what was asked for and allowed


def _enum_name(enum: type[frames_pb2.FrameEncoding] | type[frames_pb2.DataType], number: int) -> str:
    return enum.Name(number) if number in enum.values() else str(number)  # type: ignore[arg-type]


__all__ = ["FrameLimits", "decode_frames", "encode_frames"]
