"""The one owner of the device: all calls' pieces of work wait in one queue and run on one thread, off the event loop.

A call hands in one piece at a time and waits for it, so the queue serves calls in turn and none starves another. Not
here: what a piece computes. A piece is not interrupted once it runs, so callers keep pieces small.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from genie_service.errors import BusyError

T = TypeVar("T")

_MEAN_WEIGHT = 0.1
"""Weight of the newest piece in the running mean of what a piece costs."""

_LEAST_RETRY_S = 0.1


class Engine:
    """Runs work on the device in order of arrival. Used from one event loop; `close` when done."""

    def __init__(self, queue_limit: int) -> None:
        """`queue_limit`: number of pieces waiting or running past which calls that begin are refused."""
        self._queue_limit = queue_limit
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="genie-device")
        self._pending = 0
        self._mean_piece_s = 0.0

    @property
    def pending(self) -> int:
        """Number of pieces that somebody waits for, the running one included."""
        return self._pending

    def job(self, *, admitted: bool = False) -> Job:
        """A call's way to the device. `admitted`: exempt from the queue's limit (the server's own work)."""
        return Job(self, admitted)

    def check_room(self) -> None:
        """Raise BusyError, with an estimate of when to come again, if the queue is full."""
        if self._pending >= self._queue_limit:
            raise BusyError(
                f"the device is busy: {self._pending} pieces of work wait for it, the server's limit (queue_limit)",
                retry_after_s=max(_LEAST_RETRY_S, self._pending * self._mean_piece_s),
            )

    async def run(self, work: Callable[[], T]) -> tuple[T, float, float]:
        """Run `work` on the device's thread: its result, seconds queued, seconds computed.

        If the caller is cancelled (its client has gone or its deadline has passed) while the piece waits, the piece is
        dropped and never runs.
        """
        submitted = time.perf_counter()
        wanted = [work]  # emptied when nobody waits any more, so that a dropped piece holds no frames

        def measured() -> tuple[T, float, float]:
            started = time.perf_counter()
            result = wanted.pop()()
            return result, started - submitted, time.perf_counter() - started

        self._pending += 1
        try:
            # Cancelling the awaited future cancels the executor's, and the executor skips cancelled futures.
            result, queue_s, compute_s = await asyncio.wrap_future(self._thread.submit(measured))
        finally:
            wanted.clear()
            self._pending -= 1
        self._mean_piece_s += _MEAN_WEIGHT * (compute_s - self._mean_piece_s)
        return result, queue_s, compute_s

    def close(self) -> None:
        """Drop what waits and return when the running piece is done."""
        self._thread.shutdown(wait=True, cancel_futures=True)


class Job:
    """The pieces of one call, one after another, and what they cost in all: `queue_ms` waiting, `compute_ms` computing.

    The queue's limit holds for a call's first piece only: a call that has begun is never refused half way. The number
    of calls, each with one piece at most, bounds the queue then.
    """

    def __init__(self, engine: Engine, admitted: bool) -> None:
        self._engine = engine
        self._admitted = admitted
        self.queue_ms = 0.0
        self.compute_ms = 0.0

    async def run(self, work: Callable[[], T]) -> T:
        """Result of `work`, run on the device. Raises BusyError, and what `work` raises."""
        if not self._admitted:
            self._engine.check_room()
            self._admitted = True
        result, queue_s, compute_s = await self._engine.run(work)
        self.queue_ms += queue_s * 1000
        self.compute_ms += compute_s * 1000
        return result


__all__ = ["Engine", "Job"]
