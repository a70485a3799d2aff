"""The command line and the server as users start them: real processes, with the few things that tests ask of them."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from genie_cli import main

WITHIN_S = 120


class Genie:
    """Runs `genie` in `folder`, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", "from genie_cli import main; main()", *map(str, words)],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *words: str | Path) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a command."""
        process = self.start(*words)
        out, err = process.communicate(timeout=WITHIN_S)
        return process.returncode, out, err

    def run(self, *words: str | Path) -> str:
        """What a command that must succeed says on standard output."""
        code, out, err = self.call(*words)
        assert code == 0, err
        return out

    def fail(self, *words: str | Path) -> str:
        """What a command that must be refused says on standard error: one error, no traceback."""
        code, _, err = self.call(*words)
        assert code == 2, err
        assert err.startswith("error: "), err
        assert "Traceback" not in err
        return err


class GenieHere(Genie):
    """Runs the same command in this process, in the current folder, which is ten times quicker."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        super().__init__(folder)
        self._capture = capture

    def call(self, *words: str | Path) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a command."""
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        said = self._capture.readouterr()
        return int(ended.value.code or 0), said.out, said.err


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


def free_port(adjacent: int = 1) -> int:
    """A port that nobody listens on, nor on those that follow it, `adjacent` in all.

    None of those that the system gives away itself, to whoever connects or listens before it is used.
    """
    for port in secrets.SystemRandom().sample(range(20_000, 32_000), 100):
        with ExitStack() as probes, suppress(OSError):
            for at in range(port, port + adjacent):
                probes.enter_context(socket.socket()).bind(("127.0.0.1", at))
            return port
    raise RuntimeError("of 100 ports none was free")
