"""Fair queue of the device's work: clients take turns by the device time that each has used.

Start-time fair queueing (Goyal et al. 1996): each client has a clock of the device time it has used, and the client
with the earliest clock goes first. One that returns after a pause starts at the clock of the active clients, so that
time cannot be saved up, and one with little work (an interactive player) never waits behind the whole queue of one with
much. Not thread-safe: the engine holds its lock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from genie_core.inference.shapes import ExactShapes
from genie_service.estimates import Estimate

_FIRST_ESTIMATE_S = 0.01
"""Assumed cost of a piece before one has been done."""

_DUE_S = 10.0
"""After submission, a piece whose caller has no deadline goes before those whose deadline is later."""

ONE_BY_ONE = ExactShapes((1,), in_threads=True)


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation of the device on several pieces of work at once.

    Attributes:
        name: in statistics.
        run: maps payloads, as many as one of the sizes of `shapes`, to their results, in order.
        shapes: allowed batch sizes.
        filler: makes a payload to fill up batches from another; required if `shapes` has no size 1.

    """

    name: str
    run: Callable[[list[Any]], list[Any]]
    shapes: ExactShapes = ONE_BY_ONE
    filler: Callable[[Any], Any] | None = None


@dataclass(eq=False)
class Piece:
    """One piece of waiting work; times are of `time.perf_counter`, seconds.

    Attributes:
        operation: what to compute.
        payload: its input.
        client: who asked for it.
        deliver: called from any thread with the result or the exception, once, unless the piece is dropped.
        submitted: time of submission.
        picked: time when a lane began to gather its batch.
        started: time when the device started.
        ended: time when it was done.
        batch: number of pieces done together.
        expected_s: estimated cost at submission.
        estimate_s: cost charged to the client in advance.
        start_by: time after which it is too late for its call to start it.
        deadline: time at which its caller gives up; infinite without one.

    """

    operation: Operation
    payload: Any
    client: str
    deliver: Callable[[Piece, Any, BaseException | None], None]
    submitted: float
    picked: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    batch: int = 0
    expected_s: float = 0.0
    estimate_s: float = 0.0
    start_by: float = math.inf
    deadline: float = math.inf

    @property
    def due(self) -> float:
        """Time that orders the pieces of one client: those without a deadline are not put off for ever."""
        return min(self.deadline, self.submitted + _DUE_S)


@dataclass
class _Client:
    clock_s: float
    pieces: dict[Piece, None] = field(default_factory=dict)
    """In the order of submission."""
    running: int = 0
    waiting_s: float = 0.0
    """Estimated device time of its waiting pieces."""
    running_s: float = 0.0

    hurried: int = 0
    """Number of waiting pieces with a deadline."""

    @property
    def first(self) -> Piece:
        """Return the piece that is due first; there must be one."""
        return self.first_of(self.pieces)

    def first_of(self, pieces: Iterable[Piece]) -> Piece:
        """Return that of some of its pieces, in the order of submission, that is due first."""
        return min(pieces, key=lambda piece: piece.due) if self.hurried else next(iter(pieces))


class FairQueue:
    """Pieces of work by client."""

    def __init__(self) -> None:
        self._clients: dict[str, _Client] = {}
        self._now_s = 0.0
        self._waiting: dict[Operation, int] = {}
        self._costs: dict[str, Estimate] = {}
        self._batches: dict[str, Estimate] = {}
        self._timed: dict[Piece, None] = {}
        """Waiting pieces that may become too late to start."""

    def __len__(self) -> int:
        return sum(self._waiting.values())

    def waiting(self, operation: Operation) -> int:
        """Return the number of pieces that wait for `operation`."""
        return self._waiting.get(operation, 0)

    def by_client(self) -> dict[str, int]:
        """Return the number of waiting pieces of each client that has any."""
        return {name: len(client.pieces) for name, client in self._clients.items() if client.pieces}

    def put(self, piece: Piece) -> None:
        """Queue a piece."""
        client = self._clients.setdefault(piece.client, _Client(self._now_s))
        if not client.pieces and not client.running:
            client.clock_s = max(client.clock_s, self._now_s)
        piece.expected_s = self.cost_s(piece.operation)
        client.pieces[piece] = None
        client.hurried += piece.deadline < math.inf
        client.waiting_s += piece.expected_s
        if piece.start_by < math.inf:
            self._timed[piece] = None
        self._waiting[piece.operation] = self.waiting(piece.operation) + 1

    def drop(self, piece: Piece) -> bool:
        """Remove a piece whose caller has gone; False if it is no longer waiting here."""
        client = self._clients.get(piece.client)
        if client is None or piece not in client.pieces:
            return False
        self._taken(client, piece)
        self._forget_idle()
        return True

    def head(self) -> Piece | None:
        """Return the piece whose turn it is."""
        waiting = [client for client in self._clients.values() if client.pieces]
        return min(waiting, key=lambda client: client.clock_s).first if waiting else None

    @property
    def clients(self) -> list[str]:
        """Clients with work."""
        return list(self._clients)

    def backlog_s(self, name: str) -> float:
        """Return the estimated device time of a client's pieces, waiting and running; 0 if it has none."""
        client = self._clients.get(name)
        return 0.0 if client is None else client.waiting_s + client.running_s

    def cost_s(self, operation: Operation) -> float:
        """Return the estimated device time of a piece, from those done before."""
        cost = self._costs.get(operation.name)
        return _FIRST_ESTIMATE_S if cost is None else cost.mean_s

    def most_s(self, operation: Operation, batches: int) -> float:
        """Return the time that so many batches, one after another, will hardly ever exceed once they have begun."""
        return self._batches.get(operation.name, Estimate(_FIRST_ESTIMATE_S)).most_s(batches)

    def take_late(self, now: float) -> list[Piece]:
        """Remove and return pieces that it is too late to start."""
        late = [piece for piece in self._timed if piece.start_by <= now]
        for piece in late:
            self._taken(self._clients[piece.client], piece)
        if late:
            self._forget_idle()
        return late

    def take(self, operation: Operation, lanes: int) -> list[Piece]:
        """Take up to a batch of pieces of one operation, from clients with the earliest clocks first.

        `lanes` is the number of lanes free for such pieces, which share them.
        """
        size = operation.shapes.fit(-(-self.waiting(operation) // max(1, lanes)))
        taken: list[Piece] = []
        while len(taken) < size and self.waiting(operation):
            piece = self._next(operation)
            client = self._clients[piece.client]
            self._now_s = max(self._now_s, client.clock_s)
            self._taken(client, piece)
            client.running += 1
            piece.estimate_s = self.cost_s(operation)  # corrected by `done`
            client.running_s += piece.estimate_s
            client.clock_s += piece.estimate_s
            taken.append(piece)
        return taken

    def done(self, pieces: list[Piece], seconds: float) -> None:
        """Record that pieces taken together have cost `seconds` of the device."""
        each_s = seconds / len(pieces)
        for piece in pieces:
            client = self._clients[piece.client]
            client.running -= 1
            client.running_s = client.running_s - piece.estimate_s if client.running else 0.0
            client.clock_s += each_s - piece.estimate_s
        name = pieces[0].operation.name
        self._costs.setdefault(name, Estimate(each_s)).note(each_s)
        self._batches.setdefault(name, Estimate(seconds)).note(seconds)
        self._forget_idle()

    def clear(self) -> list[Piece]:
        """Remove and return all pieces."""
        pieces = [piece for client in self._clients.values() for piece in client.pieces]
        for piece in pieces:
            self._taken(self._clients[piece.client], piece)
        self._forget_idle()
        return pieces

    def _next(self, operation: Operation) -> Piece:
        """Return the piece of `operation` whose client has the earliest clock."""
        firsts = [
            (client.clock_s, client.first_of(pieces))
            for client in self._clients.values()
            if (pieces := [piece for piece in client.pieces if piece.operation is operation])
        ]
        return min(firsts, key=lambda first: first[0])[1]

    def _taken(self, client: _Client, piece: Piece) -> None:
        del client.pieces[piece]
        self._timed.pop(piece, None)
        client.hurried -= piece.deadline < math.inf
        client.waiting_s = client.waiting_s - piece.expected_s if client.pieces else 0.0
        left = self._waiting[piece.operation] - 1
        if left:
            self._waiting[piece.operation] = left
        else:
            del self._waiting[piece.operation]

    def _forget_idle(self) -> None:
        """Forget clients without work, unless their clock is ahead of active clients."""
        if not any(client.pieces or client.running for client in self._clients.values()):
            self._clients.clear()
        for name in [
            n for n, c in self._clients.items() if not c.pieces and not c.running and c.clock_s <= self._now_s
        ]:
            del self._clients[name]


__all__ = ["ONE_BY_ONE", "FairQueue", "Operation", "Piece"]
