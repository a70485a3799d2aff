"""Fingerprint of a file that was read: size and time of change, and the SHA-256 of its bytes if cheap."""

from __future__ import annotations

import hashlib
from pathlib import Path

from genie_core.data.storage.file_cache import fresh_stamp
from genie_core.data.storage.location import RemotePath, SourcePath
from genie_core.errors import DatasetError

HASHED_BYTES = 256 * 1024 * 1024
"""Largest file hashed: 256 MiB take a fraction of a second, and labelling that much data takes minutes."""


def size_and_time(path: SourcePath) -> tuple[int, int]:
    """Return size in bytes and time of the last change in nanoseconds; for a URL, a number made of its version.

    Raises DatasetError if the file is missing or cannot be reached.
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
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits; None if behind a URL or over `HASHED_BYTES`.

    Raises DatasetError if the file cannot be read.
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
