"""Admission of calls, at their headers and before a byte of their messages is read: fair between clients, bounded.

No new calls once the server drains. Genie's own services and all others (health, reflection) have separate limits, so
that probes get through however busy the server is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from genie_service.calls import current_call
from genie_service.errors import DrainingError
from genie_service.interceptors.wrapping import AroundCall, Context
from genie_service.patience import Waiters
from genie_service.shares import Shares, Unit

_OURS = "/genie_api."

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
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def under_way(self) -> int:
        """Number of calls to Genie's own services in progress."""
        return self._ours.used

    @property
    def refused(self) -> int:
        """Number of calls refused for lack of room."""
        return self._ours.refused

    def close(self) -> None:
        """Admit no more calls; those in progress continue."""
        self._closed = True

    async def idle(self) -> None:
        """Return when no call is in progress."""
        await self._idle.wait()

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """Hold a place for the call. Raises BusyError or DrainingError if there is none."""
        call, ours = current_call(), method.startswith(_OURS)
        places = self._ours if ours else self._others
        self._check(ours)
        with call.waiting(self._max_wait_s) as may_s:
            place = await places.take(call.client, 1, 0.0 if places.is_greedy(call.client) else may_s)
        try:
            self._check(ours)
            self._note()
            with self._waiters.watching(call.silence, call.client):
                yield
        finally:
            place.release()
            self._note()

    def _note(self) -> None:
        if self._ours.used:
            self._idle.clear()
        else:
            self._idle.set()

    def _check(self, ours: bool) -> None:
        if self._closed and ours:
            raise DrainingError("the server is shutting down and takes no new calls")


__all__ = ["Admission"]
