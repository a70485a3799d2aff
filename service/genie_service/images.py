"""What a JPEG or PNG file says about itself, read from its header, so that nothing is decoded that would not be taken.

Decoding is `genie_core.data.video_write.decode_image`; this only looks.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

ImageFormat = Literal["jpeg", "png"]

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
"""Channels by colour type: grey, RGB, palette (of RGB), grey with alpha, RGB with alpha."""

_JPEG_SIGNATURE = b"\xff\xd8\xff"
_JPEG_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE_MARKERS = frozenset({0x01, 0xFF, *range(0xD0, 0xD9)})
"""Markers without a length: fill bytes, restarts and the like."""


@dataclass(frozen=True)
class ImageHeader:
    """Size in pixels, channels (3 is RGB) and bits a channel."""

    height: int
    width: int
    channels: int
    bits: int


def read_header(data: bytes, image_format: ImageFormat) -> ImageHeader:
    """Header of the image file `data`. Raises ValueError, phrased for the user, if it is not such a file or cut short."""
    try:
        return _png_header(data) if image_format == "png" else _jpeg_header(data)
    except (struct.error, IndexError):
        raise ValueError(f"the {image_format.upper()} file is cut short ({len(data)} bytes)") from None


def _png_header(data: bytes) -> ImageHeader:
    if not data.startswith(_PNG_SIGNATURE):
        raise ValueError(f"not a PNG file (it begins with {data[:8].hex(' ') or 'nothing'})")
    kind, width, height, bits, colour = struct.unpack_from(">4sIIBB", data, 12)
    if kind != b"IHDR" or colour not in _PNG_CHANNELS:
        raise ValueError("not a PNG file (its header chunk is malformed)")
    # A palette's entries are 8-bit RGB, however few bits index it.
    return ImageHeader(height, width, _PNG_CHANNELS[colour], 8 if colour == 3 else bits)


def _jpeg_header(data: bytes) -> ImageHeader:
    if not data.startswith(_JPEG_SIGNATURE):
        raise ValueError(f"not a JPEG file (it begins with {data[:8].hex(' ') or 'nothing'})")
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _JPEG_FRAME_HEADERS:
            bits, height, width, channels = struct.unpack_from(">BHHB", data, at + 4)
            return ImageHeader(height, width, channels, bits)
        at += 1 if marker == 0xFF else 2 if marker in _JPEG_BARE_MARKERS else 2 + _length(data, at + 2)
    raise ValueError("not a JPEG file (no frame header before the pixels)")


def _length(data: bytes, at: int) -> int:
    return int(struct.unpack_from(">H", data, at)[0])


__all__ = ["ImageFormat", "ImageHeader", "read_header"]
