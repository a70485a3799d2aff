"""Bundles and alignments: their JSON, and the headers of .safetensors."""

from __future__ import annotations

import json
import shutil
import struct
from functools import lru_cache
from pathlib import Path

from genie_core.alignment import list_alignments, load_alignment, save_alignment
from genie_core.alignment.store import alignment_path
from genie_core.models.bundle import BundleInfo, load_bundle, read_bundle_info
from tests.factories.alignment import make_alignment
from tests.factories.bundles import make_nano_bundle
from tests.fuzz.mutation import mutate_json
from tests.fuzz.target import Target
from tests.fuzz.targets.rlds import may_fail

_TEXTS = ("config.json", "card.md")
_WEIGHTS = ("lam.safetensors", "dynamics.safetensors", "tokenizer.safetensors")


def _bundle(folder: Path) -> Path:
    path = folder / "nano"
    return path if path.is_dir() else make_nano_bundle(path)


def _replaced(path: Path, content: bytes) -> bytes:
    """What was there before."""
    before = path.read_bytes()
    path.write_bytes(content)
    return before


def _read_texts(data: bytes, folder: Path) -> None:
    bundle = _bundle(folder)
    file = bundle / _TEXTS[data[0] % 2 if data else 0]
    before = _replaced(file, data[1:])
    try:
        read_bundle_info(bundle)
    finally:
        file.write_bytes(before)


def _mutate_text(data: bytes, most: int, seed: int) -> bytes:
    return data[:1] + mutate_json(data[1:], most - 1, seed)


def _split(file: bytes) -> tuple[bytes, bytes]:
    """Header and tensors of a .safetensors file."""
    (size,) = struct.unpack_from("<Q", file)
    return file[8 : 8 + size], file[8 + size :]


def _with_header(file: bytes, header: bytes, length: int | None = None) -> bytes:
    """The same tensors behind another header."""
    return struct.pack("<Q", len(header) if length is None else length) + header + _split(file)[1]


def _read_weights(data: bytes, folder: Path) -> None:
    """The first byte says which file, the second whether the next eight are the header's length."""
    bundle, kept = _bundle(folder), folder / "kept"
    if not kept.is_dir():
        shutil.copytree(bundle, kept)
    name = _WEIGHTS[data[0] % len(_WEIGHTS)] if data else _WEIGHTS[0]
    whole = (kept / name).read_bytes()
    length = int.from_bytes(data[2:10], "little") if data[1:2] == b"\1" else None
    (bundle / name).write_bytes(_with_header(whole, data[2:] if length is None else data[10:], length))
    try:
        read_bundle_info(bundle)
        load_bundle(bundle)
    finally:
        (bundle / name).write_bytes(whole)


def _mutate_weights(data: bytes, most: int, seed: int) -> bytes:
    return data[:2] + mutate_json(data[2:], most - 2, seed)


@lru_cache(maxsize=1)
def _aligned(folder: Path) -> tuple[BundleInfo, Path, bytes]:
    """A bundle, which no input changes, and the path and content of an alignment beside it."""
    info = read_bundle_info(_bundle(folder))
    path = alignment_path(info.path, "a")
    save_alignment(path, make_alignment(info, observe=True), overwrite=True)
    return info, path, path.read_bytes()


def _read_alignment(data: bytes, folder: Path) -> None:
    info, path, whole = _aligned(folder)
    path.write_bytes(data[1:] if data[:1] == b"\1" else _with_header(whole, data[1:]))
    list_alignments(info)
    may_fail(lambda: load_alignment(path, info))


def _mutate_alignment(data: bytes, most: int, seed: int) -> bytes:
    """A value of the header, or of the description that it holds as a text."""
    if seed % 2 or data[:1] == b"\1":
        return data[:1] + mutate_json(data[1:], most - 1, seed)
    try:
        header = json.loads(data[1:])
        inner = header["__metadata__"]["genie_alignment"].encode()
        header["__metadata__"]["genie_alignment"] = mutate_json(inner, most, seed).decode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return data
    return (data[:1] + json.dumps(header).encode())[:most]


def _texts(folder: Path) -> list[bytes]:
    bundle = _bundle(folder)
    motion = Path(__file__).parents[3] / "genie_core/bundles/motion/config.json"
    return [
        *(bytes((number,)) + (bundle / name).read_bytes() for number, name in enumerate(_TEXTS)),
        b"\0" + motion.read_bytes(),
    ]


def _headers(folder: Path) -> list[bytes]:
    bundle = _bundle(folder)
    headers = [_split((bundle / name).read_bytes())[0] for name in _WEIGHTS]
    return [
        *(bytes((number, 0)) + header for number, header in enumerate(headers)),
        b"\0\1" + struct.pack("<Q", len(headers[0])) + headers[0],
    ]


def _alignments(folder: Path) -> list[bytes]:
    _, _, whole = _aligned(folder)
    return [b"\0" + _split(whole)[0], b"\1" + whole[:4000]]


TARGETS = (
    Target("bundle-text", _read_texts, _texts, inputs=10_000, largest=200_100, mutate=_mutate_text, memory_mib=128),
    Target("bundle-weights", _read_weights, _headers, 10_000, largest=20_000, mutate=_mutate_weights, memory_mib=128),
    Target("alignment", _read_alignment, _alignments, inputs=20_000, largest=20_000, mutate=_mutate_alignment),
)
