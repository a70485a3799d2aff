"""What decoders may see of an image: known in size first, without what inflates or never ends, and the same pixels."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from genie_core.data.frames import images
from genie_core.data.frames.image_structure import StructureError, essentials, size_of
from genie_core.data.frames.images import decode_image, encode_image, image_size
from genie_core.errors import RequestError
from tests.factories.data import make_frames

FRAME = make_frames(1, 33, 47)[0]
PNG, JPEG = encode_image(FRAME, "png"), encode_image(FRAME, "jpeg")
MIB = 1 << 20


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, rows: bytes, *more: bytes, colour: int = 2, interlace: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, interlace)
    parts = (chunk(b"IHDR", header), *more, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def with_chunk(kind: bytes, content: bytes) -> bytes:
    """`PNG` with one chunk more, behind its header."""
    return PNG[:33] + chunk(kind, content) + PNG[33:]


def with_segment(marker: int, content: bytes) -> bytes:
    """`JPEG` with one segment more, at its beginning."""
    return JPEG[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content + JPEG[2:]


def deflated(mib: int) -> bytes:
    compress = zlib.compressobj(9)
    return b"".join(compress.compress(bytes(MIB)) for _ in range(mib)) + compress.flush()


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_nothing_is_unpacked_but_pixels(kind: bytes) -> None:
    content = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"k\0\0"}[kind] + deflated(64)
    bomb = with_chunk(kind, content)
    assert len(bomb) < 100_000
    assert essentials(bomb) == essentials(PNG)
    np.testing.assert_array_equal(decode_image(bomb), FRAME)


def test_pixels_inflate_to_what_the_header_says_and_no_further() -> None:
    small, rows = png(8, 8, b""), deflated(64)
    bomb = small[:33] + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    tracemalloc.start()
    try:
        with pytest.raises(RequestError, match="more pixels than its header says"):
            decode_image(bomb)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("height", "width"), [(4097, 4096), (1, 16385), (16_777_216, 1), (2**31 - 1, 2**31 - 1), (2**32 - 1, 1)]
)
def test_a_size_past_the_bounds_is_refused_by_the_header_alone(height: int, width: int) -> None:
    with pytest.raises(RequestError, match="more than 16777216 pixels or 16384 on a side"):
        image_size(png(width, height, b""))


def test_sizes_are_read_without_decoding() -> None:
    assert image_size(PNG[:33]) == image_size(JPEG[:-50]) == (33, 47)


def test_parts_that_change_no_pixel_are_left_out() -> None:
    for kind in (b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tEXt", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"prVt"):
        assert essentials(with_chunk(kind, bytes(20))) == essentials(PNG)
    for marker in (0xE0, 0xE1, 0xE2, 0xED, 0xFE):
        assert essentials(with_segment(marker, bytes(2000))) == essentials(JPEG)


def _palette() -> tuple[bytes, np.ndarray]:
    colours = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8)
    index = np.random.default_rng(1).integers(0, 256, (5, 7), np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in index)
    return png(7, 5, rows, chunk(b"PLTE", colours.tobytes()), colour=3), colours[index]


def _interlaced() -> tuple[bytes, np.ndarray]:
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    parts = [FRAME[y::dy, x::dx] for x, y, dx, dy in passes]
    rows = b"".join(b"\0" + row.tobytes() for part in parts for row in part)
    return png(47, 33, rows, interlace=1), FRAME


@pytest.mark.parametrize("make", [_palette, _interlaced])
def test_every_kind_of_pixels_arrives(make: Callable[[], tuple[bytes, np.ndarray]]) -> None:
    data, wanted = make()
    np.testing.assert_array_equal(decode_image(data), wanted)


def test_transparency_is_still_seen() -> None:
    data, _ = _palette()
    at = data.index(b"IDAT") - 4
    with pytest.raises(RequestError, match="transparency"):
        decode_image(data[:at] + chunk(b"tRNS", bytes(256)) + data[at:])


def test_a_jpeg_gives_the_pixels_that_the_whole_file_gives() -> None:
    noted = with_segment(0xE2, b"ICC_PROFILE\0" + bytes(5000))
    np.testing.assert_array_equal(decode_image(noted), decode_image(JPEG))
    whole = images.RgbConverter().rgb(images._decode("mjpeg", JPEG, "image"))
    np.testing.assert_array_equal(decode_image(JPEG), whole)


@pytest.mark.parametrize("data", [PNG, JPEG], ids=["png", "jpeg"])
def test_every_cut_is_refused(data: bytes) -> None:
    for length in range(0, len(data) - 1, 1 if len(data) < 3000 else 7):
        with pytest.raises(RequestError):
            decode_image(data[:length])


def test_a_damaged_part_is_refused_even_where_it_is_left_out() -> None:
    data = bytearray(with_chunk(b"tEXt", b"Comment\0hello"))
    data[45] ^= 1
    with pytest.raises(RequestError, match="checksum"):
        decode_image(bytes(data))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (PNG[:33] + chunk(b"IDAT", b"") * 1000 + PNG[33:], "too many parts"),
        (PNG[:33] + PNG[8:33] + PNG[33:], "IHDR twice"),
        (with_chunk(b"CgBI", bytes(4)), "CgBI"),
        (png(0, 8, b""), "no pixels"),
        (png(8, 8, b"", colour=1), "header says"),
        (JPEG[:2] + b"\xff\xfe\x00\x02" * 5000 + JPEG[2:], "4096 parts"),
        (JPEG[:-2] + JPEG[JPEG.index(b"\xff\xda") : -2] * 101 + JPEG[-2:], "100 scans"),
        (JPEG[:2] + JPEG[JPEG.index(b"\xff\xc0") :][:19] + JPEG[2:], "more than one frame"),
        (JPEG.replace(b"\xff\xc0", b"\xff\xc3"), "0xc3"),
        (JPEG.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"), "8 bits"),
    ],
)
def test_images_that_cost_more_than_they_show_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        decode_image(data)


def test_random_damage_never_ends_in_anything_but_an_error_or_a_picture() -> None:
    rng = np.random.default_rng(0)
    for data in (PNG, JPEG):
        for _ in range(300):
            damaged = bytearray(data)
            for at in rng.integers(2, len(damaged), 3):
                damaged[at] = rng.integers(256)
            try:
                size = size_of(bytes(damaged))
                assert size.height * size.width <= images.MAX_PIXELS
                decode_image(bytes(damaged))
            except (RequestError, StructureError):
                pass
