"""Locks between processes, also on several machines that share a folder; released however their process ends."""

from __future__ import annotations

import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from genie_core.data.storage.atomic import failures_named, write_bytes
from genie_core.data.storage.json_text import parse_json
from genie_core.errors import DatasetError

LOCK = "lock"
OWNER = "owner.json"
"""Beside the lock, not in it: on Windows no other process can read a locked file."""

_TRIES, _BETWEEN_S = 40, 0.05
"""Number of attempts to take a lock whose holder may be about to release it."""


class Owner(BaseModel):
    """Holder of a lock."""

    model_config = ConfigDict(frozen=True)

    host: str
    pid: int
    since: str
    command: str

    def words(self) -> str:
        """Describe the holder for errors: ``process 123 on host, since ..., (genie label ...)``."""
        return f"process {self.pid} on {self.host}, since {self.since} ({self.command})"


class FolderLock:
    """Exclusive use of a folder, which is created if missing; other processes are told who holds it."""

    def __init__(self, folder: Path, doing: str) -> None:
        """Take the lock.

        Args:
            folder: folder to lock by its files ``lock`` and ``owner.json``; its parent must exist.
            doing: what the holder does, shown to processes that are refused: ``labels d.hdf5``.

        Raises:
            DatasetError: another process holds it (the message names it), or the folder cannot be written.

        """
        self._folder = folder
        with failures_named(folder):
            self._lock = self._acquire(doing)
            owner = Owner(
                host=platform.node(),
                pid=os.getpid(),
                since=datetime.now(UTC).isoformat(timespec="seconds"),
                command=_command(),
            )
            try:
                write_bytes(folder / OWNER, owner.model_dump_json(indent=2).encode())
            except BaseException:
                self.release()
                raise

    def release(self) -> None:
        """Release the folder and remove the lock's own files; calling it again has no effect."""
        if not self._lock.is_locked:
            return
        with suppress(OSError):
            (self._folder / OWNER).unlink(missing_ok=True)
        _release(self._lock, self._folder / LOCK)

    def _acquire(self, doing: str) -> FileLock:
        path = self._folder / LOCK
        for _ in range(_TRIES):
            self._folder.mkdir(exist_ok=True)
            lock = FileLock(path, thread_local=False)
            try:
                lock.acquire(timeout=0)
            except (Timeout, FileNotFoundError):
                if read_owner(self._folder) is not None:
                    break
                time.sleep(_BETWEEN_S)  # its holder is just starting or ending
                continue
            return lock
        owner = read_owner(self._folder)
        who = "another process" if owner is None else owner.words()
        raise DatasetError(f"{self._folder}: in use: {who} {doing}; wait until it is done, or stop it")


def read_owner(folder: Path) -> Owner | None:
    """Return who holds the lock of a folder, or held it when killed; None if it is free."""
    try:
        return Owner.model_validate(parse_json((folder / OWNER).read_bytes()))
    except (OSError, ValueError, ValidationError):
        return None


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Wait for the lock file `path`, and hold it until the block ends.

    Raises OSError if it cannot be created.
    """
    lock = FileLock(path, thread_local=False)
    lock.acquire()
    try:
        yield
    finally:
        _release(lock, path)


def _release(lock: FileLock, path: Path) -> None:
    """Release a lock and remove its file."""
    if os.name == "posix":  # before the release: others who have opened the file see that it is no longer the lock
        with suppress(OSError):
            path.unlink()
    lock.release()
    if os.name != "posix":  # an open file cannot be removed there
        with suppress(OSError):
            path.unlink()


def _command() -> str:
    """Return the command line of this process as a user would type it, shortened to 300 characters."""
    words = [Path(sys.argv[0]).name or "python", *sys.argv[1:]]
    text = shlex.join(words)
    return text if len(text) <= 300 else f"{text[:300]} ..."


__all__ = ["FolderLock", "Owner", "read_owner", "waiting_lock"]
