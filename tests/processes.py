"""The command line and the server as users start them: real processes, with the few things that tests ask of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WITHIN_S = 120


class Genie:
    """Runs `genie` in a process of its own, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", "from genie_client.cli import main; main()", *map(str, words)],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str | Path) -> str:
        """What a command that must succeed says on standard output."""
        process = self.start(*words)
        out, err = process.communicate(timeout=WITHIN_S)
        assert process.returncode == 0, err
        return out

    def fail(self, *words: str | Path) -> str:
        """What a command that must be refused says on standard error: one error, no traceback."""
        process = self.start(*words)
        _, err = process.communicate(timeout=WITHIN_S)
        assert process.returncode == 2, err
        assert err.startswith("error: "), err
        assert "Traceback" not in err
        return err


@contextmanager
def server_process(models: Path, port: int = 0, *flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A ready server, which the test may kill, and its address."""
    command = [sys.executable, "-m", "genie_service", "--models", str(models), "--port", str(port), *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("genie: serving on ").strip()
        assert process.stdout.readline().startswith("genie: ready")
        try:
            yield process, address
        finally:
            process.kill()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
