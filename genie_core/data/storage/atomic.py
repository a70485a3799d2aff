"""Atomic writes: a file or folder appears whole or not at all, and leftovers of killed writers are removed.

Everything is written under a temporary name beside its target, flushed to disk and renamed, and the rename is flushed
too. The temporary name identifies the writer, so that the next one there can remove what a dead process left behind.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import count
from pathlib import Path

from genie_core.errors import DatasetError

_NAME_CHARACTERS = 40
"""Characters of the target's name that go into the temporary one, which must not exceed 255 bytes."""

_FORGOTTEN_S = 7 * 24 * 3600.0
"""Age, without a change, at which a temporary file counts as dead if its writer cannot be checked (other machine)."""

_TEMPORARY = re.compile(
    r"\.(?P<name>.+)\.genie-(?P<kind>new|old)-(?P<place>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\d+)-\d+(\.\w+)?"
)
_numbers = count()

_HERE, _EXCHANGE = -100, 2
"""Linux's ``AT_FDCWD`` and ``RENAME_EXCHANGE``."""


@contextmanager
def new_file(path: Path, *, suffix: str = "", replace: bool = True) -> Iterator[Path]:
    """Write `path` whole or not at all: the block writes to the temporary path that it receives.

    Args:
        path: file to write; its folder must exist.
        suffix: end of the temporary name (``.rrd``), for writers that choose the format by it.
        replace: whether to replace a file that exists when the block ends.

    Raises:
        FileExistsError: `path` exists, and `replace` is False.
        OSError: writing failed. `path` is as it was before, unless only the flush of its folder failed.

    """
    _clear_once(path.parent)
    temporary = _temporary(path, "new", suffix)
    try:
        yield temporary
        _flush(temporary)
        if not replace:
            _refuse(path)
        os.replace(temporary, path)
        _flush_folder(path.parent)
    finally:
        with suppress(OSError):  # the first error is the one to report
            temporary.unlink()


@contextmanager
def new_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Write the folder `path` whole or not at all: the block fills the empty folder that it receives.

    Args:
        path: folder to write; its parent must exist.
        replace: whether to replace a folder that exists when the block ends. If the process is killed during the
            replacement, the next writer beside it restores the old folder.

    Raises:
        FileExistsError: `path` exists, and `replace` is False.
        OSError: writing failed. `path` is as it was before, unless only the flush of its parent failed.

    """
    _clear_once(path.parent)
    temporary = _temporary(path, "new")
    try:
        temporary.mkdir()
        yield temporary
        _flush_tree(temporary)
        if replace and path.is_dir():
            _swap(temporary, path)
        else:
            _refuse(path)
            temporary.rename(path)
        _flush_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """Create an empty folder on the same disk as `beside`, for data too big for the system's temporary folder.

    It is removed when the block ends.
    """
    _clear_once(beside.parent)
    folder = _temporary(beside, "new")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a small file whole or not at all. Raises OSError if it cannot be written."""
    with new_file(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a small UTF-8 text file whole or not at all. Raises OSError if it cannot be written."""
    write_bytes(path, text.encode())


def write_once(path: Path, data: bytes) -> bytes:
    """Write a small file whole unless it exists, and return what it holds then: of several writers the first one's.

    Holds between machines too where the file system has hard links (NFS, Lustre and local ones have).

    Raises:
        OSError: it cannot be written, or what is there cannot be read.

    """
    _clear_once(path.parent)
    temporary = _temporary(path, "new")
    try:
        temporary.write_bytes(data)
        _flush(temporary)
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:  # no hard links there
            if not path.exists():
                os.replace(temporary, path)
        _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
    return path.read_bytes()


def clear_leftovers(folder: Path, *, held: bool = False) -> list[Path]:
    """Remove the temporary files and folders in `folder` that dead processes left behind, and return their paths.

    A folder that was moved aside and never replaced is restored. With `held` the caller guarantees that nobody is
    writing there now, and all leftovers are removed.
    """
    removed = []
    for path in leftovers(folder, held=held):
        match = _TEMPORARY.fullmatch(path.name)
        assert match is not None
        target = folder / match["name"]
        with suppress(OSError):  # another process may be removing it too, or it belongs to another user
            if match["kind"] == "old" and not target.exists():
                path.rename(target)
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            removed.append(path)
    return removed


def leftovers(folder: Path, *, of: str = "", held: bool = False) -> list[Path]:
    """List the temporary files and folders in `folder` that dead processes left behind; with `held`, all of them.

    `of`: only those whose target's name starts with it.
    """
    begin = f".{of[:_NAME_CHARACTERS]}"
    matches = ((path, _TEMPORARY.fullmatch(path.name)) for path in _entries(folder) if path.name.startswith(begin))
    return [path for path, match in matches if match is not None and (held or _is_dead(path, match))]


@contextmanager
def failures_named(path: Path) -> Iterator[None]:
    """Turn an OSError in the block into a DatasetError that names `path` and says what to do."""
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: OSError) -> DatasetError:
    """Return the user's error for a `path` that could not be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    advice = "; what was finished is kept: make room and run the same command again" if full else ""
    if isinstance(error, FileExistsError):
        return DatasetError(f"{path}: exists already; choose another name, or remove it")
    reason = os.strerror(error.errno) if error.errno else error  # libraries' own texts are long
    return DatasetError(f"{path}: cannot be written: {reason}{advice}")


def _refuse(path: Path) -> None:
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def _swap(temporary: Path, path: Path) -> None:
    """Replace the folder `path` by the folder `temporary`, at once where the system can exchange two names."""
    if _exchange(temporary, path):
        return  # what is now under the temporary name is removed by the caller
    aside = _temporary(path, "old")
    path.rename(aside)
    try:
        temporary.rename(path)
    except OSError:
        aside.rename(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step. Returns False where the system or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    done = rename(_HERE, os.fsencode(one.absolute()), _HERE, os.fsencode(other.absolute()), _EXCHANGE)
    return bool(done == 0)


def _flush_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        _flush_folder(path) if path.is_dir() else _flush(path)
    _flush_folder(folder)


def _flush(file: Path) -> None:
    _fsync(file, os.O_RDWR if os.name == "nt" else os.O_RDONLY)  # Windows flushes only files opened for writing


def _flush_folder(folder: Path) -> None:
    if os.name != "nt":  # Windows cannot open folders, and writes their entries through
        _fsync(folder, os.O_RDONLY)


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary(path: Path, kind: str, suffix: str = "") -> Path:
    """Return a unique name beside `path` that identifies the writer."""
    name = path.name if kind == "old" else path.name[:_NAME_CHARACTERS]
    pid = os.getpid()
    return path.with_name(f".{name}.genie-{kind}-{_place()}-{pid}-{_start(pid) or 0}-{next(_numbers)}{suffix}")


@lru_cache(maxsize=1024)
def _clear_once(folder: Path) -> None:
    clear_leftovers(folder)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []  # writing there will raise the proper error


def _is_dead(path: Path, match: re.Match[str]) -> bool:
    """Return whether the process that wrote `path` is certainly gone."""
    if match["place"] == _place() and os.name == "posix":
        return not _is_running(int(match["pid"]), int(match["start"]))
    try:
        newest = max(entry.stat().st_mtime for entry in [path, *path.rglob("*")])
        return _now_at(path.parent) - newest > _FORGOTTEN_S
    except OSError:
        return False


def _now_at(folder: Path) -> float:
    """Return the time by the clock that dates files in a folder; this machine's may be another, or be set."""
    probe = _temporary(folder / "clock", "new")
    try:
        probe.touch(exist_ok=False)
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _is_running(pid: int, start: int) -> bool:
    """Return whether the process with number `pid` that started at `start` is still running."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    now = _start(pid)
    return now is None or now == start


@lru_cache(maxsize=1)
def _place() -> str:
    """Identify the scope of process numbers: machine and, in a container, PID namespace; 8 hexadecimal digits."""
    numbering = ""
    with suppress(OSError):
        numbering = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{platform.node()}\n{numbering}".encode()).hexdigest()[:8]


def _start(pid: int) -> int | None:
    """Return the start time of a process in kernel ticks, which distinguishes it from a later one with the same number.

    0 if it has exited but not been reaped; None if the system does not say.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


__all__ = [
    "clear_leftovers",
    "failures_named",
    "leftovers",
    "new_file",
    "new_folder",
    "scratch_folder",
    "write_bytes",
    "write_error",
    "write_once",
    "write_text",
]
