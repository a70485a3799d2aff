"""Locks between processes, also on several machines that share a folder; released however their process ends.

On one machine the lock is the operating system's. Many network file systems carry that to other machines, some do not
and say nothing. So the holder also gives a sign of life in the folder, and whoever has got the lock while another
machine's sign is there watches it before it takes its holder for dead. Nothing compares clocks.
"""

from __future__ import annotations

import os
import platform
import secrets
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from genie_core.data.storage.atomic import failures_named, write_bytes
from genie_core.data.storage.json_text import parse_json
from genie_core.errors import DatasetError

LOCK = "lock"
OWNER = "owner.json"
"""Beside the lock, not in it: on Windows no other process can read a locked file."""

_BEAT_S, _DEAD_S = 5.0, 20.0
"""Time between signs of life, and without one after which the holder on another machine counts as dead."""

_TRIES, _BETWEEN_S = 40, 0.05
"""Number of attempts to take a lock whose holder may be about to release it."""


class Owner(BaseModel):
    """Holder of a lock."""

    model_config = ConfigDict(frozen=True)

    host: str
    pid: int
    since: str
    command: str
    machine: str | None = None
    token: str | None = None

    def words(self) -> str:
        """Describe the holder for errors: ``process 123 on host, since ..., (genie label ...)``."""
        return f"process {self.pid} on {self.host}, since {self.since} ({self.command})"


class FolderLock:
    """Exclusive use of a folder, which is created if missing; other processes learn who holds it."""

    def __init__(self, folder: Path, doing: str) -> None:
        """Take the lock.

        Args:
            folder: folder to lock by its files ``lock`` and ``owner.json``; its parent must exist.
            doing: what the holder does, shown to processes that are refused: ``labels d.hdf5``.

        Raises:
            DatasetError: another process holds it (the message names it), or the folder cannot be written.

        """
        self._folder, self._doing = folder, doing
        self._ended = threading.Event()
        with failures_named(folder):
            self._lock = self._acquire(doing)
            try:
                self._await_death_elsewhere()
                self._owner = self._sign()
            except BaseException:
                self._lock.release()  # its file stays: it is the holder's
                raise
        threading.Thread(target=self._live, name="genie-lock", daemon=True).start()

    @property
    def is_held(self) -> bool:
        """Whether the folder says that this process holds it."""
        return read_owner(self._folder) == self._owner

    @property
    def owner(self) -> Owner:
        """What the folder says of this process as long as it holds it."""
        return self._owner

    def check(self) -> None:
        """Raise DatasetError if another machine has taken the folder over: this process did not reach it for long."""
        if not self.is_held:
            owner = read_owner(self._folder)
            who = "nobody" if owner is None else owner.words()
            raise DatasetError(
                f"{self._folder}: is no longer held by this process but by {who}: there was no sign of life from here "
                f"for {_DEAD_S:g} s; what was finished is kept, run the same command again"
            )

    def release(self) -> None:
        """Release the folder and remove the lock's own files; calling it again has no effect."""
        if not self._lock.is_locked:
            return
        self._ended.set()
        if not self.is_held:
            self._lock.release()  # its file stays: it is the new holder's
            return
        with suppress(OSError):
            (self._folder / OWNER).unlink(missing_ok=True)
        _release(self._lock, self._folder / LOCK)

    def _sign(self) -> Owner:
        """Say in the folder who holds it."""
        owner = Owner(
            host=platform.node(),
            pid=os.getpid(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            command=_command(),
            machine=_machine(),
            token=secrets.token_hex(8),
        )
        write_bytes(self._folder / OWNER, owner.model_dump_json(indent=2).encode())
        return owner

    def _live(self) -> None:
        """Give signs of life for as long as the folder is held."""
        while not self._ended.wait(_BEAT_S):
            with suppress(OSError):  # the folder is out of reach; `check` tells when that was for too long
                if self.is_held:
                    os.utime(self._folder / OWNER)

    def _await_death_elsewhere(self) -> None:
        """Return once no other machine holds the folder, although this one has got the lock. Raises DatasetError."""
        owner = read_owner(self._folder)
        if owner is None or (owner.machine or owner.host) in (_machine(), platform.node()):
            return  # the lock of this machine's own system is to be believed
        first, until = _sign_of_life(self._folder), time.monotonic() + _DEAD_S
        while time.monotonic() < until:
            time.sleep(min(_BETWEEN_S * 10, _DEAD_S / 10))
            now = _sign_of_life(self._folder)
            if now is None:
                return  # it has ended
            if now != first:
                raise _in_use(self._folder, self._doing)

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
        raise _in_use(self._folder, doing)


def read_owner(folder: Path) -> Owner | None:
    """Return who holds the lock of a folder, or held it when killed; None if it is free."""
    try:
        return Owner.model_validate(parse_json((folder / OWNER).read_bytes()))
    except (OSError, ValueError, ValidationError):
        return None


def check_owner(folder: Path, owner: Owner) -> None:
    """Raise DatasetError unless a folder is held by `owner`, for whom another process works there."""
    there = read_owner(folder)
    if there != owner:
        who = "nobody" if there is None else there.words()
        raise DatasetError(f"{folder}: got it held by {who}, expected {owner.words()}: seen from {platform.node()}")


def _in_use(folder: Path, doing: str) -> DatasetError:
    owner = read_owner(folder)
    who = "another process" if owner is None else owner.words()
    return DatasetError(f"{folder}: in use: {who} {doing}; wait until it is done, or stop it")


def _sign_of_life(folder: Path) -> int | None:
    """Return when the holder last gave one, by the clock of whatever keeps the folder; None if there is no holder.

    The file is opened, as network file systems look for news only then.
    """
    try:
        with (folder / OWNER).open("rb") as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return None


@lru_cache(maxsize=1)
def _machine() -> str:
    """Identify the running system: processes of one share its locks, whatever containers they are in."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return platform.node()


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


__all__ = ["FolderLock", "Owner", "check_owner", "read_owner", "waiting_lock"]
