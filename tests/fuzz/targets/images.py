"""PNG and JPEG files: their structure, and FFmpeg's decoders of what is left of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genie_core.data.frames.images import decode_image, encode_image, image_size, read_image
from tests.factories.data import make_frames
from tests.fuzz.mutation import with_checksums
from tests.fuzz.target import Target


def _decode(data: bytes, folder: Path) -> None:
    height, width = image_size(data)
    picture = decode_image(data)
    assert picture.shape == (height, width, 3)
    assert picture.dtype == np.uint8


def _decode_repaired(data: bytes, folder: Path) -> None:
    """Half of the inputs with the checksums that they should have: else nothing behind them is ever reached."""
    _decode(data if data[-1:] < b"\x80" else with_checksums(data), folder)


def _read_file(data: bytes, folder: Path) -> None:
    path = folder / "frame.png"
    path.write_bytes(data)
    read_image(path)


def _pngs(folder: Path) -> list[bytes]:
    frame = make_frames(1, 9, 11)[0]
    # Grey, palette with transparency, grey with alpha and interlaced ones come from the coverage that they open.
    return [encode_image(frame), encode_image(frame[:1, :1])]


def _jpegs(folder: Path) -> list[bytes]:
    frame = make_frames(1, 17, 24)[0]
    return [encode_image(frame, "jpeg"), encode_image(frame[:8, :8], "jpeg")]


TARGETS = (
    Target("png", _decode_repaired, _pngs, inputs=250_000, memory_mib=320),
    Target("jpeg", _decode, _jpegs, inputs=150_000, memory_mib=320),
    Target("image-file", _read_file, lambda folder: [*_pngs(folder), *_jpegs(folder)], inputs=5_000, memory_mib=320),
)
