"""Fair queue of the device's work: clients take turns by the device time that each has used.

Start-time fair queueing (Goyal et al. 1996): each client has a clock of the device time it has used, and the client
with the earliest clock goes first. One that returns after a pause starts at the clock of the active clients, so that
time cannot be saved up, and one with little work (an interactive player) never waits behind the whole queue of one with
much. Not thread-safe: the engine holds its lock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from genie_core.inference.shapes import ExactShapes

_FIRST_ESTIMATE_S = 0.01
"""Assumed cost of a piece before one has been done."""

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


@dataclass
class _Client:
    clock_s: float
    pieces: dict[Piece, None] = field(default_factory=dict)
    """In the order of submission."""
    running: int = 0
    waiting_s: float = 0.0
    """Estimated device time of its waiting pieces."""

    @property
    def first(self) -> Piece:
        """Return the piece that has waited longest; there must be one."""
        return next(iter(self.pieces))


class FairQueue:
    """Pieces of work by client."""

    def __init__(self) -> None:
        self._clients: dict[str, _Client] = {}
        self._now_s = 0.0
        self._waiting: dict[Operation, int] = {}
        self._cost_s: dict[str, float] = {}

    def __len__(self) -> int:
        return sum(self._waiting.values())

    def waiting(self, operation: Operation) -> int:
        """Return the number of pieces that wait for `operation`."""
        return self._waiting.get(operation, 0)

    def put(self, piece: Piece) -> None:
        """Queue a piece."""
        client = self._clients.setdefault(piece.client, _Client(self._now_s))
        if not client.pieces and not client.running:
            client.clock_s = max(client.clock_s, self._now_s)
        piece.expected_s = self._cost(piece.operation)
        client.pieces[piece] = None
        client.waiting_s += piece.expected_s
        self._waiting[piece.operation] = self.waiting(piece.operation) + 1

    def drop(self, piece: Piece) -> bool:
        """Remove a piece whose caller has gone; False if it is not waiting here (any more)."""
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

    def wait_s(self, operation: Operation, pieces: int, name: str) -> float:
        """Estimate the seconds of others' work before `pieces` more of a client, arriving now, are done.

        Each other client counts for as much as the client itself has waiting by then: they take turns.
        """
        own = self._clients.get(name)
        own_s = (0.0 if own is None else own.waiting_s) + pieces * self._cost(operation)
        return sum(min(client.waiting_s, own_s) for other, client in self._clients.items() if other != name)

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
            piece.estimate_s = self._cost(operation)  # corrected by `done`
            client.clock_s += piece.estimate_s
            taken.append(piece)
        return taken

    def done(self, pieces: list[Piece], seconds: float) -> None:
        """Record that pieces taken together have cost `seconds` of the device."""
        each_s = seconds / len(pieces)
        for piece in pieces:
            client = self._clients[piece.client]
            client.running -= 1
            client.clock_s += each_s - piece.estimate_s
        self._cost_s[pieces[0].operation.name] = each_s
        self._forget_idle()

    def clear(self) -> list[Piece]:
        """Remove and return all pieces."""
        pieces = [piece for client in self._clients.values() for piece in client.pieces]
        for piece in pieces:
            self._taken(self._clients[piece.client], piece)
        self._forget_idle()
        return pieces

    def _cost(self, operation: Operation) -> float:
        return self._cost_s.get(operation.name, _FIRST_ESTIMATE_S)

    def _next(self, operation: Operation) -> Piece:
        """Return the piece of `operation` whose client has the earliest clock."""
        firsts = [
            (client.clock_s, piece)
            for client in self._clients.values()
            for piece in [next((p for p in client.pieces if p.operation is operation), None)]
            if piece is not None
        ]
        return min(firsts, key=lambda first: first[0])[1]

    def _taken(self, client: _Client, piece: Piece) -> None:
        del client.pieces[piece]
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
