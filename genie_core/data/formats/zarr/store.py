"""Opens Zarr groups, folders or zip files, of version 2 or 3; the library's errors become DatasetError."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from genie_core.data.storage.extras import library
from genie_core.data.storage.location import SourcePath, local_file
from genie_core.errors import DatasetError, reason_of

EXTRA = "zarr"
MAX_CHUNK_BYTES = 512 * 1024 * 1024
"""Largest chunk read. A chunk is unpacked whole, however few of its rows are wanted."""

_MARKS = (".zgroup", ".zmetadata", "zarr.json")
_CODECS = "imagecodecs_"
_STRAY = "Object at .* is not recognized as a component of a Zarr hierarchy"
"""What the library warns of."""


def zarr_mark(path: SourcePath) -> str | None:
    """Return what identifies a folder or zip file as a Zarr group; None if it is none."""
    if path.suffix.lower() == ".zip":
        return "its name ends in .zarr.zip" if path.name.lower().endswith(".zarr.zip") else None
    found = next((mark for mark in _MARKS if (path / mark).is_file()), None)
    return None if found is None else f"it holds {found}"


@contextmanager
def open_group(path: SourcePath) -> Iterator[Any]:
    """Open a Zarr group for reading.

    Raises:
        DatasetError: the library is not installed; `path` is a folder behind a URL; or what is read is damaged, or
            packed in a way that needs another library.

    """
    zarr = library("zarr", EXTRA, path, "Zarr")
    storage = library("zarr.storage", EXTRA, path, "Zarr")
    is_zip = path.suffix.lower() == ".zip"
    if not is_zip and not isinstance(path, Path):
        raise DatasetError(f"{path}: a Zarr folder behind a URL is not read: copy it here first, or give a .zarr.zip")
    try:
        local = local_file(path)
        store = (
            storage.ZipStore(local, mode="r", read_only=True) if is_zip else storage.LocalStore(local, read_only=True)
        )
        with closing(store):
            warnings.filterwarnings("ignore", message=_STRAY)  # files beside arrays, which its users cannot help
            _know_image_codecs()
            yield zarr.open_group(store, mode="r")
    except DatasetError:
        raise
    except Exception as error:  # the library lets through those of every codec and store
        text = reason_of(error)
        if _CODECS in text:
            raise DatasetError(f"{path}: its pictures are packed by {_CODECS}*: pip install imagecodecs") from error
        raise DatasetError(f"{path}: not a Zarr group, or damaged: {text}") from error


def check_chunks(array: Any, where: str) -> None:
    """Raise DatasetError if a chunk of `array` is larger than MAX_CHUNK_BYTES."""
    shape = array.shards or array.chunks
    size = math.prod(shape) * array.dtype.itemsize
    if size > MAX_CHUNK_BYTES:
        raise DatasetError(f"{where}: got chunks {shape} of {size} bytes, expected {MAX_CHUNK_BYTES} or fewer")


def _know_image_codecs() -> None:
    """Let numcodecs know the codecs of UMI's pictures, where they are installed."""
    try:
        from imagecodecs.numcodecs import register_codecs
    except ImportError:
        return
    register_codecs(verbose=False)


__all__ = ["MAX_CHUNK_BYTES", "check_chunks", "open_group", "zarr_mark"]
