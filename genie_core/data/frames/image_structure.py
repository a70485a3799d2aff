"""Parses the structure of PNG and JPEG files before any decoder sees them, and keeps the parts that a decoder needs.

A decoder unpacks what it is given: text, colour profiles and pixels that inflate a thousandfold, scans without end.
So sizes are known first, everything that does not change pixels is left out, and what is left is as large as the
header says. Not here: decoding, which is the work of `images`.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

MAX_PIXELS = 4096 * 4096
"""Largest image decoded, so that a small file cannot fill the memory."""

MAX_SIDE = 16384
"""Longest side decoded, pixels: decoders pad every row, so that narrow images cost many times their pixels."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"

# PNG (W3C recommendation, third edition).
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and distances between columns and rows, of each pass of an interlaced image."""
_FREE_CHUNKS, _BYTES_A_CHUNK = 256, 128
"""An image may have so many chunks, and one more for as many of its bytes: chunks cost time, however small."""

# JPEG (ITU-T T.81).
_SOI, _EOI, _SOS, _DNL = 0xD8, 0xD9, 0xDA, 0xDC
_FRAMES = {0xC0: "baseline", 0xC1: "extended", 0xC2: "progressive"}
_OTHER_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
_NEEDED = {*_FRAMES, _SOS, 0xC4, 0xDB, 0xDD, 0xEE}
"""Frame, scan, Huffman and quantization tables, restart interval, and Adobe's word on the colour space."""
_MAX_SEGMENTS, _MAX_SCANS = 4096, 100
_EXIF, _APP1, _ORIENTATION, _SHORT = b"Exif\0\0", 0xE1, 0x0112, 3
_MAX_EXIF, _MAX_TAGS = 2**18, 256
"""How far into a JPEG its EXIF is looked for, and how many tags of it are read."""
_MARKER_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")


class StructureError(Exception):
    """An image that is damaged, or of a kind that is not decoded; the text says in what."""


@dataclass(frozen=True)
class ImageSize:
    """Size in pixels, and the kind of file."""

    kind: Literal["png", "jpeg"]
    height: int
    width: int


def kind_of(data: bytes) -> Literal["png", "jpeg"] | None:
    """Return the image format that the bytes start as; None for anything else."""
    return "png" if data.startswith(_PNG) else "jpeg" if data.startswith(_JPEG) else None


def size_of(data: bytes) -> ImageSize:
    """Return the size of an image, from its header alone.

    Raises:
        StructureError: the header is missing or wrong, or says more than MAX_PIXELS pixels or a side past MAX_SIDE.

    """
    kind = kind_of(data)
    if kind is None:
        raise StructureError(f"{len(data)} bytes that are no PNG or JPEG")
    if kind == "png":
        header = _png_header(data)
        return _checked(ImageSize("png", header.height, header.width))
    for marker, body in _segments(data):
        if marker in _FRAMES:
            return _checked(_jpeg_size(body))
        if marker == _SOS:
            break
    raise StructureError("a damaged image: a JPEG without its size")


def essentials(data: bytes) -> bytes:
    """Return the same picture without anything that does not change its pixels, and no larger than its header says.

    Of a PNG this is header, palette, transparency and pixels, which are stored uncompressed: a decoder has nothing to
    unpack. Of a JPEG it is one frame, its tables and scans.

    Raises:
        StructureError: see `size_of`; or the image is damaged, or has more pixels than its header says.

    """
    size = size_of(data)
    return _png_essentials(data) if size.kind == "png" else _jpeg_essentials(data)


def orientation_of(data: bytes) -> int:
    """Return the orientation that an image's EXIF states, 1 (as stored) to 8; 1 if it states none, or nonsense.

    Raises StructureError if the image is damaged before that is known.
    """
    if data.startswith(_JPEG) and _EXIF in data[:_MAX_EXIF]:
        for marker, body in _segments(data):
            if marker == _APP1 and bytes(body[2 : 2 + len(_EXIF)]) == _EXIF:
                return _tiff_orientation(bytes(body[2 + len(_EXIF) :]))
            if marker == _SOS:
                break
    if data.startswith(_PNG) and b"eXIf" in data:
        for kind, chunk in _chunks(data):
            if kind == b"eXIf":
                return _tiff_orientation(bytes(chunk[8:-4]))
    return 1


def _tiff_orientation(tiff: bytes) -> int:
    """Read the tag Orientation of the first directory (TIFF 6.0)."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    try:
        if order is None:
            return 1
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for number in range(min(count, _MAX_TAGS)):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, start + 2 + 12 * number)
            if (tag, kind) == (_ORIENTATION, _SHORT):
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _checked(size: ImageSize) -> ImageSize:
    if not size.height or not size.width:
        raise StructureError("a damaged image: it has no pixels")
    if size.height * size.width > MAX_PIXELS or max(size.height, size.width) > MAX_SIDE:
        raise StructureError(
            f"an image of {size.height} x {size.width}, more than {MAX_PIXELS} pixels or {MAX_SIDE} on a side"
        )
    return size


@dataclass(frozen=True)
class _PngHeader:
    width: int
    height: int
    depth: int
    colour: int
    interlaced: bool

    @property
    def inflated(self) -> int:
        """Bytes of all rows, each with the byte that names its filter."""
        bits = self.depth * _CHANNELS[self.colour]
        passes = _ADAM7 if self.interlaced else ((0, 0, 1, 1),)
        sizes = [(-(-(self.width - x) // dx), -(-(self.height - y) // dy)) for x, y, dx, dy in passes]
        return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)


def _png_header(data: bytes) -> _PngHeader:
    start = len(_PNG)
    if len(data) < start + 25 or data[start : start + 8] != b"\0\0\0\x0dIHDR":
        raise StructureError("a damaged image: a PNG without its header")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack_from(">IIBBBBB", data, start + 8)
    if depth not in _DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise StructureError("a damaged image: a PNG whose header says what there is not")
    if depth > 8:
        raise StructureError(f"{depth} bits a channel, expected 8 bits a channel")
    return _PngHeader(width, height, depth, colour, bool(interlace))


def _png_essentials(data: bytes) -> bytes:
    header = _png_header(data)
    kept, packed = [_PNG], []
    for kind, chunk in _chunks(data):
        if kind == b"IDAT":
            packed.append(chunk[8:-4])
        elif kind in (b"IHDR", b"PLTE", b"tRNS"):
            if len(kept) > 3 or (kind == b"IHDR" and len(kept) > 1):
                raise StructureError(f"a damaged image: a PNG with {kind.decode()} twice")
            kept.append(bytes(chunk))
        elif kind != b"IEND" and kind[0] & 0x20 == 0:  # upper case: not to be ignored by who does not know it
            raise StructureError(f"a PNG with a part {kind!r} that no standard knows")
    stored = zlib.compress(_inflated(b"".join(packed), header.inflated), 0)
    return b"".join([*kept, *_chunk(b"IDAT", stored), *_chunk(b"IEND", b"")])


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Type and whole bytes of every chunk up to IEND; raises StructureError where one is cut off or damaged."""
    view, at = memoryview(data), len(_PNG)
    for _ in range(_FREE_CHUNKS + len(data) // _BYTES_A_CHUNK):
        if at + 12 > len(view):
            raise StructureError("a damaged image: a PNG that is cut off")
        length, kind = struct.unpack_from(">I4s", view, at)
        chunk = view[at : at + 12 + length]
        if len(chunk) < 12 + length or zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:]):
            raise StructureError(f"a damaged image: its part {kind!r} is cut off or has a wrong checksum")
        yield kind, chunk
        if kind == b"IEND":
            return
        at += 12 + length
    raise StructureError("a PNG in too many parts for its size")


def _inflated(packed: bytes, size: int) -> bytes:
    unpack = zlib.decompressobj()
    try:
        rows = unpack.decompress(packed, size)
        more = unpack.decompress(unpack.unconsumed_tail, 1)
    except zlib.error as error:
        raise StructureError(f"a damaged image: {error}") from None
    if more:
        raise StructureError("a damaged image: more pixels than its header says")
    if len(rows) < size or not unpack.eof:
        raise StructureError("a damaged image: a PNG that is cut off")
    return rows


def _chunk(kind: bytes, content: bytes) -> tuple[bytes, ...]:
    """Return the bytes of a chunk, in parts: the content is not copied."""
    return struct.pack(">I4s", len(content), kind), content, struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


def _jpeg_essentials(data: bytes) -> bytes:
    kept, frames, scans = [b"\xff\xd8"], 0, 0
    for marker, segment in _segments(data):
        frames += marker in _FRAMES
        scans += marker == _SOS
        if frames > 1 or scans > _MAX_SCANS:
            raise StructureError(f"a JPEG of more than one frame or {_MAX_SCANS} scans")
        if marker in _NEEDED:
            kept += [bytes((0xFF, marker)), bytes(segment)]
    if not scans:
        raise StructureError("a damaged image: a JPEG without pixels")
    return b"".join([*kept, b"\xff\xd9"])


def _segments(data: bytes) -> Iterator[tuple[int, memoryview]]:
    """Marker and bytes (length included, and after SOS what was coded) of every segment up to the end of the image."""
    view, at = memoryview(data), 2
    for _ in range(_MAX_SEGMENTS):
        while data[at : at + 2] == b"\xff\xff":  # filling
            at += 1
        if at + 2 > len(view):
            raise StructureError("a damaged image: a JPEG that is cut off")
        marker = view[at + 1]
        if view[at] != 0xFF or marker in (0x00, _SOI):
            raise StructureError("a damaged image: a JPEG with something else between its parts")
        if marker == _EOI:
            return
        if marker in _OTHER_FRAMES or marker == _DNL:
            wanted = f"expected {', '.join(_FRAMES.values())}"
            raise StructureError(f"a JPEG of a kind that cameras do not write (marker {marker:#x}), {wanted}")
        end = at + 2 + int.from_bytes(view[at + 2 : at + 4])
        if end < at + 4 or end > len(view):
            raise StructureError("a damaged image: a JPEG that is cut off")
        if marker == _SOS:
            found = _MARKER_AFTER_SCAN.search(data, end)
            end = len(view) if found is None else found.start()
        yield marker, view[at + 2 : end]
        at = end
    raise StructureError(f"a JPEG in more than {_MAX_SEGMENTS} parts")


def _jpeg_size(segment: memoryview) -> ImageSize:
    if len(segment) < 8:
        raise StructureError("a damaged image: a JPEG without its size")
    bits, height, width, components = struct.unpack_from(">BHHB", segment, 2)
    if bits != 8:
        raise StructureError(f"{bits} bits a channel, expected 8 bits a channel")
    if components not in (1, 3):
        raise StructureError(f"a JPEG in CMYK or of {components} channels, expected RGB or grey")
    return ImageSize("jpeg", height, width)


__all__ = [
    "MAX_PIXELS",
    "MAX_SIDE",
    "ImageSize",
    "StructureError",
    "essentials",
    "kind_of",
    "orientation_of",
    "size_of",
]
