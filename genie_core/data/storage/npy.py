"""Reads NumPy's own files from untrusted sources: no pickle, and no more memory than the file has bytes."""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from genie_core.data.storage.location import SourcePath, local_file
from genie_core.errors import DatasetError

MAX_BYTES = 1 << 30
"""Largest array read: 1 GiB."""

_SUFFIX = ".npy"

_DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    tokenize.TokenError,  # a header of NumPy's is a line of Python
    SyntaxError,
    ValueError,
    TypeError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    EOFError,
)
"""What the standard library and NumPy raise of damaged files, depending on where the damage is."""


def read_npy(path: SourcePath) -> NDArray[Any]:
    """Return the array of a ``.npy`` file. Raises DatasetError if it is damaged, holds objects or is over MAX_BYTES."""
    with _reported(path), local_file(path).open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        return _read(file, size, str(path))


def read_npy_within(path: SourcePath, start: int, size: int, where: str) -> NDArray[Any]:
    """Return the array of a ``.npy`` file that lies in another one, from byte `start` on; see `read_npy`."""
    with _reported(where), local_file(path).open("rb") as file:
        file.seek(start)
        return _read(file, size, where)


class Archive:
    """An ``.npz`` file, open; members are read one at a time."""

    def __init__(self, archive: zipfile.ZipFile, path: SourcePath) -> None:
        self._archive = archive
        self._path = path

    @property
    def keys(self) -> list[str]:
        """Names of the arrays, in the order of the file."""
        return [name.removesuffix(_SUFFIX) for name in self._archive.namelist() if name.endswith(_SUFFIX)]

    def header(self, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Return shape and dtype of the array `key` without reading it."""
        with self._archive.open(key + _SUFFIX) as member:
            shape, _, dtype = _header(member)
            return shape, dtype

    def array(self, key: str) -> NDArray[Any] | None:
        """Return the array `key`; None if there is none. Raises DatasetError; see `read_npy`."""
        try:
            info = self._archive.getinfo(key + _SUFFIX)
        except KeyError:
            return None
        with self._archive.open(info) as member:
            return _read(member, info.file_size, f"{self._path}: {key}")


@contextmanager
def open_npz(path: SourcePath) -> Iterator[Archive]:
    """Open an ``.npz`` file; errors, also in the block, become DatasetError."""
    with _reported(path), zipfile.ZipFile(local_file(path)) as archive:
        yield Archive(archive, path)


def _read(file: IO[bytes], size: int, where: str) -> NDArray[Any]:
    """Read an array from a file of at most `size` bytes."""
    shape, by_columns, dtype = _header(file)
    if dtype.hasobject:
        raise DatasetError(f"{where}: holds Python objects in pickle, which runs code when read, expected numbers")
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > min(size, MAX_BYTES):
        raise DatasetError(f"{where}: got an array {shape} of {dtype}, {wanted} bytes, in {size} bytes")
    data = file.read(wanted)
    if len(data) < wanted:
        raise DatasetError(f"{where}: the file is truncated: {len(data)} bytes, expected {wanted}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if by_columns else "C")


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, by_columns, dtype = read(file)
    return shape, by_columns, dtype


@contextmanager
def _reported(path: SourcePath | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    except _DAMAGE as error:
        raise DatasetError(f"{path}: not a NumPy file, or damaged: {error}") from error


__all__ = ["MAX_BYTES", "Archive", "open_npz", "read_npy", "read_npy_within"]
