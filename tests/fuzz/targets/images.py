"""PNG and JPEG files: their structure, FFmpeg's decoders of what is left of them, and what lies beside them."""

from __future__ import annotations

import json
import random
from io import BytesIO
from pathlib import Path

import numpy as np

from genie_core.data import open_dataset
from genie_core.data.frames.images import decode_image, encode_image, image_size, read_image
from tests.factories.data import make_frames
from tests.factories.folders import write_pictures
from tests.fuzz.mutation import mutate_json, with_checksums
from tests.fuzz.server import mutated
from tests.fuzz.target import Target
from tests.fuzz.targets.rlds import may_fail, use

_BESIDE = ("timestamps.txt", "timestamps.json", "timestamps.npy", "actions.npy", "lang.txt")
"""Files that say something of the pictures in their folder."""

_PICTURES = 3


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


def _read_beside(data: bytes, folder: Path) -> None:
    """A folder of pictures, and beside them the file that the first byte names, which is the rest of the input."""
    path = folder / "episode"
    if not path.is_dir():
        write_pictures(path, _PICTURES)
    file = path / _BESIDE[data[0] % len(_BESIDE) if data else 0]
    file.write_bytes(data[1:])
    try:
        may_fail(lambda: use(open_dataset(path)))
        use(open_dataset(path, fps=10))
    finally:
        file.unlink()


def _beside(folder: Path) -> list[bytes]:
    times, arrays = [0.1 * number for number in range(_PICTURES)], []
    for values in (np.array(times), np.zeros((_PICTURES, 7), np.float32)):
        buffer = BytesIO()
        np.save(buffer, values)
        arrays.append(buffer.getvalue())
    texts = ["\n".join(map(str, times)).encode(), json.dumps(times).encode()]
    return [bytes((number,)) + file for number, file in enumerate([*texts, *arrays, b"lift the cube\n"])]


def _mutate_beside(data: bytes, most: int, seed: int) -> bytes:
    """A value of JSON; some bytes of what is none."""
    changed = mutate_json(data[1:], most - 1, seed)
    return data[:1] + (changed if changed != data[1:] else mutated(data[1:], random.Random(seed)))[: most - 1]


TARGETS = (
    Target("png", _decode_repaired, _pngs, inputs=250_000, memory_mib=320),
    Target("jpeg", _decode, _jpegs, inputs=150_000, memory_mib=320),
    Target("image-file", _read_file, lambda folder: [*_pngs(folder), *_jpegs(folder)], inputs=5_000, memory_mib=320),
    Target("image-folder", _read_beside, _beside, inputs=10_000, largest=2_000, mutate=_mutate_beside),
)
