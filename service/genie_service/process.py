"""The server's process: logging, threads, signals, and the two lines on standard output for its parent."""

from __future__ import annotations

import asyncio
import atexit
import gc
import os
import signal
import threading
from collections.abc import Callable

import torch

from genie_core.tracing import start_tracing
from genie_service.audit import AUDIT
from genie_service.logs import log_to_file, log_to_stderr
from genie_service.memory import keep_freed_memory
from genie_service.server import GenieServer
from genie_service.settings import Settings

_INTERRUPTED = 130

_CUT = 75
"""EX_TEMPFAIL of sysexits.h: calls were cut off, whose clients have to make them again."""

_BROKEN = 70
"""EX_SOFTWARE of sysexits.h: tells whatever started the server to restart it."""


def run(settings: Settings, *, shares_port: bool = False) -> int:
    """Serve until stopped; returns the process's exit code.

    With `shares_port` it is one of several processes on one port (`supervisor`): it listens only once its models are
    ready, and no longer once it is told to stop.

    0 after SIGTERM or SIGINT (or, with `exit_with_stdin`, the end of standard input), once calls in progress have
    finished; 75 if some took longer than `drain_seconds` and were cut off; 130 if a second signal cut that short; 70 if
    the device's lanes have failed and nothing can be computed any more. Raises GenieError if the server cannot be
    started.
    """
    log_to_stderr(settings.log_level, settings.log_format)
    if settings.audit_log is not None:
        log_to_file(settings.audit_log, AUDIT, settings.log_format)
    start_tracing("genie-server")
    keep_freed_memory()
    # At its end Python would search all that PyTorch has made for garbage: a second of a processor for nothing.
    atexit.register(gc.freeze)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.backends.cudnn.allow_tf32 = False  # on a GPU, PyTorch computes convolutions of float32 in less by default
    return asyncio.run(_serve(settings, shares_port))


async def _serve(settings: Settings, shares_port: bool) -> int:
    stop, hurry = asyncio.Event(), asyncio.Event()
    _on_signals(lambda: (hurry if stop.is_set() else stop).set())
    if settings.exit_with_stdin:
        _watch_stdin(stop.set)
    server = await GenieServer.start(settings, shares_port=shares_port)
    if not shares_port:
        print(f"genie: serving on {server.address}", flush=True)
    preload = asyncio.create_task(server.preload())
    try:
        if await _before(preload, stop):
            if shares_port:
                await server.listen()
                print(f"genie: metrics on {server.metrics_address}", flush=True)
            print(f"genie: ready, models: {', '.join(preload.result()) or 'none'}", flush=True)
            await _first_of(stop, server.broken)
    finally:
        drain = asyncio.create_task(server.drain(settings.drain_seconds))
        if not await _before(drain, hurry):
            drain.cancel()
            await server.drain(0)
    if hurry.is_set():
        return _INTERRUPTED
    if server.broken.is_set():
        return _BROKEN
    return _CUT if drain.result() else 0


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


async def _before(task: asyncio.Task[object], event: asyncio.Event) -> bool:
    """Wait for the first of the two: True for the task, whose exception is raised; False for the event."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if event.is_set() and not task.done():
        return False
    await task
    return True


def _on_signals(callback: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, callback)


def _watch_stdin(callback: Callable[[], object]) -> None:
    """Call `callback` on the event loop at the end of standard input, that is when the parent has gone."""
    loop = asyncio.get_running_loop()

    def watch() -> None:
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(callback)

    threading.Thread(target=watch, name="genie-stdin", daemon=True).start()


__all__ = ["run"]
