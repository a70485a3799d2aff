"""The server and the command line as users start them, and what the system says about their memory. Linux only."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

GENIE = (sys.executable, "-c", "from genie_cli import main; main()")
"""The `genie` command of this environment."""

MODEL = "tiny"
"""The shipped bundle of what is measured on a GPU and of tests: all of its work is its networks'."""

_STOP_WITHIN_S = 30.0


@dataclass(frozen=True)
class Server:
    """A server that is ready.

    Attributes:
        address: ``host:port``.
        pid: of its process.
        started: `time.perf_counter` as it was started.
        ready: likewise, as it said that it was ready.

    """

    address: str
    pid: int
    started: float
    ready: float


@contextmanager
def serving(*flags: str, command: Sequence[str] = (*GENIE, "serve"), model: str = MODEL) -> Iterator[Server]:
    """``genie serve`` on a free port of loopback with `model` for a default, for as long as the block runs."""
    started = time.perf_counter()
    words = [*command, "--port", "0", "--log-level", "error", "--default-model", model, *flags]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield _wait(process, started)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(process: subprocess.Popen[str], started: float) -> Server:
    """Return the server once it has said that it is ready; raises RuntimeError where it ends before."""
    assert process.stdout is not None
    address = ""
    for line in process.stdout:
        if line.startswith("genie: serving on "):
            address = line.removeprefix("genie: serving on ").strip()
        if line.startswith("genie: ready"):
            return Server(address, process.pid, started, time.perf_counter())
    raise RuntimeError(f"the server ended with status {process.wait()} before it was ready, its last word {address!r}")


def peak_mb(pid: int | str = "self") -> float:
    """Return the peak resident memory of a process, 10^6 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"process {pid} has no VmHWM: has it ended?")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and its threads have taken, seconds, to a hundredth."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def label_peak_mb(*words: str) -> float:
    """Run ``genie label`` in a fresh process; the most memory it had. Raises CalledProcessError where it fails."""
    script = (
        "import sys\n"
        "from benchmarks.processes import peak_mb\n"
        "from genie_cli import main\n"
        "try:\n    main(['label', *sys.argv[1:]])\n"
        "finally:\n    print(f'peak_mb {peak_mb()}', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words], check=True, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    return float(done.stdout.rsplit("peak_mb", 1)[1])


__all__ = ["GENIE", "MODEL", "Server", "cpu_seconds", "label_peak_mb", "peak_mb", "serving"]
