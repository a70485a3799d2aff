"""Locks between machines whose file system does not carry the lock from one to the other, and says nothing."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from genie_core.data.storage import lock
from genie_core.data.storage.lock import OWNER, FolderLock, read_owner
from genie_core.errors import DatasetError


class OwnLock:
    """A lock that knows nothing of other machines."""

    def __init__(self, path: Path, thread_local: bool = True) -> None:
        self.is_locked = False

    def acquire(self, timeout: float = 0) -> None:
        self.is_locked = True

    def release(self) -> None:
        self.is_locked = False


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_BEAT_S", 0.05)
    monkeypatch.setattr(lock, "_BETWEEN_S", 0.01)
    monkeypatch.setattr(lock, "_DEAD_S", 60.0)  # however late a busy machine lets a thread give its sign


@contextmanager
def on_another_machine() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lock, "_machine", lambda: "another boot")
        patch.setattr(platform, "node", lambda: "another-host")
        patch.setattr(lock, "FileLock", OwnLock)
        yield


def test_a_second_machine_is_refused_while_the_first_is_alive(tmp_path: Path) -> None:
    held = FolderLock(tmp_path / "out.parts", "labels a")
    before = sorted(path.name for path in held._folder.iterdir())
    with on_another_machine(), pytest.raises(DatasetError, match=rf"in use: process {os.getpid()} on \S+, since"):
        FolderLock(tmp_path / "out.parts", "labels a")
    held.check()
    assert sorted(path.name for path in held._folder.iterdir()) == before
    held.release()
    with on_another_machine():
        FolderLock(tmp_path / "out.parts", "labels a").release()


def test_what_a_machine_that_died_held_is_taken_over_and_it_is_told_so_should_it_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(threading.enumerate())
    dead = FolderLock(tmp_path / "out.parts", "labels a")
    (living,) = set(threading.enumerate()) - before
    dead._ended.set()  # no sign of life any more
    living.join()
    monkeypatch.setattr(lock, "_DEAD_S", 0.5)
    with on_another_machine():
        held = FolderLock(tmp_path / "out.parts", "labels a")
        with pytest.raises(DatasetError, match=r"no longer held by this process but by process .* on another-host"):
            dead.check()
        dead.release()  # takes nothing from the new holder
        held.check()
        held.release()


def test_on_the_same_machine_nobody_waits_for_a_dead_process(tmp_path: Path) -> None:
    folder = tmp_path / "out.parts"
    FolderLock(folder, "labels a").release()
    killed = FolderLock(folder, "labels a")
    killed._ended.set()
    killed._lock.release()
    began = time.monotonic()
    held = FolderLock(folder, "labels a")
    assert time.monotonic() - began < 30
    held.check()
    held.release()
    assert list(folder.iterdir()) == []


def test_an_owner_of_before_there_were_signs_of_life_is_told_by_its_host(tmp_path: Path) -> None:
    folder = tmp_path / "out.parts"
    folder.mkdir()
    old = {"host": platform.node(), "pid": 1, "since": "2026-07-01T12:00:00+00:00", "command": "genie label"}
    (folder / OWNER).write_text(json.dumps(old))
    assert read_owner(folder) is not None
    began = time.monotonic()
    FolderLock(folder, "labels a").release()
    assert time.monotonic() - began < 30


def test_no_clock_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose clock is years behind or ahead is neither taken for dead nor believed to be alive for ever."""
    held = FolderLock(tmp_path / "out.parts", "labels a")
    for years in (-30, 30):
        monkeypatch.setattr(time, "time", lambda years=years: 1.8e9 + years * 3e7)
        with on_another_machine(), pytest.raises(DatasetError, match="in use"):
            FolderLock(tmp_path / "out.parts", "labels a")
    held.release()
