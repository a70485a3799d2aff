"""Frames per second of each client: a client that sends or asks for more waits, and nobody waits with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

_KEPT = 1024
"""Clients remembered; those that have waited out everything are forgotten first, which changes nothing for them."""


@dataclass
class _Account:
    left: float
    at: float


class FrameRates:
    """Counts the frames of each client. A second's worth may come at once; whatever goes beyond is waited for."""

    def __init__(
        self,
        per_second: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Allow each client `per_second` frames; 0: any number."""
        self._rate, self._clock, self._sleep = per_second, clock, sleep
        self._accounts: dict[str, _Account] = {}

    async def take(self, client: str, frames: int) -> None:
        """Count `frames` of a client, and wait until its rate allows them.

        A message of more frames than a second's worth is not refused: it is paid for by waiting longer.
        """
        if not self._rate:
            return
        now = self._clock()
        account = self._accounts.setdefault(client, _Account(self._rate, now))
        account.left = self._at(account, now) - frames
        account.at = now
        if len(self._accounts) > _KEPT:
            self._forget(now)
        if account.left < 0:
            await self._sleep(-account.left / self._rate)

    def _at(self, account: _Account, now: float) -> float:
        return min(self._rate, account.left + (now - account.at) * self._rate)

    def _forget(self, now: float) -> None:
        owing = {name: account for name, account in self._accounts.items() if self._at(account, now) < self._rate}
        self._accounts = owing


__all__ = ["FrameRates"]
