"""Fair shares of something scarce (places for calls, bytes of memory) between clients, waited for within a time limit.

A client's request is granted while what it then holds is at most `alpha` times what is free: the dynamic threshold with
which switches share their buffers (Choudhury and Hahne 1998). A client on its own may thus take much; the more clients
there are, the less each may take, and something is always left for a newcomer. Among those that wait, the one that
holds least goes first. Not thread-safe: for one event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from genie_service.errors import BusyError

_OLD_S = 10.0
"""After waiting this long, a client is no longer overtaken by those that hold something."""

_LOOK_S = 0.25
"""How often waiting clients look for a share that can be taken back."""


@dataclass(frozen=True)
class Unit:
    """What is shared, for error texts: `3 calls are under way, the server's limit (max_calls)`."""

    words: str
    setting: str
    retry_s: float = 1.0


@dataclass(eq=False)
class _Waiter:
    size: int
    granted: asyncio.Future[Share]
    since: float = field(default_factory=time.monotonic)


@dataclass
class _Client:
    held: int = 0
    waiting: deque[_Waiter] = field(default_factory=deque)


class Shares:
    """Something scarce, and who holds how much of it. `make_room` is called with a client's name while it waits."""

    def __init__(
        self, total: int, unit: Unit, *, alpha: float = 1.0, make_room: Callable[[str], None] = lambda client: None
    ) -> None:
        self._total, self._unit, self._alpha = total, unit, alpha
        self._make_room = make_room
        self._clients: dict[str, _Client] = {}
        self._used = 0
        self._waiting = 0
        self._freed = asyncio.Event()
        self._freed.set()
        self.refused = 0

    @property
    def total(self) -> int:
        """Total amount."""
        return self._total

    @property
    def used(self) -> int:
        """Amount held now."""
        return self._used

    @property
    def waiting(self) -> int:
        """Number of waiting requests."""
        return self._waiting

    def held(self, client: str) -> int:
        """Return the amount that a client holds now."""
        return self._clients[client].held if client in self._clients else 0

    def is_greedy(self, client: str) -> bool:
        """Return whether a client holds, and waits for, at least as much as an equal share."""
        entry = self._clients.get(client, _Client())
        others = len(self._clients) - (client in self._clients)
        return entry.held + sum(waiter.size for waiter in entry.waiting) >= self._total / (others + 1)

    def resize(self, total: int) -> None:
        """Change the total amount; what is held stays held."""
        self._total = total
        self._grant()

    async def take(self, client: str, size: int = 1, patience_s: float | None = None) -> Share:
        """Return a share of `size`, once there is room for it and it is the client's turn.

        More than the total is granted to a client on its own. `patience_s`: longest wait; None: unlimited. Raises
        BusyError after it.
        """
        share = self._try(client, size)
        if share is not None:
            return share
        waiter = _Waiter(size, asyncio.get_running_loop().create_future())
        self._clients.setdefault(client, _Client()).waiting.append(waiter)
        self._waiting += 1
        try:
            return await self._wait(client, waiter, patience_s)
        except BaseException:
            if waiter.granted.done():  # granted in the very moment in which the caller gave up
                waiter.granted.result().release()
            raise
        finally:
            self._waiting -= 1
            self._leave(client, waiter)

    def hold(self, client: str, size: int) -> Share:
        """Return a share at once, even beyond the total: for what is already allocated, or certainly about to be."""
        self._clients.setdefault(client, _Client()).held += size
        self._used += size
        self._note()
        return Share(self, client, size)

    async def settled(self, client: str) -> None:
        """Return once no more than the total is held."""
        while self._used > self._total:
            self._make_room(client)
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._freed.wait()
            except TimeoutError:
                continue

    async def _wait(self, client: str, waiter: _Waiter, patience_s: float | None) -> Share:
        while True:
            left = _LOOK_S if patience_s is None else min(_LOOK_S, patience_s - (time.monotonic() - waiter.since))
            if left <= 0:
                self.refused += 1
                raise BusyError(
                    f"{self._used} {self._unit.words}, of {self._total} that the server has ({self._unit.setting})",
                    self._unit.retry_s,
                    self._unit.setting,
                )
            self._make_room(client)
            await asyncio.wait({waiter.granted}, timeout=left)
            if waiter.granted.done():
                return waiter.granted.result()

    def _leave(self, client: str, waiter: _Waiter) -> None:
        entry = self._clients.get(client)
        if entry is not None and waiter in entry.waiting:
            entry.waiting.remove(waiter)
            self._forget(client)

    def _try(self, client: str, size: int) -> Share | None:
        """Return a share if there is room and nobody else goes first."""
        entry = self._clients.get(client, _Client())
        if entry.waiting or not self._fits(entry.held, size):
            return None
        if entry.held and self._oldest_wait_s() > _OLD_S:
            return None
        return self.hold(client, size)

    def _fits(self, held: int, size: int) -> bool:
        free = self._total - self._used
        if not self._used:
            return True
        return size <= free and (not held or held + size <= self._alpha * free)

    def _oldest_wait_s(self) -> float:
        since = min((c.waiting[0].since for c in self._clients.values() if c.waiting), default=None)
        return 0.0 if since is None else time.monotonic() - since

    def _grant(self) -> None:
        """Grant waiting requests, the client that holds least first, as long as there is room."""
        self._note()
        while (entry := self._next()) is not None:
            name, client = entry
            waiter = client.waiting.popleft()
            waiter.granted.set_result(self.hold(name, waiter.size))

    def _next(self) -> tuple[str, _Client] | None:
        """Return the next client whose turn it is and for whom there is room."""
        barred = False
        queues = [(c.held, c.waiting[0].since, name, c) for name, c in self._clients.items() if c.waiting]
        for held, since, name, client in sorted(queues, key=lambda queue: queue[:3]):
            if barred and held:
                continue
            if self._fits(held, client.waiting[0].size):
                return name, client
            barred = barred or time.monotonic() - since > _OLD_S
        return None

    def _give_back(self, client: str, size: int) -> None:
        self._clients[client].held -= size
        self._used -= size
        self._forget(client)
        self._grant()

    def _forget(self, client: str) -> None:
        entry = self._clients[client]
        if not entry.held and not entry.waiting:
            del self._clients[client]

    def _note(self) -> None:
        if self._used > self._total:
            self._freed.clear()
        else:
            self._freed.set()


class Share:
    """An amount held until `release` or the end of a `with` block."""

    def __init__(self, shares: Shares, client: str, size: int) -> None:
        self._shares, self._client, self.size = shares, client, size

    def shrink(self, size: int) -> None:
        """Give back all but `size`; no effect if that is not less."""
        if size < self.size:
            self.size, given = size, self.size - size
            self._shares._give_back(self._client, given)

    def release(self) -> None:
        """Give everything back; calling it again has no effect."""
        self.shrink(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


__all__ = ["Share", "Shares", "Unit"]
