"""Admission of calls, at their headers and before a byte of their messages is read: fair between clients, bounded.

No new calls once the server drains. Genie's own services and all others (health, reflection) have separate limits, so
that probes get through however busy the server is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from genie_service.calls import Call, current_call
from genie_service.errors import DrainingError
from genie_service.interceptors.wrapping import AroundCall, Context
from genie_service.patience import Waiters
from genie_service.shares import Shares, Unit

_OURS = ("/genie_api.", "/inference.GRPCInferenceService/ModelInfer")
"""Beginnings of methods that compute, or say what does."""

MAX_OTHER_CALLS = 256
"""Largest number of concurrent health checks, watches and reflection calls."""


class Admission(AroundCall):
    """Admits each call, waiting briefly if the client has less than its share, and otherwise refuses it."""

    def __init__(self, max_calls: int, max_wait_s: float, waiters: Waiters) -> None:
        self._waiters = waiters
        self._max_wait_s = max_wait_s
        unit = Unit("calls are under way", "max_calls")
        self._ours = Shares(max_calls, unit, make_room=waiters.make_room)
        self._others = Shares(MAX_OTHER_CALLS, unit, make_room=waiters.make_room)
        self._closed = False
        self._tasks: dict[Call, asyncio.Task[object]] = {}
        """Of calls to our own services, waiting or under way."""
        self._ended: set[Call] = set()
        """Calls that we have cancelled, which are told so."""
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def places(self) -> Shares:
        """Places for calls to Genie's own services."""
        return self._ours

    @property
    def closed(self) -> bool:
        """Whether no more calls are admitted."""
        return self._closed

    @property
    def under_way(self) -> int:
        """Number of calls to Genie's own services in progress."""
        return self._ours.used

    @property
    def refused(self) -> int:
        """Number of calls refused for lack of room."""
        return self._ours.refused

    def close(self) -> None:
        """Admit no more calls, refuse those that wait for a place; those in progress continue."""
        self._closed = True
        for call, task in self._tasks.items():
            if not call.admitted:
                self._end(call, task)

    def cut(self) -> int:
        """End the calls in progress, telling their clients that the server is stopping; return their number."""
        cut = [(call, task) for call, task in self._tasks.items() if call.admitted and call not in self._ended]
        for call, task in cut:
            self._end(call, task)
        return len(cut)

    async def idle(self) -> None:
        """Return when no call is in progress."""
        await self._idle.wait()

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """Hold a place for the call. Raises BusyError or DrainingError if there is none."""
        call, ours = current_call(), method.startswith(_OURS)
        places = self._ours if ours else self._others
        self._check(ours)
        async with self._endable(call, ours):
            with call.waiting(self._max_wait_s) as may_s:
                place = await places.take(call.client, 1, 0.0 if places.is_greedy(call.client) else may_s)
            try:
                self._check(ours)
                call.admitted = True
                self._note()
                with self._waiters.watching(call.silence, call.client):
                    yield
            finally:
                place.release()
                self._note()

    @asynccontextmanager
    async def _endable(self, call: Call, ours: bool) -> AsyncIterator[None]:
        """Allow the server to end the call within the block; DrainingError then tells the client why."""
        task = asyncio.current_task()
        if not ours or task is None:
            yield
            return
        self._tasks[call] = task
        try:
            yield
        except asyncio.CancelledError:
            if call not in self._ended:
                raise
            task.uncancel()
            did = "has ended the call" if call.admitted else "takes no new calls"
            raise DrainingError(f"the server is shutting down and {did}") from None
        finally:
            del self._tasks[call]
            self._ended.discard(call)

    def _end(self, call: Call, task: asyncio.Task[object]) -> None:
        self._ended.add(call)
        task.cancel()

    def _note(self) -> None:
        if self._ours.used:
            self._idle.clear()
        else:
            self._idle.set()

    def _check(self, ours: bool) -> None:
        if self._closed and ours:
            raise DrainingError("the server is shutting down and takes no new calls")


__all__ = ["Admission"]
