"""What waits for the device, and whose turn it is: fair between clients by the device time that each has had.

Start-time fair queueing (Goyal et al. 1996): each client has a clock of the device time it has used, and the client
whose clock is behind goes first. One that comes back after a pause starts at the clock of those at work, so nobody
saves up time, and one with little to do (an interactive player) never waits behind the whole queue of one with much.
Not thread-safe: the engine holds its lock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from genie_core.inference.shapes import ExactShapes

_FIRST_ESTIMATE_S = 0.01
"""What a piece is taken to cost before one has been done."""

ONE_BY_ONE = ExactShapes((1,), in_threads=True)


@dataclass(frozen=True, eq=False)
class Operation:
    """Something that the device does for several pieces of work at once.

    Attributes:
        name: in statistics.
        run: payloads, as many as one of the sizes of `shapes` -> the result of each, in order.
        shapes: how many at once.
        filler: a payload made of another, whose result nobody takes; needed where `shapes` has no size 1.

    """

    name: str
    run: Callable[[list[Any]], list[Any]]
    shapes: ExactShapes = ONE_BY_ONE
    filler: Callable[[Any], Any] | None = None


@dataclass(eq=False)
class Piece:
    """One piece of work that waits; times are of `time.perf_counter`, seconds.

    Attributes:
        operation: what is to be done.
        payload: with what.
        client: for whom.
        deliver: called from any thread with the result or the exception, once, unless the piece is dropped.
        submitted: when it came.
        picked: when a lane began to gather its batch.
        started: when the device began.
        ended: when it was done.
        batch: number of pieces that were done together.
        expected_s: what it was taken to cost when it came.
        estimate_s: what the client was charged in advance.

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
    """In the order in which they came."""
    running: int = 0
    waiting_s: float = 0.0
    """What its waiting pieces are taken to cost the device."""

    @property
    def first(self) -> Piece:
        """The piece that has waited longest; there must be one."""
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
        """Number of pieces that wait for `operation`."""
        return self._waiting.get(operation, 0)

    def put(self, piece: Piece) -> None:
        """Line up a piece."""
        client = self._clients.setdefault(piece.client, _Client(self._now_s))
        if not client.pieces and not client.running:
            client.clock_s = max(client.clock_s, self._now_s)
        piece.expected_s = self._cost(piece.operation)
        client.pieces[piece] = None
        client.waiting_s += piece.expected_s
        self._waiting[piece.operation] = self.waiting(piece.operation) + 1

    def drop(self, piece: Piece) -> bool:
        """Take a piece out that nobody waits for any more; False where it does not wait here (any more)."""
        client = self._clients.get(piece.client)
        if client is None or piece not in client.pieces:
            return False
        self._taken(client, piece)
        self._forget_idle()
        return True

    def head(self) -> Piece | None:
        """The piece whose turn it is."""
        waiting = [client for client in self._clients.values() if client.pieces]
        return min(waiting, key=lambda client: client.clock_s).first if waiting else None

    def wait_s(self, operation: Operation, pieces: int, name: str) -> float:
        """Seconds of the device's time that others have before `pieces` more of a client, which comes now, are done.

        Of each other client that is as much as the client itself has waiting by then: they take turns.
        """
        own = self._clients.get(name)
        own_s = (0.0 if own is None else own.waiting_s) + pieces * self._cost(operation)
        return sum(min(client.waiting_s, own_s) for other, client in self._clients.items() if other != name)

    def take(self, operation: Operation, lanes: int) -> list[Piece]:
        """Up to a batch of pieces of one operation, those of clients that are behind first.

        `lanes` is how many are free to work on such pieces, among whom they are shared out.
        """
        size = operation.shapes.fit(-(-self.waiting(operation) // max(1, lanes)))
        taken: list[Piece] = []
        while len(taken) < size and self.waiting(operation):
            piece = self._next(operation)
            client = self._clients[piece.client]
            self._now_s = max(self._now_s, client.clock_s)
            self._taken(client, piece)
            client.running += 1
            piece.estimate_s = self._cost(operation)  # put right by `done`
            client.clock_s += piece.estimate_s
            taken.append(piece)
        return taken

    def done(self, pieces: list[Piece], seconds: float) -> None:
        """Say that pieces which were taken together have cost `seconds` of the device."""
        each_s = seconds / len(pieces)
        for piece in pieces:
            client = self._clients[piece.client]
            client.running -= 1
            client.clock_s += each_s - piece.estimate_s
        self._cost_s[pieces[0].operation.name] = each_s
        self._forget_idle()

    def clear(self) -> list[Piece]:
        """Take everything out."""
        pieces = [piece for client in self._clients.values() for piece in client.pieces]
        for piece in pieces:
            self._taken(self._clients[piece.client], piece)
        self._forget_idle()
        return pieces

    def _cost(self, operation: Operation) -> float:
        return self._cost_s.get(operation.name, _FIRST_ESTIMATE_S)

    def _next(self, operation: Operation) -> Piece:
        """The piece of `operation` whose client is furthest behind."""
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
        """A client without work keeps its clock only while it is ahead of others who work."""
        if not any(client.pieces or client.running for client in self._clients.values()):
            self._clients.clear()
        for name in [
            n for n, c in self._clients.items() if not c.pieces and not c.running and c.clock_s <= self._now_s
        ]:
            del self._clients[name]


__all__ = ["ONE_BY_ONE", "FairQueue", "Operation", "Piece"]
