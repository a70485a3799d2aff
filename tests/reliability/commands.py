"""Runs `genie` in a forked process, so that a run costs no imports, and kills it where it is told to.

To be used from a process of one thread that has no connection open: forking others is not safe.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, NoReturn

STEPS = ("mkdir", "fsync", "replace", "rename", "unlink", "rmdir")
"""The calls of `os` by which something on the disk comes, stays or goes; pathlib and shutil make the same ones."""


@dataclass(frozen=True)
class Point:
    """A moment in a run: call number `number` of `step`, before or after it does its work."""

    step: str
    number: int
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.step} {self.number}"


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code, below 0 the signal that killed it, and what it said."""

    code: int
    said: str
    seconds: float


class Noon(datetime):
    """A clock that stands: files of two runs are then the same to the byte."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime(2026, 7, 1, 12, tzinfo=tz)


def run(words: Sequence[str], folder: Path, kill: Point | float | None = None) -> Ended:
    """Run `genie` with these words in `folder`; kill it at a point, or after so many seconds."""
    log, began = folder.with_name(f"{folder.name}.log"), time.monotonic()
    pid = os.fork()
    if pid == 0:
        _be_genie(words, folder, log, _killing(kill) if isinstance(kill, Point) else None)
    if isinstance(kill, float):
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while time.monotonic() - began < kill and os.waitid(os.P_PID, pid, look) is None:
            time.sleep(0.002)
        os.kill(pid, signal.SIGKILL)  # where it has ended it is still to be waited for
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Ended(code, log.read_text(errors="replace"), time.monotonic() - began)


def count_steps(words: Sequence[str], folder: Path) -> Counter[str]:
    """How often a run that nobody kills makes each step."""
    counted: Counter[str] = Counter()
    reading, writing = os.pipe()

    def count(step: str, call: Callable[[], Any]) -> Any:
        os.write(writing, f"{step}\n".encode())
        return call()

    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _be_genie(words, folder, folder.with_name("count.log"), count)
    os.close(writing)
    with os.fdopen(reading) as steps:
        counted.update(line.strip() for line in steps)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise RuntimeError(folder.with_name("count.log").read_text())
    return counted


def _killing(point: Point) -> Callable[[str, Callable[[], Any]], Any]:
    calls: Counter[str] = Counter()
    counting = threading.Lock()

    def step(name: str, call: Callable[[], Any]) -> Any:
        with counting:
            is_here = name == point.step and calls[name] == point.number
            calls[name] += 1
        if is_here and not point.after:
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return call()
        finally:  # also where it fails
            if is_here:
                os.kill(os.getpid(), signal.SIGKILL)

    return step


def _be_genie(
    words: Sequence[str], folder: Path, log: Path, watch: Callable[[str, Callable[[], Any]], Any] | None
) -> NoReturn:
    """Become `genie`; for a process that was forked for that."""
    code = 70
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.chdir(folder)
        _stop_the_clock()
        if watch is not None:
            _watch(watch)
        from genie_cli import main

        main(list(words))
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _watch(watch: Callable[[str, Callable[[], Any]], Any]) -> None:
    def watched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **options: watch(name, lambda: real(*args, **options))

    for name in STEPS:
        setattr(os, name, watched(name, getattr(os, name)))


def _stop_the_clock() -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("genie_core.data.") and getattr(module, "datetime", None) is datetime:
            module.datetime = Noon  # type: ignore[attr-defined]


__all__ = ["STEPS", "Ended", "Point", "count_steps", "run"]
