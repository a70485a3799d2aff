"""Local cache of remote files: whole copies, bounded in size, shared by all processes, never half written.

A copy is named after the URL, size and version, so a file that changes at its source is fetched again. The folder is
``GENIE_CACHE`` (default ``~/.cache/genie``); above ``GENIE_CACHE_GIB`` (default 20) the least recently used copies go.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from genie_core.data.storage.atomic import new_file
from genie_core.data.storage.location import RemotePath
from genie_core.data.storage.lock import waiting_lock
from genie_core.errors import DatasetError

_GIB = 1 << 30
_IN_USE_S = 60.0
"""Copies used this recently are kept: a process may be about to open one. An open copy survives its removal."""

_STAMPS = (
    "etag",
    "ETag",
    "md5Hash",
    "blob_id",
    "sha256",
    "mtime",
    "last_modified",
    "LastModified",
    "updated",
    "created",
)
"""Keys under which stores report a file's version; the first one present counts."""


def cached_copy(path: RemotePath) -> Path:
    """Return the local copy of `path`, fetching it if there is none yet.

    Raises:
        DatasetError: the file is missing or cannot be reached, its size differs from the store's, or the disk is full.

    """
    size, version = remote_stamp(path)
    name = hashlib.sha256(f"{path.url}\n{size}\n{version}".encode()).hexdigest()[:40]
    copy = cache_folder() / f"{name}{path.suffix}"
    with suppress(FileNotFoundError):
        os.utime(copy)
        return copy
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with waiting_lock(copy.with_name(f"{name}.lock")):
            if not copy.exists():
                _make_room(copy.parent, size)
                _fetch(path, copy, size)
            os.utime(copy)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be copied to {copy.parent}: {error.strerror or error}") from error
    return copy


@lru_cache(maxsize=65536)
def remote_stamp(path: RemotePath) -> tuple[int, str]:
    """Return size in bytes and version of a remote file, as the store reported when this process first asked."""
    return fresh_stamp(path)


def fresh_stamp(path: RemotePath) -> tuple[int, str]:
    """Return size in bytes and version of a remote file as the store reports now. Raises DatasetError if missing."""
    info = path.info()
    if info.get("type") == "directory":
        raise DatasetError(f"{path}: got a folder, expected a file")
    version = next((str(info[key]) for key in _STAMPS if info.get(key)), "")
    return int(info.get("size") or 0), version


def cache_folder() -> Path:
    """Return the folder of the cached copies."""
    given = os.environ.get("GENIE_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(given) if given else (Path(base) if base else Path.home() / ".cache") / "genie") / "files"


def cache_limit() -> int:
    """Return the most bytes of copies to keep. Raises DatasetError if ``GENIE_CACHE_GIB`` is not a number above 0."""
    given = os.environ.get("GENIE_CACHE_GIB", "20")
    try:
        limit = int(float(given) * _GIB)
    except (ValueError, OverflowError):
        limit = 0
    if limit <= 0:
        raise DatasetError(f"GENIE_CACHE_GIB: got {given}, expected a number of GiB above 0")
    return limit


def _fetch(path: RemotePath, copy: Path, size: int) -> None:
    with new_file(copy) as temporary:
        with path.reported():
            path.system.get_file(path.key, str(temporary))
        came = temporary.stat().st_size
        if size and came != size:
            raise DatasetError(f"{path}: got {came} bytes, expected {size}: the transfer was cut off, try again")


def _make_room(folder: Path, wanted: int) -> None:
    """Remove the least recently used copies until `wanted` more bytes fit under the limit."""
    files = []
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # another process may be removing it too
            status = file.stat()
            files.append((status.st_mtime, status.st_size, file))
    used, limit, newest = sum(size for _, size, _ in files), cache_limit(), time.time() - _IN_USE_S
    for changed, size, file in sorted(files, key=lambda entry: entry[0]):
        if used + wanted <= limit or changed > newest:
            return
        file.unlink(missing_ok=True)
        used -= size


__all__ = ["cache_folder", "cache_limit", "cached_copy", "fresh_stamp", "remote_stamp"]
