"""How many calls may be under way, and none new once the server drains. Health and reflection calls always get in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from genie_service.errors import BusyError, DrainingError
from genie_service.interceptors.wrapping import AroundCall, Context

_OURS = "/genie_api."
_RETRY_S = 1.0


class Admission(AroundCall):
    """Counts the calls to Genie's own services, refuses those past the limit and, once closed, every new one."""

    def __init__(self, max_calls: int) -> None:
        self._max_calls = max_calls
        self._closed = False
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def under_way(self) -> int:
        """Number of calls under way."""
        return self._under_way

    def close(self) -> None:
        """Take no more calls; those under way go on."""
        self._closed = True

    async def idle(self) -> None:
        """Return when no call is under way."""
        await self._idle.wait()

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """Hold a place for the call. Raises BusyError or DrainingError where there is none."""
        if not method.startswith(_OURS):
            yield
            return
        self._check()
        self._under_way += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    def _check(self) -> None:
        if self._closed:
            raise DrainingError("the server is shutting down and takes no new calls")
        if self._under_way >= self._max_calls:
            raise BusyError(f"{self._under_way} calls are under way, the server's limit (max_calls)", _RETRY_S)


__all__ = ["Admission"]
