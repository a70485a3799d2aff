"""Accepts the calls that can be served soon, and before their deadline; others get a hint when to retry.

What a call will ask of the device is announced when it begins, and stays promised until it is submitted: otherwise all
calls that arrive together would find an empty queue. The bound on waiting follows CoDel (Nichols and Jacobson 2012): a
burst may wait long, but once work has been waiting without a pause for longer than a burst takes, the queue only makes
everybody late, and newcomers wait briefly or not at all. Not thread-safe: the engine holds its lock.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from genie_service.errors import BusyError
from genie_service.estimates import Estimate
from genie_service.fair_queue import FairQueue, Operation

Work = Mapping[Operation, int]
"""Number of pieces of each operation."""

_LEAST_RETRY_S = 0.1

_STANDING_SHARE = 0.25
"""Of the longest wait: what newcomers may wait while there is a standing queue."""


_FIRST_DELIVERY_S = 0.01
"""Assumed until a result has been handed over."""

_LEAST_DELIVERY_S = 0.05

_MOST_OF_DEADLINE = 0.25

_WAYS = 2
"""A request is on its way for as long as its answer: its deadline began before the server heard of it."""

_MARGIN = 1.5
"""What a call is expected to take is multiplied by it before it is held against its deadline: more may come."""


@dataclass(frozen=True)
class Announcement:
    """What a call will ask of the device.

    Attributes:
        first: before its first result.
        total: until its end, as far as that is known; None: the same.
        remaining_s: until its deadline; None: it has none.
        rounds: how many batches of it must come one after another, whatever else is free.

    """

    first: Work
    total: Work | None = None
    remaining_s: float | None = None
    rounds: int = 1


@dataclass
class Acceptance:
    """Accepts or refuses calls, and remembers what accepted ones have announced.

    Attributes:
        max_wait_s: longest time for which others' work may keep a call waiting.
        lanes: number of pieces computed at once.

    """

    max_wait_s: float
    lanes: int
    _promised: dict[str, Counter[Operation]] = field(default_factory=dict)
    _delivery: Estimate = field(default_factory=lambda: Estimate(_FIRST_DELIVERY_S))
    _waiting_since: float | None = None

    def note(self, waiting: int, now: float) -> None:
        """Note how many pieces wait for the device, whenever that has changed."""
        if not waiting:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = now

    def is_standing(self, now: float) -> bool:
        """Return whether work has been waiting for longer than a burst takes."""
        return self._waiting_since is not None and now - self._waiting_since > self.max_wait_s

    def check(self, queue: FairQueue, call: Announcement, client: str, now: float) -> None:
        """Raise BusyError, with a hint when to return, if others keep the call waiting too long, or it would be late.

        Its client's own work is no reason, except where the call has a deadline. A call with nothing before it is never
        refused.
        """
        own_s = self._backlog_s(queue, client)
        others_s = [self._backlog_s(queue, other) for other in {*queue.clients, *self._promised} - {client}]
        first_s = _seconds(queue, call.first)
        wait_s = math.fsum(min(other_s, own_s + first_s) for other_s in others_s) / self.lanes  # they take turns
        limit_s = self._limit_s(first_s, now)
        if wait_s > limit_s:
            raise BusyError(
                f"the device has {wait_s:.1f} s of others' work to do first; the server's limit is {limit_s:g} s "
                f"{'in a standing queue ' if limit_s < self.max_wait_s else ''}(max_wait_seconds {self.max_wait_s:g})",
                retry_after_s=max(_LEAST_RETRY_S, wait_s - limit_s),
                cause="max_wait_seconds",
            )
        if call.remaining_s is not None:
            total = call.total or call.first
            total_s = _seconds(queue, total)
            alone_s = max(total_s / self.lanes, *(self._rounds_s(queue, each, call.rounds, 1) for each in total))
            if self.is_standing(now):  # whoever has work now will have more by then
                others_s = [math.inf for other_s in others_s if other_s]
            ahead_s = (own_s + math.fsum(min(other_s, own_s + total_s) for other_s in others_s)) / self.lanes
            late_s = _MARGIN * (ahead_s + alone_s) + self.delivery_s(call.remaining_s) - call.remaining_s
            if ahead_s and late_s > 0:
                raise BusyError(
                    f"the call's deadline is in {call.remaining_s:.1f} s, and the device has {ahead_s:.1f} s of work "
                    f"to do before {alone_s:.1f} s for the call",
                    retry_after_s=max(_LEAST_RETRY_S, min(late_s, ahead_s)),
                    cause="deadline",
                )

    def delivered(self, seconds: float) -> None:
        """Note how long a result was on its way from the device to whoever waited for it."""
        self._delivery.note(seconds)

    def delivery_s(self, remaining_s: float) -> float:
        """Return how long before its deadline a call's last result must be there, for its answer to be in time.

        Of a deadline that was `remaining_s` away when the call began at most a quarter.
        """
        return min(max(_LEAST_DELIVERY_S, _WAYS * self._delivery.most_s()), _MOST_OF_DEADLINE * remaining_s)

    def needed_s(self, queue: FairQueue, operation: Operation, pieces: int, rounds: int) -> float:
        """Return an upper estimate of the time for `rounds` of `pieces` each, one after another.

        Nobody else's work is in it: a call that has less time left will be late.
        """
        at_once = self.lanes * operation.shapes.sizes[-1]
        return self._rounds_s(queue, operation, rounds, math.ceil(pieces / at_once))

    def promise(self, client: str, work: Work) -> None:
        """Remember that a client will submit so many pieces more."""
        self._promised.setdefault(client, Counter()).update(work)

    def fulfil(self, client: str, work: Work) -> None:
        """Forget pieces that are submitted now, or will never be."""
        promised = self._promised.get(client)
        if promised is not None:
            promised.subtract(work)
            self._promised[client] = left = +promised
            if not left:
                del self._promised[client]

    def _rounds_s(self, queue: FairQueue, operation: Operation, rounds: int, batches: int) -> float:
        """Return an upper estimate of the time for rounds of `batches` each, one after another."""
        return queue.most_s(operation, rounds * batches) + (rounds - 1) * self._delivery.mean_s

    def _limit_s(self, first_s: float, now: float) -> float:
        """Return the longest wait; in a standing queue at least as long as the call itself takes, if that is more:
        beside a single other client its work is delayed by as much, however large it is.
        """
        if not self.is_standing(now):
            return self.max_wait_s
        return min(self.max_wait_s, max(_STANDING_SHARE * self.max_wait_s, first_s / self.lanes))

    def _backlog_s(self, queue: FairQueue, client: str) -> float:
        return queue.backlog_s(client) + _seconds(queue, self._promised.get(client, {}))


def _seconds(queue: FairQueue, work: Work) -> float:
    return sum(pieces * queue.cost_s(operation) for operation, pieces in work.items())


__all__ = ["Acceptance", "Announcement", "Work"]
