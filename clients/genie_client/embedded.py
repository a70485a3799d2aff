"""Runs a private Genie server for the length of a block: the real server, as a subprocess on loopback.

To serve others use `genie serve`. However this process dies, the server sees its standard input close and stops too.
"""

from __future__ import annotations

import importlib.util
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from genie_client.client import Client
from genie_client.errors import ServerError
from genie_core.bundles import models_dir
from genie_core.errors import GenieError

_LISTENING = "genie: serving on "
_READY = "genie: ready"
_START_WITHIN_S = 600.0
_STOP_WITHIN_S = 15.0

_ENDS_WITHIN_S = 0.5
"""Seconds to wait for a process to end after its connections broke."""

_ALONE = ("--max-calls", "1024", "--idle-seconds", "86400", "--pressure-seconds", "86400")
"""Settings that lift the limits protecting clients from each other, since there is only one, whatever the environment
sets."""


@contextmanager
def embedded_server(
    models: Path | str | None = None,
    *,
    model: str | None = None,
    device: str = "cpu",
    start_within_s: float = _START_WITHIN_S,
) -> Iterator[str]:
    """Start a server, yield its address once its models are warm, and stop it at the end of the block.

    Args:
        models: folder of bundles, or one bundle, or a URL of either; None: the bundles that ship with Genie.
        model: the server's default model, which it loads; None: the one that the folder names.
        device: torch device for the models.
        start_within_s: time limit for loading and warming up, seconds.

    Raises GenieError if the server's packages are not installed, or with the server's message if it fails to start.
    """
    with _running(models, device, start_within_s, model) as (address, _):
        yield address


@contextmanager
def embedded_client(
    models: Path | str | None = None, model: str | None = None, *, device: str = "cpu", threads: int = 0
) -> Iterator[Client]:
    """Yield a client of its own `embedded_server`; if the server ended, errors include its last output.

    `model` is the default model to load; None: the folder's only or default one. `threads`: 0 for torch's choice.
    """
    with (
        _running(models, device, _START_WITHIN_S, model, threads) as (address, ended),
        Client(address, tls=False, token="", ended=ended) as client,  # our own, on loopback
    ):
        yield client


@contextmanager
def _running(
    models: Path | str | None, device: str, start_within_s: float, model: str | None = None, threads: int = 0
) -> Iterator[tuple[str, Callable[[], str | None]]]:
    """Start a server; yields its address and a function that returns its last output once it has ended."""
    _check_installed()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = _start(models or models_dir(), device, model, threads, log)

        def ended() -> str | None:
            with suppress(subprocess.TimeoutExpired):
                return f", exit code {process.wait(_ENDS_WITHIN_S)}{_last_words(log)}"
            return None

        try:
            yield _wait_until_ready(process, log, start_within_s), ended
        finally:
            _stop(process)


def _check_installed() -> None:
    needed = ("genie_service", "torch", "grpc_health", "grpc_reflection", "pydantic_settings")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise GenieError(
            "no server was named, and an embedded one needs `pip install 'genie-latent[service]'` "
            f"(missing here: {', '.join(missing)}); or name a server with --server HOST:PORT"
        )


def _start(models: Path | str, device: str, model: str | None, threads: int, log: IO[str]) -> subprocess.Popen[str]:
    # -P: packages are the installed ones, not those of a checkout that somebody works in.
    command = [sys.executable, "-P", "-m", "genie_service", "--models", str(models)]
    command += ["--host", "127.0.0.1", "--port", "0"]
    command += ["--device", device, "--exit-with-stdin", *_ALONE]
    command += [] if model is None else ["--default-model", model]
    command += ["--threads", str(threads)] if threads else []
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        # Threads that spin while they wait make a busy machine a hundred times slower.
        env={"OMP_WAIT_POLICY": "passive", **os.environ},
        # Its own process group: Ctrl-C in a terminal reaches the client only, which then stops the server.
        process_group=0 if os.name == "posix" else None,
    )


def _wait_until_ready(process: subprocess.Popen[str], log: IO[str], within_s: float) -> str:
    """Wait until the server reports that it is ready; returns its address."""
    assert process.stdout is not None
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_forward_lines, args=(process.stdout, lines), daemon=True).start()
    deadline = time.monotonic() + within_s
    address = ""
    while True:
        try:
            line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise ServerError(f"the embedded server was not ready within {within_s:g} s{_last_words(log)}") from None
        if not line:
            raise ServerError(f"the embedded server did not start{_last_words(log)}")
        if line.startswith(_LISTENING):
            address = line.removeprefix(_LISTENING).strip()
        if line.startswith(_READY):
            return address


def _forward_lines(stdout: IO[str], lines: queue.SimpleQueue[str]) -> None:
    """Read the server's output as long as it runs, so that it never blocks on writing; "" marks the end."""
    with stdout:
        for line in stdout:
            lines.put(line)
    lines.put("")


def _last_words(log: IO[str]) -> str:
    log.seek(0)
    words = log.read().strip()
    return f": {words[-2000:]}" if words else ""


def _stop(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.terminate()
    try:
        process.wait(_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdin.close()


__all__ = ["embedded_client", "embedded_server"]
