"""The server of the trials: a process of its own, killed and started again while a client labels through it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

from tests.reliability.commands import run
from tests.reliability.trials import Tally, Task, judge
from tests.support.processes import free_port


class Server:
    """`genie serve` with an untrained model, always on the same port."""

    def __init__(self, models: Path) -> None:
        self._models, self._port = models, free_port()
        self.address = f"127.0.0.1:{self._port}"
        self.start()

    @classmethod
    @contextmanager
    def started(cls, work: Path) -> Iterator[Self]:
        """A server for as long as the block lasts. Its model is made in another process, which may have threads."""
        make = "import sys; from pathlib import Path; from tests.factories.bundles import make_nano_bundle; "
        make += "make_nano_bundle(Path(sys.argv[1]))"
        subprocess.run([sys.executable, "-c", make, work / "models" / "nano"], check=True)
        server = cls(work / "models")
        try:
            yield server
        finally:
            server.kill()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def start(self) -> None:
        """Start it, and return when it is ready."""
        command = [sys.executable, "-m", "genie_service", "--models", str(self._models), "--port", str(self._port)]
        self._process = subprocess.Popen(
            [*command, "--log-level", "error"],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("genie: ready"):
                return
        raise RuntimeError("the server did not start")


def of_the_server(
    task: Task, folder: Path, expected: dict[str, str], trials: int, server: Server, rng: random.Random
) -> Tally:
    """Kill the server while the command labels, and start it again: the command itself goes on.

    With `--patience` it waits for a server that it has not met yet too.
    """
    task = replace(task, words=(*task.words, "--patience", "120"))
    tally, seconds = Tally(), run_time(task, folder)
    for _ in range(trials):
        task.begin(folder)
        tally.trials += 1
        print(f"{task.name}: trial {tally.trials}: its server", file=sys.stderr, flush=True)
        kill_s, gone_s = rng.uniform(0, seconds), rng.uniform(0, 2)
        pid = os.fork()
        if pid == 0:
            os._exit(_label(task, folder))
        time.sleep(kill_s)
        server.kill()
        tally.kills += 1
        time.sleep(gone_s)
        server.start()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code == 0:
            judge(task, folder, run(task.words, folder), expected, tally, "its server")
            tally.too_late = 0  # the command was not killed: it must have ended well itself
        else:
            said = folder.with_name(f"{folder.name}.log").read_text()[-300:]
            tally.failures.append(f"the command ended with {code}: {said}")
    return tally


def run_time(task: Task, folder: Path) -> float:
    """Seconds that a run takes which nobody disturbs."""
    task.begin(folder)
    return run(task.words, folder).seconds


def _label(task: Task, folder: Path) -> int:
    return abs(run(task.words, folder).code)


__all__ = ["Server", "of_the_server"]
