"""Memory budget of requests: what each call holds is charged before it is allocated.

Two pools, so that no two calls ever wait for each other. Messages: those being received, and those received and still
needed. Work: the state of a call in progress (frames at the model's size, states of streams and simulations). A call
may hold messages while it waits for work memory; one that works never waits for memory again.
"""

from __future__ import annotations

import logging

from genie_service.errors import BusyError
from genie_service.memory import MIB, resident_bytes
from genie_service.patience import Waiters
from genie_service.shares import Share, Shares, Unit

_log = logging.getLogger(__name__)

_LEAST_MESSAGES = 2
"""Number of messages of the largest size that always fit."""

_MESSAGES_SHARE = 1 / 3
_SPARE_SHARE = 0.2
"""Share of the budget for memory that is taken without waiting, and for what is not counted."""

_ALPHA = 2.0
"""A client may hold twice what is free: two thirds if it is alone."""


class Budget:
    """Memory that requests may take: `memory_bytes` minus what the process takes without them.

    `holders` are calls that may be ended for others that wait for memory, if their clients are silent.
    """

    def __init__(self, memory_bytes: int, largest_message: int, pressure_seconds: float) -> None:
        self._memory, self._largest = memory_bytes, largest_message
        self.holders = waiters = Waiters(pressure_seconds)
        unit = Unit("bytes of messages are being read or worked on", "memory_mib")
        self.messages = Shares(0, unit, alpha=_ALPHA, make_room=waiters.make_room)
        unit = Unit("bytes are taken by the work of calls", "memory_mib")
        self.work = Shares(0, unit, alpha=_ALPHA, make_room=waiters.make_room)
        self.measure()

    def measure(self) -> None:
        """Measure what the process takes without requests: at start, and when models are loaded or unloaded."""
        rest = self._memory - max(0, resident_bytes() - self.messages.used - self.work.used)
        least = _LEAST_MESSAGES * self._largest
        if rest < 2 * least:
            _log.warning(
                "memory_mib %d leaves %d MiB for requests, less than %d: messages of the largest size may exceed it",
                self._memory // MIB,
                rest // MIB,
                2 * least // MIB,
            )
        rest = int(max(rest, 2 * least) * (1 - _SPARE_SHARE))
        messages = max(least, int(rest * _MESSAGES_SHARE))
        self.messages.resize(messages)
        self.work.resize(max(least, rest - messages))
        _log.info("requests may take %d MiB, of which messages %d MiB", rest // MIB, messages // MIB)

    @property
    def limit(self) -> int:
        """Memory limit of the server, bytes."""
        return self._memory

    @property
    def total(self) -> int:
        """Bytes that requests may take."""
        return self.messages.total + self.work.total

    @property
    def used(self) -> int:
        """Bytes that requests take now."""
        return self.messages.used + self.work.used


class CallMemory:
    """Memory held by one call; `close` releases all of it."""

    def __init__(self, budget: Budget, client: str) -> None:
        self._budget, self._client = budget, client
        self._held: list[Share] = []
        self._work: Share | None = None

    @property
    def works(self) -> bool:
        """Whether the call has its work memory."""
        return self._work is not None

    @property
    def holds(self) -> bool:
        """Whether it holds any memory."""
        return any(share.size for share in self._held)

    async def room_to_read(self, size: int, patience_s: float) -> Share:
        """Reserve room for a coming message of at most `size` bytes. Raises BusyError."""
        return self._keep(await self._budget.messages.take(self._client, size, patience_s))

    def message(self, size: int) -> Share:
        """Charge `size` bytes of messages that have arrived."""
        return self._keep(self._budget.messages.hold(self._client, size))

    async def may_read(self) -> None:
        """Return when the next message may be requested: at once for a call at work, since its work frees memory."""
        if not self.works:
            await self._budget.messages.settled(self._client)

    async def room_to_work(self, size: int, patience_s: float | None = None) -> None:
        """Reserve all work memory of a call, in bytes; once per call, before any of it is allocated.

        Raises BusyError if others' work leaves no room within `patience_s`; None: waits for as long as it takes.
        """
        while self._work is None:
            try:
                self._work = self._keep(await self._budget.work.take(self._client, size, patience_s))
            except BusyError:
                if self._budget.work.held(self._client) < self._budget.work.used:
                    raise
                patience_s = None  # its own work alone is in the way

    def scratch(self, size: int) -> Share:
        """Charge `size` bytes that current work needs and releases soon."""
        return self._keep(self._budget.work.hold(self._client, size))

    def close(self) -> None:
        """Release everything."""
        for share in self._held:
            share.release()
        self._held.clear()

    def _keep(self, share: Share) -> Share:
        self._held = [held for held in self._held if held.size]
        self._held.append(share)
        return share


__all__ = ["Budget", "CallMemory"]
