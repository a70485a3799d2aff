"""What identifies a file that was read: its size and time, and where that costs little the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from genie_core.data.storage.file_cache import fresh_stamp
from genie_core.data.storage.location import RemotePath, SourcePath
from genie_core.errors import DatasetError

HASHED_BYTES = 256 * 1024 * 1024
"""Larger files are not hashed: 256 MiB take a fraction of a second, and labelling what they hold takes minutes."""


def size_and_time(path: SourcePath) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds; for a URL a number made of its tag or time.

    Raises DatasetError where the file is not there or cannot be reached.
    """
    if isinstance(path, RemotePath):
        size, version = fresh_stamp(path)
        return size, int.from_bytes(hashlib.sha256(version.encode()).digest()[:7]) if version else 0
    try:
        status = path.stat()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from error
    return status.st_size, status.st_mtime_ns


def cheap_sha256(path: SourcePath) -> str | None:
    """SHA-256 of the file's bytes, 64 hexadecimal digits; None where it is behind a URL or over `HASHED_BYTES`.

    Raises DatasetError where the file cannot be read.
    """
    if not isinstance(path, Path):
        return None
    try:
        with path.open("rb") as file:
            if path.stat().st_size > HASHED_BYTES:
                return None
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from error


__all__ = ["HASHED_BYTES", "cheap_sha256", "size_and_time"]
