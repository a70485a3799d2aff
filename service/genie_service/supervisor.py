"""Several server processes behind one address: starts them, restarts what ends, replaces them one by one, stops them.

Each worker is a whole server with models of its own, and listens on the same port (SO_REUSEPORT): the system gives a
connection to one of them, where all its calls and sessions stay. A worker listens only once its models are ready. The
supervisor computes nothing and imports no torch.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from genie_core.errors import GenieError
from genie_service.division import divided
from genie_service.exposition import Exposition
from genie_service.gathering import Gathered
from genie_service.logs import log_to_stderr
from genie_service.settings import Settings

_log = logging.getLogger(__name__)

_UNFIT, _BROKEN, _CUT, _INTERRUPTED = 2, 70, 75, 130

MOST_FAILURES = 3
"""Times in a row that a worker may end within `_SETTLED_S` of its start; then the server gives up."""

_SETTLED_S = 60.0
_PAUSE_S = 1.0
"""Before a worker that ended by itself is started again, times its failures in a row."""

SERVING, READY, METRICS = "genie: serving on ", "genie: ready", "genie: metrics on "


@dataclass
class _Worker:
    """One place, and the process that fills it at present.

    Attributes:
        index: of the place.
        process: None while there is none.
        ready: what the process said when it was ready; empty before.
        metrics: address of its metrics.
        failures: in a row.

    """

    index: int
    process: asyncio.subprocess.Process | None = None
    ready: str = ""
    metrics: str = ""
    failures: int = 0
    began: float = field(default_factory=time.monotonic)


def supervise(settings: Settings) -> int:
    """Serve with `settings.workers` processes until stopped; returns the process's exit code.

    0 after SIGTERM or SIGINT, once calls in progress have finished; 75 if some were cut off; 130 after a second signal;
    70 if a worker ends again and again; 2 if the first worker cannot start. SIGHUP replaces the workers one by one.
    Raises GenieError if the address cannot be taken.
    """
    log_to_stderr(settings.log_level, settings.log_format)
    return asyncio.run(Supervisor(settings).run())


class Supervisor:
    """Runs the workers of one server. Use `run` once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workers = [_Worker(index) for index in range(settings.workers)]
        self._port = 0
        self._restarts = 0
        self._stopping = asyncio.Event()
        self._code: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._replacing = asyncio.Lock()

    async def run(self) -> int:
        """Start, watch and stop the workers; see `supervise`."""
        with reserved(self._settings.host, self._settings.port) as socket_:
            self._port = socket_.getsockname()[1]
            self._listen_to_signals()
            exposition = await self._expose()
            try:
                if await self._start_all():
                    await self._stopping.wait()
            finally:
                code = await self._stop_all()
                if exposition is not None:
                    await asyncio.to_thread(exposition.close)
        return code

    async def _start_all(self) -> bool:
        """Start the first worker, which finds what is wrong with the settings, then all others; False if one failed."""
        first, *others = self._workers
        for some in ([first], others):
            done = await asyncio.gather(*(self._start(worker) for worker in some))
            failed = [worker for worker, is_ready in zip(some, done, strict=True) if not is_ready]
            if failed:
                code = failed[0].process.returncode if failed[0].process is not None else _BROKEN
                self._code = _UNFIT if code == _UNFIT else None if self._stopping.is_set() else _BROKEN
                return False
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        print(f"{SERVING}{host}:{self._port}", flush=True)
        print(f"{first.ready} ({len(self._workers)} workers)", flush=True)
        for worker in self._workers:
            self._keep(self._watch(worker))
        return True

    async def _start(self, worker: _Worker) -> bool:
        """Start a process in a place and wait until it is ready; False if it ends before."""
        settings = divided(self._settings, worker.index, self._port, _gpus(self._settings), _cores())
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "genie_service.worker_process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the supervisor's to pass on
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(settings.model_dump_json().encode() + b"\n")
        worker.process, worker.ready, worker.metrics, worker.began = process, "", "", time.monotonic()
        while line := (await process.stdout.readline()).decode().rstrip("\n"):
            if line.startswith(METRICS):
                worker.metrics = line.removeprefix(METRICS)
            if line.startswith(READY):
                worker.ready = line
                _log.info("worker %d (process %d) serves on %s", worker.index, process.pid, settings.device)
                return True
        code = await process.wait()
        if not self._stopping.is_set():
            _log.error("worker %d ended with status %d before it was ready", worker.index, code)
        return False

    async def _watch(self, worker: _Worker) -> None:
        """Start a process again that ends by itself; give up, and end the server, if that happens again and again."""
        while not self._stopping.is_set():
            process = worker.process
            assert process is not None
            code = await process.wait()
            if self._stopping.is_set() or worker.process is not process:
                continue  # it was replaced, or is being stopped
            settled = time.monotonic() - worker.began > _SETTLED_S
            worker.failures = 1 if settled else worker.failures + 1
            _log.error("worker %d (process %d) ended with status %d", worker.index, process.pid, code)
            if worker.failures > MOST_FAILURES:
                _log.critical("worker %d ends again and again: the server ends", worker.index)
                self._code = _BROKEN
                self._stopping.set()
                return
            self._restarts += 1
            await _first_of(self._stopping, _PAUSE_S * (worker.failures - 1))
            if not self._stopping.is_set():
                await self._start(worker)

    async def _replace_all(self) -> None:
        """Replace the workers one by one: the new one is ready before the old one takes no more calls."""
        async with self._replacing:
            for worker in self._workers:
                old = worker.process
                if self._stopping.is_set() or old is None:
                    return
                if not await self._start(worker):
                    _log.error("worker %d could not be replaced, the old one stays", worker.index)
                    worker.process = old
                    return
                old.terminate()
                await old.wait()

    async def _stop_all(self) -> int:
        """Stop all workers, and return the server's exit code."""
        self._stopping.set()
        running = [w.process for w in self._workers if w.process is not None and w.process.returncode is None]
        for process in running:
            process.terminate()
        codes = [await process.wait() for process in running]
        for task in self._tasks:
            task.cancel()
        if self._code is not None:
            return self._code
        return max((code for code in codes if code in (_CUT, _INTERRUPTED)), default=0)

    async def _expose(self) -> Exposition | None:
        if self._settings.metrics is None:
            return None
        from prometheus_client import CollectorRegistry

        registry = CollectorRegistry()
        registry.register(Gathered(lambda: {w.index: w.metrics for w in self._workers}, lambda: self._restarts))
        exposition = await asyncio.to_thread(Exposition, registry, *self._settings.metrics)
        _log.info("metrics: http://%s/metrics", exposition.address)
        return exposition

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_or_hurry)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._keep(self._replace_all()))
        if self._settings.exit_with_stdin:
            loop.add_reader(0, self._read_stdin)

    def _read_stdin(self) -> None:
        if not os.read(0, 4096):
            asyncio.get_running_loop().remove_reader(0)
            self._stopping.set()

    def _stop_or_hurry(self) -> None:
        if self._stopping.is_set():
            for worker in self._workers:
                if worker.process is not None and worker.process.returncode is None:
                    worker.process.terminate()  # a second signal, which cuts calls off
        self._stopping.set()

    def _keep(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def reserved(host: str, port: int) -> socket.socket:
    """Take an address for the workers to share, without listening; port 0 for a free one. Raises GenieError."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise GenieError("workers: this system cannot share a port between processes (SO_REUSEPORT); use --workers 1")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:  # of its own: nobody else may be listening there
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
        taken = socket.socket(family, kind, protocol)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(address)
    except OSError as error:
        raise GenieError(f"cannot listen on {host}:{port}: is the port in use? ({error.strerror or error})") from None
    return taken


async def _first_of(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, at most that long."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus(settings: Settings) -> int:
    """Return the number of GPUs, asked of torch in a separate process, and only if they are shared out."""
    if settings.device != "cuda":
        return 0
    import subprocess

    script = "import torch; print(torch.cuda.device_count())"
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=False)
    return int(done.stdout or 0) if done.returncode == 0 else 0


__all__ = ["MOST_FAILURES", "Supervisor", "reserved", "supervise"]
