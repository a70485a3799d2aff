"""Fingerprint of a file that was read: size and time of change, and the SHA-256 of its bytes if cheap."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from genie_core.data.storage.file_cache import fresh_stamp
from genie_core.data.storage.location import RemotePath, SourcePath
from genie_core.errors import DatasetError

HASHED_BYTES = 256 * 1024 * 1024
"""Largest file hashed: 256 MiB take a fraction of a second, and labelling that much data takes minutes."""


STAMPED_FILES = 20_000
"""Number of files in a folder that are looked at: a quarter of a second."""

_OWN = re.compile(r"\.genie-(new|old)-|\.parts$|\.labelled(\.hdf5)?$")
"""Names of what is written here, which may lie among what is read."""


def size_and_time(path: SourcePath) -> tuple[int, int]:
    """Return size in bytes and time of the last change in nanoseconds; for a URL, a number made of its version.

    Of a folder it is the size of all files in it, and the time of the last change of any; where they are more than
    `STAMPED_FILES`, of the first so many and of the folders.

    Raises DatasetError if the file is missing or cannot be reached.
    """
    if isinstance(path, RemotePath):
        size, version = fresh_stamp(path)
        return size, int.from_bytes(hashlib.sha256(version.encode()).digest()[:7]) if version else 0
    try:
        if path.is_dir():
            return _size_and_time_of(path)
        status = path.stat()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from error
    return status.st_size, status.st_mtime_ns


def cheap_sha256(path: SourcePath) -> str | None:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits; None if behind a URL or over `HASHED_BYTES`.

    Of a folder it is over the name, size and bytes of every file in it, in the order of their names; None also where it
    holds more than `STAMPED_FILES`.

    Raises DatasetError if the file cannot be read.
    """
    if not isinstance(path, Path):
        return None
    try:
        if path.is_dir():
            return _sha256_of(path)
        with path.open("rb") as file:
            if path.stat().st_size > HASHED_BYTES:
                return None
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from error


def _size_and_time_of(folder: Path) -> tuple[int, int]:
    size, newest = 0, folder.stat().st_mtime_ns
    for number, path in enumerate(_files_in(folder)):
        status = path.stat() if number < STAMPED_FILES else path.parent.stat()
        size += status.st_size if number < STAMPED_FILES else 0
        newest = max(newest, status.st_mtime_ns)
        if number >= STAMPED_FILES:
            break
    return size, newest


def _sha256_of(folder: Path) -> str | None:
    files = list(islice(_files_in(folder), STAMPED_FILES + 1))
    sizes = [file.stat().st_size for file in files]
    if len(files) > STAMPED_FILES or sum(sizes) > HASHED_BYTES:
        return None
    digest = hashlib.sha256()
    for file, size in zip(files, sizes, strict=True):
        digest.update(f"{file.relative_to(folder).as_posix()} {size}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _files_in(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder, however deep, in a fixed order; not our own outputs, nor links to folders."""
    found = (entry for entry in os.scandir(folder) if not _OWN.search(entry.name))
    entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_in(Path(entry.path))
        elif entry.is_file():
            yield Path(entry.path)


__all__ = ["HASHED_BYTES", "STAMPED_FILES", "cheap_sha256", "size_and_time"]
