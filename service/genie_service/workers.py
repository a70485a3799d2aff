"""Runs slow work off the event loop and the device, in a bounded number of threads: images, resizing, large messages.

The client whose work has taken the least time goes first, and a new client starts level with those at work, so that
small work never waits behind a backlog of others. Not for work that blocks.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

_ESTIMATE_S = 0.05
"""Estimated cost of work until it is done."""


@dataclass(eq=False)
class _Task:
    function: Callable[[], Any]
    done: asyncio.Future[Any]
    holding: Callable[[], AbstractContextManager[object]]


@dataclass(eq=False)
class _Client:
    clock_s: float
    tasks: deque[_Task] = field(default_factory=deque)
    running: int = 0


class Workers:
    """Threads and the work waiting for them. For one event loop; `close` it when done."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="genie-worker")
        self._clients: dict[str, _Client] = {}
        self._now_s = 0.0
        self._running = 0

    async def run(
        self,
        client: str,
        function: Callable[[], T],
        holding: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> T:
        """Run `function` in a thread when it is the client's turn; returns or raises what it does.

        It never runs if the caller is cancelled before. `holding` is entered on the event loop when it starts and left
        when it ends, for resources needed only then.
        """
        task = _Task(function, asyncio.get_running_loop().create_future(), holding)
        self._clients.setdefault(client, _Client(self._now_s)).tasks.append(task)
        self._start()
        try:
            result: T = await task.done
            return result
        finally:
            del task  # it may hold what was raised, which holds this frame: the call would outlive itself

    def close(self) -> None:
        """Return when what runs is done."""
        self._executor.shutdown(cancel_futures=True)

    def _start(self) -> None:
        while self._running < self._threads:
            waiting = [(c.clock_s, name) for name, c in self._clients.items() if c.tasks]
            if not waiting:
                return
            self._now_s, name = min(waiting)
            client = self._clients[name]
            task = client.tasks.popleft()
            if task.done.done():  # nobody waits for it any more
                self._forget(name)
                continue
            self._running += 1
            client.running += 1
            client.clock_s += _ESTIMATE_S  # put right when it is done
            held = ExitStack()
            held.enter_context(task.holding())
            running = asyncio.get_running_loop().run_in_executor(self._executor, task.function)
            running.add_done_callback(partial(self._ended, task, name, time.perf_counter(), held))

    def _forget(self, name: str) -> None:
        client = self._clients[name]
        if not client.tasks and not client.running:
            del self._clients[name]

    def _ended(self, task: _Task, name: str, began: float, held: ExitStack, running: asyncio.Future[Any]) -> None:
        held.close()
        self._running -= 1
        client = self._clients[name]
        client.running -= 1
        client.clock_s += time.perf_counter() - began - _ESTIMATE_S
        self._forget(name)
        if not task.done.done():
            error = None if running.cancelled() else running.exception()
            if running.cancelled():
                task.done.cancel()
            elif error is not None:
                task.done.set_exception(error)
            else:
                task.done.set_result(running.result())
        elif not running.cancelled():
            running.exception()  # taken note of: nobody else will
        self._start()


__all__ = ["Workers"]
