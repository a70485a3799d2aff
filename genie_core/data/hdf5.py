"""Opening HDF5 files: reading with errors a user can act on, and writing files that are whole or not there at all."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import h5py

from genie_core.errors import DatasetError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


@contextmanager
def read_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open `path` for reading, for as short as the block lasts.

    Raises:
        DatasetError: `path` is missing, truncated, damaged or not HDF5; also where a read inside the block fails.

    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise DatasetError(f"{path}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    text = str(error)
    truncated = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", text)
    if truncated:
        return f"the file is truncated: {truncated[1]} bytes came, its header wants {truncated[2]}"
    if "signature not found" in text:
        return "came something else, wanted an HDF5 file"
    if "unable to lock file" in text:
        return "another program has the file open for writing"
    if error.errno is not None:
        return os.strerror(error.errno)
    return f"damaged HDF5 file: {text.splitlines()[0]}"


@contextmanager
def write_hdf5(path: Path, *, update: bool = False) -> Iterator[AtomicFile]:
    """Write `path` whole or not at all: into a temporary file beside it, flushed to the disk, then renamed over it.

    With `update` the block starts from a copy of what `path` holds. Call `check()` of what is yielded between large
    pieces, to stop early.

    Raises:
        DatasetError: the disk is full or cannot be written; `path` is as it was before.

    """
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with _reported(path):
            if update:
                shutil.copy(path, temporary)
            atomic = AtomicFile(path, temporary, "r+" if update else "w")
        try:
            yield atomic
        except Exception:
            atomic.close()
            atomic.check()  # a full disk makes later calls fail in odd ways: name the cause
            raise
        finally:
            atomic.close()
        atomic.check()
        with _reported(path):
            commit(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


class AtomicFile:
    """An HDF5 file under construction: `file` to write to, `check()` to learn early that the disk is full."""

    def __init__(self, path: Path, temporary: Path, mode: str) -> None:
        self._path = path
        self._raw = _NeverFailingFile(temporary, mode)
        self.file = h5py.File(self._raw, mode)

    def check(self) -> None:
        """Raise DatasetError if any write so far has failed."""
        if self._raw.error is not None:
            raise _write_error(self._path, self._raw.error) from self._raw.error

    def close(self) -> None:
        """Close the file; may be called again."""
        try:
            self.file.close()
        except (OSError, RuntimeError, ValueError):
            if self._raw.error is None:
                raise
        finally:
            self._raw.close()


class _NeverFailingFile(io.RawIOBase):
    """A file for HDF5 to write to that remembers the first failed write instead of raising it.

    HDF5 (2.0) frees a chunk whose write fails and crashes the process when it closes the file, so it must never see
    one. What was written is worthless after a failure, and the caller, who looks at `error`, throws it away.
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


def write_bytes(path: Path, data: bytes) -> None:
    """Write a small file whole or not at all. Raises DatasetError where the disk is full or cannot be written."""
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with _reported(path):
            temporary.write_bytes(data)
            commit(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def commit(temporary: Path, path: Path) -> None:
    """Make `temporary` the file `path` for good: flush it to the disk, rename it, flush the folder. Raises OSError."""
    _flush(temporary)
    os.replace(temporary, path)
    _flush(path.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _write_error(path, error) from error


def _write_error(path: Path, error: OSError) -> DatasetError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    advice = "; what was finished before stands: make room and run the same again" if full else ""
    return DatasetError(f"{path}: cannot be written: {error.strerror or error}{advice}")


__all__ = ["AtomicFile", "commit", "read_hdf5", "write_bytes", "write_hdf5"]
