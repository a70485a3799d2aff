"""PNG and JPEG images: decoding and encoding. Safe for untrusted bytes: no other format is tried."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from numpy.typing import ArrayLike, NDArray

from genie_core.data.frames.image_structure import (
    MAX_PIXELS,
    StructureError,
    essentials,
    kind_of,
    orientation_of,
    size_of,
)
from genie_core.data.frames.resize import Frames, conform_frames
from genie_core.data.frames.rgb import RgbConverter, Shown, picture_of
from genie_core.data.frames.turning import UPRIGHT, turn_of_orientation
from genie_core.errors import DatasetError, RequestError

ImageFormat = Literal["png", "jpeg"]

_CODECS = {"png": "png", "jpeg": "mjpeg"}


def read_image(path: Path) -> Frames:
    """Read a PNG or JPEG file as one frame, (1, H, W, 3) uint8.

    Raises:
        DatasetError: `path` cannot be read or is not such an image; see `decode_image`.

    """
    try:
        return decode_image(path.read_bytes(), "image")[None]
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from error
    except RequestError as error:
        raise DatasetError(f"{path}: {error}") from error


def is_image(data: bytes) -> bool:
    """Return whether bytes begin like a PNG or JPEG."""
    return kind_of(data) is not None


def image_size(data: bytes, field: str = "image") -> tuple[int, int]:
    """Return height and width of a PNG or JPEG file in pixels from its header alone, without decoding.

    Raises:
        RequestError: about `field`: other or damaged bytes, or more than MAX_PIXELS pixels.

    """
    try:
        size, orientation = size_of(data), orientation_of(data)
    except StructureError as error:
        raise _refused(field, error) from None
    return turn_of_orientation(orientation).size((size.height, size.width))


def decode_image(data: bytes, field: str = "image") -> NDArray[np.uint8]:
    """Decode the bytes of a PNG or JPEG file to (H, W, 3) uint8 RGB.

    It is turned as its EXIF asks for. Grey and palette images become RGB; an alpha channel is accepted if it is opaque
    everywhere. Text, colour profiles and everything else that does not affect pixels is never unpacked.

    Raises:
        RequestError: about `field`: other or damaged bytes, more than MAX_PIXELS pixels, more than 8 bits a channel,
            transparency, or CMYK colours.

    """
    try:
        turn = turn_of_orientation(orientation_of(data))
        kind, data = kind_of(data), essentials(data)
    except StructureError as error:
        raise _refused(field, error) from None
    assert kind is not None
    image_HWC = _rgb(_decode(_CODECS[kind], data, field), field)
    return image_HWC if turn == UPRIGHT else np.ascontiguousarray(turn.of(image_HWC[None])[0])


def shown_picture(data: bytes, converter: Shown, field: str = "image") -> VideoFrame:
    """Decode a PNG or JPEG to a picture for viewers, as `converter` makes them: as `decode_image`, but quicker.

    Raises what `decode_image` does.
    """
    if is_plain(data):
        try:
            kind, needed = kind_of(data), essentials(data)
        except StructureError as error:
            raise _refused(field, error) from None
        assert kind is not None
        picture = _decode(_CODECS[kind], needed, field)
        if not (picture.format.has_palette or any(of.is_alpha or of.bits > 8 for of in picture.format.components)):
            return converter.picture(picture)
    return converter.frame(decode_image(data, field))


def is_plain(data: bytes) -> bool:
    """Return whether bytes begin like a PNG or JPEG that is upright as it is stored."""
    try:
        return kind_of(data) is not None and orientation_of(data) == 1
    except StructureError:
        return False


def _rgb(picture: VideoFrame, field: str) -> NDArray[np.uint8]:
    components = picture.format.components
    if any(component.bits > 8 for component in components):
        raise RequestError(field, f"got {picture.format.name}, expected 8 bits a channel")
    has_alpha = any(component.is_alpha for component in components) or picture.format.has_palette
    if not has_alpha:
        return RgbConverter(centred=True).rgb(picture)
    image_HWC = RgbConverter().rgba(picture)
    if image_HWC[..., 3].min() < 255:
        raise RequestError(field, "got an image with transparency, expected an opaque one: blend it over a background")
    return image_HWC[..., :3]


def encode_image(frame_HWC: ArrayLike, image_format: ImageFormat = "png") -> bytes:
    """Encode one frame, (H, W, 3) uint8, as the bytes of a PNG (lossless) or JPEG (high quality, full colour) file.

    Raises:
        RequestError: `frame_HWC` is not (H, W, 3) uint8.

    """
    frames_1HWC = conform_frames(np.asarray(frame_HWC)[None], "frame")
    codec, pixel_format = ("png", "rgb24") if image_format == "png" else ("mjpeg", "yuvj444p")
    context = _context(codec, "w")
    context.height, context.width = frames_1HWC.shape[1:3]
    context.pix_fmt = pixel_format
    context.time_base = Fraction(1)
    # Paeth prediction is the default of newer versions of FFmpeg; older ones predict nothing and barely compress.
    context.options = {"pred": "paeth"} if image_format == "png" else {"qmin": "2", "qmax": "2"}
    picture = picture_of(frames_1HWC[0], pixel_format)
    return b"".join(bytes(packet) for packet in [*context.encode(picture), *context.encode(None)])


def _refused(field: str, error: StructureError) -> RequestError:
    wanted = "" if "expected" in str(error) else ", expected a PNG or JPEG of 8 bits a channel"
    return RequestError(field, f"got {error}{wanted}")


def _decode(codec: str, data: bytes, field: str) -> VideoFrame:
    context = _context(codec, "r")
    context.options = {"max_pixels": str(MAX_PIXELS), "err_detect": "crccheck+explode"}  # by default damage is hidden
    try:
        pictures = [*context.decode(Packet(data)), *context.decode(None)]
    except av.error.FFmpegError as error:
        raise RequestError(field, "got a damaged image") from error
    if len(pictures) != 1 or pictures[0].is_corrupt:
        raise RequestError(field, "got a damaged image")
    return pictures[0]


def _context(codec: str, mode: Literal["r", "w"]) -> VideoCodecContext:
    context = VideoCodecContext.create(codec, mode)
    assert isinstance(context, VideoCodecContext)
    context.thread_count = 1
    return context


__all__ = [
    "MAX_PIXELS",
    "ImageFormat",
    "decode_image",
    "encode_image",
    "image_size",
    "is_image",
    "is_plain",
    "read_image",
    "shown_picture",
]
