"""Git LFS pointers: the small text files that a clone holds in place of large ones until they are fetched."""

from __future__ import annotations

from pathlib import Path

_BEGINNING = b"version https://git-lfs.github.com/spec/"


def lfs_pointer(path: Path) -> str | None:
    """Return what to do about a file that is a Git LFS pointer, in words; None if it is none, or not there."""
    try:
        with path.open("rb") as file:
            is_pointer = file.read(len(_BEGINNING)) == _BEGINNING
    except OSError:
        return None
    if not is_pointer:
        return None
    return "a Git LFS pointer, not the file itself: run `git lfs install`, then `git lfs pull`, in its repository"


__all__ = ["lfs_pointer"]
