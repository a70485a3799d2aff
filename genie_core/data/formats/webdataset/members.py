"""What a tar file holds, and where: names, places and sizes of its members. Reads headers alone, and few bytes each."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from genie_core.data.storage.git_lfs import lfs_pointer
from genie_core.data.storage.location import SourcePath, local_file
from genie_core.errors import DatasetError

MAX_MEMBERS = 200_000
"""Most members of one tar file: some 100 MB of names; shards of WebDataset have thousands."""

_HEADER_BYTES = 1024 * 1024
"""Longest piece of a header read at once: a long name or PAX's records may claim any length."""


@dataclass(frozen=True)
class Member:
    """A file in a tar file: its bytes are `start` .. `start` + `size` - 1."""

    path: PurePosixPath
    start: int
    size: int


@dataclass(frozen=True)
class _Headers:
    """An open file that is read in small pieces only: the standard library takes a header's word for its length."""

    file: BinaryIO

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _HEADER_BYTES:
            raise DatasetError(f"a header of {size} bytes, expected at most {_HEADER_BYTES}")
        return self.file.read(size)

    def seek(self, place: int) -> int:
        return self.file.seek(place)

    def tell(self) -> int:
        return self.file.tell()


def read_members(path: SourcePath) -> tuple[Member, ...]:
    """Return the files in a tar file, in its order.

    Raises:
        DatasetError: it is none, is compressed or cut off, holds two members of one name, or too many.

    """
    file = local_file(path)
    try:
        stat = file.stat()
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    if file.name.lower().endswith((".gz", ".tgz")):
        raise DatasetError(f"{path}: got a compressed tar file, in which videos cannot be sought: unpack it (gunzip)")
    try:
        return _read_members(file, stat.st_size, stat.st_mtime_ns)
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:  # ValueError: a number in a PAX record
        said = lfs_pointer(file) or f"not a tar file, or truncated or damaged: {error}"
        raise DatasetError(f"{path}: {said}") from error


@lru_cache(maxsize=64)
def _read_members(file: Path, size: int, mtime_ns: int) -> tuple[Member, ...]:
    """Read the headers; size and time of the file are part of the key, so that it is read again when it changes."""
    found: dict[PurePosixPath, Member] = {}
    end = 0
    with file.open("rb") as opened, tarfile.open(fileobj=_Headers(opened), mode="r:") as tar:  # type: ignore[call-overload]
        for number, member in enumerate(tar):
            tar.members = []  # it would keep all of them
            if number >= MAX_MEMBERS:
                raise DatasetError(f"got more than {MAX_MEMBERS} members, expected a shard of fewer")
            end = member.offset_data + (member.size if member.isreg() else 0)
            if end > size:
                raise DatasetError(f"truncated: {member.name!a} ends at byte {end}, the file has {size}")
            path = _clean(member.name)
            if not member.isreg() or member.issparse() or path.name.startswith("."):
                continue
            if path in found:
                raise DatasetError(f"got two members called {path}, expected names that differ")
            found[path] = Member(path, member.offset_data, member.size)
    return tuple(found.values())


def _clean(name: str) -> PurePosixPath:
    """Return a member's path as a name alone: relative, without steps out of its folder, and in UTF-8."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\0", "")
    return PurePosixPath(*(part for part in PurePosixPath(text).parts if part not in ("/", "//", "..")))


__all__ = ["MAX_MEMBERS", "Member", "read_members"]
