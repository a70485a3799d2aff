"""The one owner of the device: pieces of work of all calls become batches, run off the event loop, fair and bounded.

On a CPU there are several lanes, each computing a batch of its own in one thread, which is faster than one batch in
many threads; a piece that is alone gets all threads. On a GPU there is one lane. Not here: what a piece computes, which
is its `Operation`, and whose turn it is, which is the `FairQueue`'s.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from genie_service.errors import BusyError, DrainingError
from genie_service.fair_queue import FairQueue, Operation, Piece
from genie_service.lanes import LaneError, Lanes

_LEAST_RETRY_S = 0.1


class Recorder(Protocol):
    """Watches batches as they run (the profiler)."""

    def batch(self, name: str) -> AbstractContextManager[object]:
        """Around each batch, in its lane's thread."""

    def close(self) -> None:
        """No more batches come."""


@dataclass(frozen=True)
class OperationStatistics:
    """What has been done of one operation since the server began: pieces, batches, and seconds of a lane's time."""

    pieces: int = 0
    batches: int = 0
    device_s: float = 0.0


@dataclass(frozen=True)
class EngineStatistics:
    """The engine's state and totals.

    Attributes:
        lanes: number of batches that can run at once.
        busy_lanes: of these, running one now.
        waiting: pieces that wait now.
        dropped: pieces that nobody waited for any more when their turn would have come.
        refused: calls refused because they would have waited too long.
        uptime_s: since the engine began.
        operations: by name.

    """

    lanes: int
    busy_lanes: int
    waiting: int
    dropped: int
    refused: int
    uptime_s: float
    operations: dict[str, OperationStatistics]


class Engine:
    """Runs work on the device. Used from one event loop; `close` when done."""

    def __init__(
        self,
        max_wait_s: float = 10.0,
        *,
        lanes: int = 1,
        threads: int = 1,
        wait_s: float = 0.0,
        recorder: Recorder | None = None,
    ) -> None:
        """Start the lanes.

        Args:
            max_wait_s: calls that begin are refused if the work of others would make them wait for longer than this.
            lanes: batches that run at once.
            threads: that a batch computes in where it is alone, or there is one lane; otherwise each computes in one.
            wait_s: how long a batch that is not full waits for more pieces, seconds.
            recorder: watches every batch.

        """
        self.lanes, self.threads = lanes, threads
        self._max_wait_s, self._wait_s = max_wait_s, wait_s
        self._recorder = recorder
        self._queue = FairQueue()
        self._changed = threading.Condition()
        self._pending = self._dropped = self._refused = 0
        self._open: dict[Piece, None] = {}  # what somebody waits for, in order
        self._computing: set[int] = set()  # lanes, by thread
        self._owed: dict[int, list[Piece]] = {}  # what each lane has taken and not delivered
        self._closed = self._broken = False
        self._on_broken: Callable[[], None] = lambda: None
        self._began = time.perf_counter()
        self._done: dict[str, OperationStatistics] = {}
        self._lanes = Lanes(lanes, self._turn, self._recover, self._give_up)

    @property
    def pending(self) -> int:
        """Number of pieces that somebody waits for, those that run included."""
        return self._pending

    @property
    def lanes_alive(self) -> int:
        """Number of lanes that have not ended."""
        return self._lanes.alive

    @property
    def broken(self) -> bool:
        """Whether lanes have failed so that no work is done any more."""
        return self._broken

    def on_broken(self, observer: Callable[[], None]) -> None:
        """Call `observer()`, in a lane's thread, when the engine breaks."""
        self._on_broken = observer

    def statistics(self) -> EngineStatistics:
        """What the engine does, and has done."""
        with self._changed:
            return EngineStatistics(
                lanes=self.lanes,
                busy_lanes=len(self._computing),
                waiting=len(self._queue),
                dropped=self._dropped,
                refused=self._refused,
                uptime_s=time.perf_counter() - self._began,
                operations=dict(self._done),
            )

    def job(self, client: str = "") -> Job:
        """A call's way to the device."""
        return Job(self, client)

    def check_wait(self, operation: Operation, pieces: int, client: str, remaining_s: float | None) -> None:
        """Raise BusyError, with an estimate of when to come again, if `pieces` more of a client would wait too long.

        Too long is past the engine's bound, or past the `remaining_s` that the caller has. What the client itself has
        given the device to do does not count: one that is alone is never refused.
        """
        with self._changed:
            wait_s = self._queue.wait_s(operation, pieces, client) / self.lanes
        limit_s = self._max_wait_s if remaining_s is None else min(self._max_wait_s, remaining_s)
        if wait_s > limit_s:
            self._refused += 1
            raise BusyError(
                f"the device has {wait_s:.1f} s of others' work to do first; the server's limit is "
                f"{self._max_wait_s:g} s (max_wait_seconds), or the call's deadline",
                retry_after_s=max(_LEAST_RETRY_S, wait_s - limit_s),
            )

    async def run(self, operation: Operation, payloads: Sequence[Any], client: str) -> tuple[list[Any], Piece]:
        """Results of `operation` for each payload, in order, and the piece that was done last.

        If the caller is cancelled (its client has gone or its deadline has passed), its pieces that still wait are
        dropped and never run. Raises what the operation raises, and LaneError for a defect around it.
        """
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Any]] = [loop.create_future() for _ in payloads]
        now = time.perf_counter()
        pieces = [
            Piece(operation, payload, client, _delivery(loop, future), submitted=now)
            for payload, future in zip(payloads, futures, strict=True)
        ]
        with self._changed:
            if self._closed:
                raise (
                    LaneError("the lanes have failed and take no more work")
                    if self._broken
                    else DrainingError("the server is shutting down and takes no more work")
                )
            for piece in pieces:
                self._queue.put(piece)
                self._open[piece] = None
            self._changed.notify_all()
        self._pending += len(pieces)
        try:
            results = await asyncio.gather(*futures)
        finally:
            self._pending -= len(pieces)
            self._drop(pieces)
            futures.clear()  # they hold what was raised, which holds this frame: the call would outlive itself
        last = max(pieces, key=lambda piece: piece.ended)
        return results, last

    def close(self) -> None:
        """Drop what waits and return when what runs is done."""
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._changed.notify_all()
        self._lanes.join()
        if self._recorder is not None:
            self._recorder.close()

    def _drop(self, pieces: list[Piece]) -> None:
        with self._changed:
            for piece in pieces:
                self._open.pop(piece, None)
                self._dropped += self._queue.drop(piece)

    def _recover(self) -> None:
        """After a turn that failed outside of its operation: what its lane had taken is lost, and its callers are told.

        The turn may have left the queue half changed, so everything that waits is lined up anew.
        """
        with self._changed:
            lane = threading.get_ident()
            lost = self._owed.pop(lane, [])
            self._computing.discard(lane)
            taken = {piece for pieces in (lost, *self._owed.values()) for piece in pieces}
            self._queue = FairQueue()
            for piece in self._open:
                if piece not in taken and not piece.ended:
                    self._queue.put(piece)
            self._changed.notify_all()
        for piece in lost:
            piece.deliver(piece, None, LaneError(f"{piece.operation.name} was lost to a defect of its lane"))

    def _give_up(self) -> None:
        """Nothing is done any more: all who wait are told, and then whoever watches."""
        with self._changed:
            self._closed = self._broken = True
            waiting = list(self._open)
            self._queue = FairQueue()
            self._changed.notify_all()
        for piece in waiting:
            piece.deliver(piece, None, LaneError(f"{piece.operation.name} was lost: the device's lanes have failed"))
        self._on_broken()

    def _turn(self) -> bool:
        """Wait for a batch and run it; False once the engine is closed. Nothing of it is held on to afterwards."""
        picked = self._pick()
        if picked is None:
            return False
        pieces, threads, queue = picked
        started = time.perf_counter()
        results, error = self._run(pieces, threads)
        ended = time.perf_counter()
        with self._changed:
            self._computing.discard(threading.get_ident())
            queue.done(pieces, ended - started)
            self._count(pieces, ended - started)
        for i, piece in enumerate(pieces):
            piece.started, piece.ended, piece.batch = started, ended, len(pieces)
            piece.deliver(piece, None if error else results[i], error)
            piece.deliver = _nothing
        with self._changed:
            del self._owed[threading.get_ident()]
        del error  # it holds this frame and the pieces: nothing of them may hold it, or the call would outlive itself
        return True

    def _pick(self) -> tuple[list[Piece], int, FairQueue] | None:
        """The next batch, the threads to run it in and the queue it is from; None once the engine is closed."""
        with self._changed:
            while not self._closed:
                head = self._queue.head()
                if head is None:
                    self._changed.wait()
                    continue
                picked = time.perf_counter()
                self._gather(head.operation)
                pieces = self._queue.take(head.operation, self.lanes - len(self._computing))
                if not pieces:  # another lane was quicker
                    continue
                for piece in pieces:
                    piece.picked = max(picked, piece.submitted)
                self._owed[threading.get_ident()] = pieces
                self._computing.add(threading.get_ident())
                return pieces, self._threads_for(head.operation), self._queue
        return None

    def _threads_for(self, operation: Operation) -> int:
        """One thread or all of them: no other number was tried for changing no bit."""
        alone = self.lanes == 1 or (len(self._computing) == 1 and not len(self._queue))
        return self.threads if alone and operation.shapes.in_threads else 1

    def _gather(self, operation: Operation) -> None:
        """Wait a little for a batch to fill up."""
        until = time.perf_counter() + self._wait_s
        full = operation.shapes.sizes[-1]
        while not self._closed and 0 < self._queue.waiting(operation) < full:
            left = until - time.perf_counter()
            if left <= 0 or not self._changed.wait(left):
                return

    def _run(self, pieces: list[Piece], threads: int) -> tuple[list[Any], BaseException | None]:
        operation = pieces[0].operation
        payloads = [piece.payload for piece in pieces]
        try:
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            if operation.filler is not None:
                payloads += [operation.filler(payloads[0]) for _ in range(operation.shapes.sizes[0] - len(payloads))]
            with nullcontext() if self._recorder is None else self._recorder.batch(operation.name):
                return operation.run(payloads), None
        except (StopIteration, StopAsyncIteration) as error:  # no awaitable can raise these
            lost = LaneError(f"{operation.name} ended in {type(error).__name__}")
            return [], lost.with_traceback(error.__traceback__)
        except Exception as error:
            return [], error

    def _count(self, pieces: list[Piece], seconds: float) -> None:
        name = pieces[0].operation.name
        past = self._done.get(name, OperationStatistics())
        self._done[name] = replace(
            past, pieces=past.pieces + len(pieces), batches=past.batches + 1, device_s=past.device_s + seconds
        )


def _delivery(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]
) -> Callable[[Piece, Any, BaseException | None], None]:
    """What hands one piece's result to whoever awaits `future`; it knows no piece, so that none knows itself."""

    def deliver(_: Piece, result: Any, error: BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, future, result, error)

    return deliver


def _nothing(_: Piece, __: Any, ___: BaseException | None) -> None:
    """A delivery that has been made."""


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():  # cancelled
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


class Job:
    """The work of one call, and where its time on the way to the device and back went, in milliseconds.

    Whether a call would wait too long is decided when it begins (`expect`): one under way is never refused.

    Attributes:
        queue_ms: waiting for a lane.
        batch_ms: waiting for a batch to fill up.
        device_ms: computing.

    """

    def __init__(self, engine: Engine, client: str) -> None:
        self._engine = engine
        self._client = client
        self.queue_ms = self.batch_ms = self.device_ms = 0.0

    def expect(self, operation: Operation, pieces: int, remaining_s: float | None) -> None:
        """Say what the call will begin with, and how long its caller waits (None: for ever). Raises BusyError."""
        self._engine.check_wait(operation, pieces, self._client, remaining_s)

    async def run(self, operation: Operation, payload: Any) -> Any:
        """Result of one piece. Raises what the operation raises."""
        return (await self.run_all(operation, [payload]))[0]

    async def run_all(self, operation: Operation, payloads: Sequence[Any]) -> list[Any]:
        """Results of several pieces at a time, in order; of their times, those of the one that was done last count."""
        results, last = await self._engine.run(operation, payloads, self._client)
        self.queue_ms += (last.picked - last.submitted) * 1000
        self.batch_ms += (last.started - last.picked) * 1000
        self.device_ms += (last.ended - last.started) * 1000
        return results


__all__ = ["Engine", "EngineStatistics", "Job", "OperationStatistics", "Recorder"]
