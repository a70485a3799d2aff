"""Ends a command whose library call never returns, and names the file that was being read; also after a crash.

libhdf5 reads some damaged files without end, or crashes on them, and no Python code runs meanwhile. So another process
watches: it is told once a second which files are being read, and ends a command that goes silent while it uses
processor time, which a slow disk does not. If the command ends in the middle of a file, it names the file.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

HANG_S = 60.0
"""Processor time without a word after which a command counts as hung, seconds; environment: GENIE_HANG_SECONDS."""

_BEAT_S = 1.0

_WATCHER = """
import contextlib, json, os, select, signal, sys
whom, limit = int(sys.argv[1]), float(sys.argv[2])
def used():
    fields = open(f"/proc/{whom}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
def say(words):
    with contextlib.suppress(OSError):  # nobody reads any more
        sys.stderr.write(f"\\nerror: {words}\\n")
        sys.stderr.flush()
reading, since, text = [], used(), b""
while True:
    if select.select([0], [], [], 0.5)[0]:
        came = os.read(0, 65536)
        if not came:
            if reading:
                files = ", or ".join(reading)
                say(f"{files}: the process ended while it read this. Unless somebody ended it, the file is damaged "
                    "in a way that crashes its library; leave it out. What is done stands")
            break
        text += came
        *lines, text = text.split(b"\\n")
        if lines:
            reading, since = json.loads(lines[-1]), used()
    elif reading and used() - since > limit:
        files = ", or ".join(reading)
        say(f"{files}: reading has not come back after {limit:g} s of processor time: the file is damaged in a way "
            "that its library never notices; leave it out. What is done stands")
        os.kill(whom, signal.SIGKILL)
        break
"""


class _Watch:
    """The watching process, and the thread that reports to it what is being read while Python runs."""

    def __init__(self, limit_s: float) -> None:
        command = [sys.executable, "-I", "-S", "-c", _WATCHER, str(os.getpid()), str(limit_s)]
        # In a session of its own, where Ctrl-C does not come; it ends when this process does, and the pipe with it.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        )
        assert self._process.stdin is not None
        self._to: IO[bytes] = self._process.stdin
        self._reading: list[str] = []
        self._lock = threading.Lock()
        self._is_over = False
        threading.Thread(target=self._beat, name="genie-hang", daemon=True).start()
        atexit.register(self._end)

    @contextmanager
    def reading(self, path: str) -> Iterator[None]:
        with self._lock:
            self._reading.append(path)
            self._tell()
        try:
            yield
        finally:
            with self._lock:
                self._reading.remove(path)

    def _beat(self) -> None:
        ticks = threading.Event()
        while not ticks.wait(_BEAT_S):
            with self._lock:
                self._tell()

    def _end(self) -> None:
        """Say that the process ends in an orderly way, whatever its threads still read."""
        with self._lock:
            self._is_over = True
            self._tell()

    def _tell(self) -> None:
        told = [] if self._is_over else sorted(set(self._reading))[:5]
        with suppress(OSError):  # it has ended: nobody watches
            self._to.write(json.dumps(told).encode() + b"\n")
            self._to.flush()


_is_wanted = False
_watch: _Watch | None = None
_starting = threading.Lock()


def watch_for_hangs() -> None:
    """End this process if a library never returns from reading a file; for commands, not for servers."""
    global _is_wanted
    _is_wanted = os.path.isdir("/proc/self")


@contextmanager
def reading(path: object) -> Iterator[None]:
    """Mark that `path` is being read while the block lasts, by a library that may not come back."""
    global _watch
    if not _is_wanted:
        yield
        return
    with _starting:
        if _watch is None:
            _watch = _Watch(float(os.environ.get("GENIE_HANG_SECONDS", HANG_S)))
    with _watch.reading(str(path)):
        yield


def _forget() -> None:
    """Watch nothing in a forked process: the watching process belongs to its parent."""
    global _is_wanted, _watch, _starting
    if _watch is not None:
        atexit.unregister(_watch._end)
    _is_wanted, _watch, _starting = False, None, threading.Lock()


os.register_at_fork(after_in_child=_forget)

__all__ = ["HANG_S", "reading", "watch_for_hangs"]
