"""HDF5 files: reading with errors that a user can act on, and atomic writing."""

from __future__ import annotations

import importlib
import io
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from genie_core.data.storage.atomic import failures_named, new_file, write_error
from genie_core.data.storage.git_lfs import lfs_pointer
from genie_core.data.storage.location import SourcePath, local_file
from genie_core.errors import DatasetError
from genie_core.hang import reading

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


_FREE_BYTES, _FREE_BYTES_IN_PARTS = 64 << 20, 64 << 30
"""An array that is read as a whole, or in parts, may be so large whatever is stored of it ..."""

_MOST_PACKED = 20_000
"""... or so many times as large as what is stored."""


_TEXT = h5py.string_dtype()


@contextmanager
def read_hdf5(path: SourcePath) -> Iterator[h5py.File]:
    """Open `path` for reading until the block ends; a remote file through the cache.

    Raises:
        DatasetError: `path` is missing, truncated, damaged or not HDF5, or a read inside the block fails.

    """
    _load_filters()
    try:
        local = local_file(path)
        with reading(path), h5py.File(local, "r") as file:
            yield file
    except OSError as error:
        raise DatasetError(f"{path}: {_reason(local_file(path), error)}") from error
    except (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        # What h5py raises of a damaged file depends on where the damage is.
        if not _is_of_h5py(error):
            raise
        raise DatasetError(f"{path}: damaged HDF5 file: {str(error).strip(chr(39))}") from error


def read_array(dataset: h5py.Dataset) -> NDArray[Any]:
    """Return all of a dataset. Raises DatasetError as `check_stored` does."""
    check_stored(dataset)
    values: NDArray[Any] = dataset[()]
    return values


def write_arrays(group: h5py.Group, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write new arrays into a group by their paths, as ``group[path] = array`` does, in half the time."""
    link = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    link.set_create_intermediate_group(True)
    timeless = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    timeless.set_obj_track_times(False)
    for path, values in arrays.items():
        link.set_char_encoding(h5py.h5t.CSET_ASCII if path.isascii() else h5py.h5t.CSET_UTF8)
        values = np.ascontiguousarray(values)
        kind = h5py.h5t.py_create(values.dtype, logical=True)
        space = h5py.h5s.create_simple(values.shape)
        made = h5py.h5d.create(group.id, path.encode(), kind, space, timeless, link)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, values)


def write_attributes(group: h5py.Group, values: Mapping[str, str | float]) -> None:
    """Write new attributes, one value each, as ``group.attrs[name] = value`` does, in half the time."""
    for name, value in values.items():
        array = np.array(value, _TEXT if isinstance(value, str) else None)
        kind = h5py.h5t.py_create(array.dtype, logical=True)
        h5py.h5a.create(group.id, name.encode(), kind, h5py.h5s.create(h5py.h5s.SCALAR)).write(array)


def names_in(group: h5py.Group) -> list[str]:
    """Return the names in a group. Raises DatasetError if one is not UTF-8, of which h5py gives the bytes."""
    names = list(group)
    damaged = [name for name in names if not isinstance(name, str)]
    if damaged:
        raise DatasetError(f"{group.name}: got a name that is not UTF-8, {damaged[0]!r}, expected text: it is damaged")
    return names


def check_stored(dataset: h5py.Dataset, *, in_parts: bool = False) -> None:
    """Raise DatasetError if a dataset, read as a whole or `in_parts`, claims far more than is stored of it.

    A few bytes can describe terabytes that were never written; reading them would fill the memory, or never end.
    """
    if dataset.is_virtual or dataset.external:  # stored in other files
        return
    said = dataset.size * dataset.dtype.itemsize if dataset.shape is not None else 0
    stored = min(dataset.id.get_storage_size(), dataset.file.id.get_filesize())
    if said > max(_FREE_BYTES_IN_PARTS if in_parts else _FREE_BYTES, _MOST_PACKED * stored):
        raise DatasetError(
            f"{dataset.file.filename}: {dataset.name} is of shape {dataset.shape}, {said} bytes, of which the file "
            f"stores {stored}: it is damaged or was never written"
        )


def _is_of_h5py(error: BaseException) -> bool:
    """Return whether an exception was raised in h5py's code, and not by what was done with its answers."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and "h5py" in Path(trace.tb_frame.f_code.co_filename).parts


@cache
def _load_filters() -> None:
    """Make the filters of hdf5plugin known to HDF5, if it is installed."""
    with suppress(ImportError):
        importlib.import_module("hdf5plugin")


def check_sources(dataset: h5py.Dataset, where: str) -> None:
    """Raise DatasetError if a dataset is made of other files and one is missing: HDF5 would read zeros in its place."""
    place = Path(dataset.file.filename).parent
    if dataset.is_virtual:
        for source in dataset.virtual_sources():
            if source.file_name != "." and "%" not in source.file_name:  # % stands for the number of a block
                _check_source(dataset, place, source.file_name, source.dset_name, where)
    for name, _, _ in dataset.external or ():
        if not any((folder / name).is_file() for folder in (place, Path())):
            raise DatasetError(f"{where}: {dataset.name} lies in {name}, which is not there (looked in {place})")


def _check_source(dataset: h5py.Dataset, place: Path, name: str, inner: str, where: str) -> None:
    there = next((folder / name for folder in (place, Path()) if (folder / name).is_file()), None)
    what = f"{where}: {dataset.name} is a virtual dataset, made of `{inner}` in {name}"
    if there is None:
        raise DatasetError(
            f"{what}, which is not there (looked in {place}): HDF5 would read zeros: put it back, or copy the data"
        )
    try:
        with h5py.File(there, "r") as file:
            if "%" not in inner and file.get(inner) is None:
                raise DatasetError(f"{what}, which holds no such dataset: HDF5 would read zeros")
    except OSError as error:
        raise DatasetError(f"{what}, which cannot be opened: {_reason(there, error)}") from error


def _reason(path: Path, error: OSError) -> str:
    """Say why a file cannot be opened or read; whatever is known to be no damage is called by its name."""
    text = str(error)
    truncated = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", text)
    pointer = lfs_pointer(path)
    if pointer:
        return pointer
    if "required filter" in text or "plugin" in text:
        found = re.search(r"required filter '([^']*)'", text)
        named = f" ({found[1]})" if found else ""
        return (
            f"its data are compressed with an HDF5 filter that is not installed here{named}: "
            "`pip install hdf5plugin` brings the usual ones (Blosc, LZ4, Zstandard, bitshuffle)"
        )
    if "consistency flags" in text or "already open for write" in text:
        return (
            "another program has the file open for writing, or was killed while it had: wait until it has closed it, "
            f"or if none has, run `h5clear -s {path}`"
        )
    if truncated:
        return (
            f"the file is truncated: got {truncated[1]} bytes, expected {truncated[2]} as its header says; "
            "or another program is still writing it"
        )
    if "signature not found" in text:
        return _no_hdf5(path)
    if "unable to lock file" in text:
        return "another program has the file open for writing"
    if error.errno is not None:
        return os.strerror(error.errno)
    return f"damaged HDF5 file: {text.splitlines()[0]}"


def _no_hdf5(path: Path) -> str:
    if path.stat().st_size == 0:
        return "the file is empty, expected an HDF5 file; or another program is still writing it"
    return "got something else, expected an HDF5 file"


@contextmanager
def write_hdf5(path: Path, *, update: bool = False, replace: bool = True) -> Iterator[AtomicFile]:
    """Write `path` whole or not at all: to a temporary file beside it, flushed to disk, then renamed.

    With `update` the block starts from a copy of the existing file. Without `replace` a file that exists when the block
    ends is kept.

    Raises:
        DatasetError: the disk is full or cannot be written, or the file exists and must be kept; `path` is as it was
            before.

    """
    with failures_named(path), new_file(path, replace=replace) as temporary:
        if update:
            shutil.copy(path, temporary)
        atomic = AtomicFile(path, temporary, "r+" if update else "w")
        try:
            yield atomic
        finally:
            atomic.close()


class AtomicFile:
    """An HDF5 file under construction, made by `write_hdf5`. Not thread-safe."""

    def __init__(self, path: Path, temporary: Path, mode: str) -> None:
        self._path = path
        self._raw = _NeverFailingFile(temporary, mode)
        with _signals_held():
            self._file = h5py.File(self._raw, mode)

    @contextmanager
    def writing(self) -> Iterator[h5py.File]:
        """Open the file for writing. Ctrl-C waits until the block ends, so keep it short.

        Raises:
            DatasetError: this or an earlier write failed.

        """
        with _signals_held(), self._failures_named():
            yield self._file

    def close(self) -> None:
        """Close the file. Raises DatasetError if any write failed."""
        with _signals_held(), self._failures_named():
            try:
                self._file.close()
            finally:
                self._raw.close()

    @contextmanager
    def _failures_named(self) -> Iterator[None]:
        """Raise the error of the first failed write, in place of the odd ones that HDF5 raises afterwards."""
        try:
            yield
        finally:
            if self._raw.error is not None:
                raise write_error(self._path, self._raw.error) from self._raw.error


class _NeverFailingFile(io.RawIOBase):
    """A file object for HDF5 that records the first failed write instead of raising it.

    After a failed write HDF5 (2.0) crashes the process when it closes the file, so it must never see one. What was
    written is then worthless, and the owner checks `error` and discards it. For the same reason no signal may raise
    here.
    """

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__()
        self._file = open(path, "w+b" if mode == "w" else "r+b", buffering=0)  # noqa: SIM115 - closed in close()
        self.error: OSError | None = None

    def readinto(self, buffer: WriteableBuffer) -> int:
        return self._file.readinto(buffer)

    def write(self, data: ReadableBuffer) -> int:
        view = memoryview(data).cast("B")
        end = self._file.tell() + len(view)
        try:
            written = 0
            while self.error is None and written < len(view):
                written += self._file.write(view[written:])
        except OSError as error:
            self.error = error
        if self.error is not None:
            self.truncate(max(end, self._file.seek(0, os.SEEK_END)))
            self._file.seek(end)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            self._file.truncate(size)
        except OSError as error:
            self.error = self.error or error
        return self._file.tell() if size is None else size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def _signals_held() -> Iterator[None]:
    """Delay Ctrl-C and termination, whose handlers may raise, until the block ends."""
    if threading.current_thread() is not threading.main_thread():  # signal handlers run in the main thread only
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    held = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in held:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
        for signal_number in came:
            signal.raise_signal(signal_number)


__all__ = [
    "AtomicFile",
    "check_sources",
    "check_stored",
    "names_in",
    "read_array",
    "read_hdf5",
    "write_arrays",
    "write_attributes",
    "write_hdf5",
]
