"""Files and folders are whole or not there: each step of writing fails once, and the writer is killed at each step."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from genie_core.data.storage import atomic
from genie_core.data.storage.atomic import clear_leftovers, new_file, new_folder, write_bytes, write_once

STEPS = ("open", "fsync", "replace", "rename", "mkdir")
"""The calls of `os` that writing makes; pathlib calls the same."""


def failing(step: str, number: int) -> Callable[..., Any]:
    """A function of `os` whose call number `number` fails of a full disk; those before and after do their work."""
    real, calls = getattr(os, step), 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls - 1 == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args, **kwargs)

    return call


def fill(folder: Path, text: str) -> None:
    (folder / "sub").mkdir()
    (folder / "a").write_text(text)
    (folder / "sub" / "b").write_text(text)


def content(path: Path) -> dict[str, str]:
    return {str(file.relative_to(path)): file.read_text() for file in path.rglob("*") if file.is_file()}


def test_a_file_appears_when_it_is_complete_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_bytes(path, b"old")
    with new_file(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_must_not_be_replaced_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a"

    def write(temporary: Path) -> None:
        temporary.write_bytes(b"mine")
        path.write_bytes(b"theirs, made meanwhile")

    with pytest.raises(FileExistsError), new_file(path, replace=False) as temporary:
        write(temporary)
    with pytest.raises(FileExistsError), new_folder(path) as folder:
        fill(folder, "mine")
    assert path.read_bytes() == b"theirs, made meanwhile"
    assert list(tmp_path.iterdir()) == [path]


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), new_file(tmp_path / "a") as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    with suppress(KeyboardInterrupt), new_folder(tmp_path / "b") as folder:
        fill(folder, "half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("number", range(6))
def test_whichever_step_fails_the_old_file_or_the_new_one_is_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, step, failing(step, number))
    failed = False
    try:
        write_bytes(path, b"new")
    except OSError as error:
        failed = error.errno == errno.ENOSPC
    monkeypatch.undo()
    assert path.read_bytes() in ((b"old", b"new") if failed else (b"new",))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize(("replace", "exchange"), [(False, False), (True, False), (True, True)])
def test_whichever_step_fails_the_old_folder_or_the_new_one_is_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int, replace: bool, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    path = tmp_path / "a"
    if replace:
        path.mkdir()
        fill(path, "old")
    monkeypatch.setattr(os, step, failing(step, number))
    failed = False
    try:
        with new_folder(path, replace=replace) as folder:
            fill(folder, "new")
    except OSError as error:
        failed = error.errno == errno.ENOSPC
    monkeypatch.undo()
    texts = set(content(path).values()) if path.exists() else set()
    assert texts in ([{"old"} if replace else set(), {"new"}] if failed else [{"new"}])
    # What could not be removed once it was replaced is cleared away by the next process that writes there.
    replaced = (".genie-new-" if exchange else ".genie-old-") if texts == {"new"} else "nothing"
    assert [file for file in tmp_path.iterdir() if file != path and replaced not in file.name] == []


def test_every_file_and_folder_is_flushed_before_the_rename_and_the_rename_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    fsync, rename = os.fsync, os.rename

    def told_fsync(descriptor: int) -> None:
        said.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def told_rename(source: Any, target: Any) -> None:
        said.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", told_fsync)
    monkeypatch.setattr(os, "rename", told_rename)
    with new_folder(tmp_path / "out") as folder:
        fill(folder, "x")
    assert sorted(said[:4]) == sorted(["a", "sub", "b", folder.name])
    assert said[4:] == ["rename", tmp_path.name]


KILLED = """
import os, signal, sys
from pathlib import Path
from genie_core.data.storage import atomic
path, step, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
real, calls = getattr(os, step), 0
def call(*args, **kwargs):
    global calls
    calls += 1
    if calls - 1 == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **kwargs)
setattr(os, step, call)
if step == "rename":
    atomic._exchange = lambda one, other: False  # as on systems that cannot
with atomic.new_folder(path, replace=True) as folder:
    (folder / "a").write_text("new")
atomic.write_bytes(path.with_name("file"), b"new")
"""


@pytest.mark.parametrize(
    ("step", "number"), [("mkdir", 0), ("fsync", 0), ("fsync", 1), ("rename", 0), ("rename", 1), ("replace", 0)]
)
def test_killed_at_any_step_the_next_writer_finds_the_old_or_the_new_and_clears_the_rest(
    tmp_path: Path, step: str, number: int
) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "a").write_text("old")
    killed = subprocess.run([sys.executable, "-c", KILLED, path, step, str(number)], check=False)
    assert killed.returncode == -signal.SIGKILL
    clear_leftovers(tmp_path)
    assert content(path)["a"] in ("old", "new")
    assert [file for file in tmp_path.iterdir() if file != path] == []


def test_what_a_living_writer_or_another_machine_writes_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_file(tmp_path / "a") as mine:
        mine.write_bytes(b"half")
        here = atomic._place()
        dead = tmp_path / f".d.genie-new-{here}-4194305-7-0"
        reused = tmp_path / f".r.genie-new-{here}-{os.getpid()}-7-0"
        elsewhere, forgotten = (tmp_path / f".{name}.genie-new-{'0' * 8}-1-7-0" for name in "ef")
        users = tmp_path / ".notes.tmp-1"
        for file in (dead, reused, elsewhere, forgotten, users):
            file.write_bytes(b"x")
        long_ago = time.time() - 8 * 24 * 3600
        os.utime(forgotten, (long_ago, long_ago))
        monkeypatch.setattr(time, "time", lambda: long_ago + 99 * 24 * 3600)  # a clock that was set says nothing
        assert set(clear_leftovers(tmp_path)) == {dead, reused, forgotten}
        assert sorted(tmp_path.iterdir()) == sorted([mine, elsewhere, users])


def test_any_name_that_the_disk_takes_can_be_written(tmp_path: Path) -> None:
    write_bytes(tmp_path / ("é" * 120), b"x")
    write_bytes(tmp_path / ("a" * 255), b"x")


@pytest.mark.parametrize("links", [True, False])
def test_of_several_that_write_a_file_once_the_first_is_believed_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", failing("link", 0))
    assert write_once(tmp_path / "plan", b"first") == b"first"
    assert write_once(tmp_path / "plan", b"second") == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["plan"]


def test_one_that_comes_between_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.link

    def link(source: Path, target: Path) -> None:
        target.write_bytes(b"theirs")  # by another process, just now
        real(source, target)

    monkeypatch.setattr(os, "link", link)
    assert write_once(tmp_path / "plan", b"ours") == b"theirs"
