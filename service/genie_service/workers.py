"""A bounded number of threads for what is neither the device's work nor quick: images, resizing, large messages.

Clients take turns, so that one with many images does not keep those of others waiting. Not for what waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(eq=False)
class _Task:
    function: Callable[[], Any]
    done: asyncio.Future[Any]


class Workers:
    """Threads, and the work that waits for them. For one event loop; `close` when done."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="genie-worker")
        self._waiting: dict[str, deque[_Task]] = {}
        self._running = 0

    async def run(self, client: str, function: Callable[[], T]) -> T:
        """Result of `function`, run in a thread when it is the client's turn. Raises what it raises.

        If the caller is cancelled before that, it never runs.
        """
        task = _Task(function, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(client, deque()).append(task)
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
        while self._running < self._threads and self._waiting:
            client = next(iter(self._waiting))
            tasks = self._waiting.pop(client)
            task = tasks.popleft()
            if tasks:
                self._waiting[client] = tasks  # to the end of the round
            if task.done.done():  # nobody waits for it any more
                continue
            self._running += 1
            running = asyncio.get_running_loop().run_in_executor(self._executor, task.function)
            running.add_done_callback(partial(self._ended, task))

    def _ended(self, task: _Task, running: asyncio.Future[Any]) -> None:
        self._running -= 1
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
