"""Changes that a format's checksums, lengths and brackets survive, so that what lies behind them is reached."""

from __future__ import annotations

import json
import random
import struct
import zlib
from typing import Any

_ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63,
    10**30,
    -(10**30),
    0.5,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "..",
    "/",
    "\0",
    "\udc80",
    "²",
    "9" * 5000,
    "{0.__class__}",
    "{episode_index:0999999999d}",
    [],
    {},
    [[]],
    [0] * 50,
)
"""Values that parsers trip over."""

_DEEP = 100_000


def mutate_json(data: bytes, most: int, seed: int) -> bytes:
    """Change one value of a JSON text; the same bytes where they are none."""
    rng = random.Random(seed)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return data[:most]
    if rng.random() < 0.002:
        return (b"[" * _DEEP + b"]" * _DEEP)[:most]
    changed = json.dumps(_changed(document, rng)).encode()
    return changed if len(changed) <= most else data[:most]


def _changed(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {other: held for other, held in value.items() if other != key}
        if rng.random() < 0.05:
            return {**value, str(rng.choice(_ODD)): value[key]}
        return {**value, key: _changed(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        if rng.random() < 0.2:
            return [*value[:at], *value[at + 1 :]] if rng.random() < 0.5 else [*value, value[at]]
        return [*value[:at], _changed(value[at], rng), *value[at + 1 :]]
    if isinstance(value, int | float) and not isinstance(value, bool) and rng.random() < 0.5:
        return value + rng.choice((-1, 1, 7, 1000, 10**6, -(10**6)))
    return rng.choice(_ODD)


def with_checksums(png: bytes) -> bytes:
    """A PNG whose parts have the checksums that they should have; what is no PNG is left alone."""
    if not png.startswith(b"\x89PNG\r\n\x1a\n"):
        return png
    parts, at = [png[:8]], 8
    while at + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, at)
        if at + 12 + length > len(png):
            break
        body = png[at + 4 : at + 8 + length]
        parts += [png[at : at + 4], body, struct.pack(">I", zlib.crc32(body))]
        at += 12 + length
    return b"".join([*parts, png[at:]])


def with_tar_checksums(tar: bytes) -> bytes:
    """A tar file whose headers have the checksums that they should have, as far as their sizes lead."""
    changed, at = bytearray(tar), 0
    while at + 512 <= len(changed) and any(changed[at : at + 512]):
        header = changed[at : at + 512]
        header[148:156] = b" " * 8
        changed[at + 148 : at + 156] = b"%06o\0 " % sum(header)
        digits = bytes(header[124:136]).strip(b"\0 ")
        size = int(digits, 8) if digits.isdigit() and not set(digits) & set(b"89") else 0
        at += 512 + -(-size // 512) * 512
    return bytes(changed)
