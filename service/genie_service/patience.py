"""Time limits for silent clients, and which call is ended first when others wait for room.

A client is silent while the server both waits for its next message (or for it to accept a response) and has nothing
else to do for the call. Reading ahead of the work does not count.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from genie_service.errors import BusyError, IdleError

T = TypeVar("T")

_RETRY_S = 1.0


class Silence:
    """Tracks how long one call waits for its client. One per call; used from its event loop."""

    def __init__(self) -> None:
        self._asked: list[float] = []
        self._waiting_since: float | None = None
        self._dismissed: asyncio.Future[str] | None = None

    @property
    def seconds(self) -> float:
        """Return how long the client has kept the call waiting now; 0 if it does not."""
        if not self._asked or self._waiting_since is None:
            return 0.0
        return time.monotonic() - max(self._asked[0], self._waiting_since)

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Mark that the client is expected to send or accept a message while the block lasts."""
        since = time.monotonic()
        self._asked.append(since)
        try:
            yield
        finally:
            self._asked.remove(since)

    async def wait(self, pending: asyncio.Future[T], limit_s: float, setting: str, what: str = "nothing came") -> T:
        """Return the result of `pending`. Raises IdleError after `limit_s` of silence, BusyError if dismissed.

        `pending` continues then; its creator cancels it. The error text includes `what` the client has not done, and
        the `setting` of the limit.
        """
        self._waiting_since = time.monotonic()
        dismissed = self._dismissed = asyncio.get_running_loop().create_future()
        try:
            while not pending.done():
                left = limit_s - self.seconds
                if left <= 0:
                    raise IdleError(f"{what} for {limit_s:g} s, the server's limit ({setting})")
                await asyncio.wait({pending, dismissed}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if dismissed.done() and not pending.done():
                    raise BusyError(
                        f"{what} for {self.seconds:.0f} s, {dismissed.result()}", _RETRY_S, "pressure_seconds"
                    )
            return pending.result()
        finally:
            self._waiting_since = self._dismissed = None
            del pending  # it may hold what was raised, which holds this frame: the messages would outlive the call

    def dismiss(self, reason: str) -> bool:
        """End the call, if it is waiting for its client now."""
        if self._dismissed is None or self._dismissed.done() or not self.seconds:
            return False
        self._dismissed.set_result(reason)
        return True


class Waiters:
    """Calls that may be ended to make room, the one with the longest silence first."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._silences: dict[Silence, tuple[str, Callable[[], bool]]] = {}

    @contextmanager
    def watching(self, silence: Silence, client: str, holds: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Allow the call to be ended for other clients while the block lasts, if it `holds` anything then."""
        self._silences[silence] = client, holds
        try:
            yield
        finally:
            del self._silences[silence]

    def make_room(self, client: str) -> None:
        """End the call with the longest silence, if long enough, to make room for another `client`."""
        silences = (s for s, (whose, holds) in self._silences.items() if whose != client and holds())
        longest = max(silences, key=lambda s: s.seconds, default=None)
        if longest is not None and longest.seconds >= self._patience_s:
            longest.dismiss(
                f"and others wait for room: the server's limit is {self._patience_s:g} s then (pressure_seconds)"
            )


__all__ = ["Silence", "Waiters"]
