"""Engine: the only owner of the device. Batches work of all calls and runs it off the event loop, fair and bounded.

On a CPU there are several lanes, each computing its own batch in one thread, which is faster than one batch in many
threads; a piece on its own gets all threads. On a GPU there is one lane. `Operation` defines what a piece computes, and
`FairQueue` whose turn it is.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from genie_service.acceptance import Acceptance, Announcement, Work
from genie_service.delivery import delivered, delivery
from genie_service.errors import BusyError, DrainingError
from genie_service.fair_queue import FairQueue, Operation, Piece
from genie_service.job import Job
from genie_service.lanes import LaneError, Lanes

_LATE_RETRY_S = 1.0


class Recorder(Protocol):
    """Observer of batches as they run (the profiler)."""

    def batch(self, name: str) -> AbstractContextManager[object]:
        """Return a context manager around each batch, in its lane's thread."""

    def close(self) -> None:
        """Called when no more batches will run."""


@dataclass(frozen=True)
class OperationStatistics:
    """Totals of one operation since the server started: pieces, batches, what these had room for, seconds of lanes."""

    pieces: int = 0
    batches: int = 0
    slots: int = 0
    device_s: float = 0.0


@dataclass(frozen=True)
class EngineStatistics:
    """State and totals of the engine.

    Attributes:
        lanes: number of batches that can run at once.
        busy_lanes: number of these that run one now.
        waiting: number of pieces waiting now.
        dropped: number of pieces dropped because their caller had gone.
        refused: number of calls refused because they would have waited too long.
        uptime_s: seconds since the engine started.
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
            max_wait_s: new calls are refused if the work of others would make them wait longer than this, and in a
                standing queue sooner; see `Acceptance`.
            lanes: number of batches that can run at once.
            threads: threads for a batch on its own, or with one lane; otherwise each batch uses one.
            wait_s: how long a batch that is not full waits for more pieces, seconds.
            recorder: observes every batch.

        """
        self.lanes, self.threads = lanes, threads
        self._acceptance = Acceptance(max_wait_s, lanes)
        self._wait_s = wait_s
        self._recorder = recorder
        self._queue = FairQueue()
        self._changed = threading.Condition()
        self._pending = self._dropped = self._refused = 0
        self._open: dict[Piece, None] = {}  # pieces with a waiting caller, in order
        self._computing: set[int] = set()  # lanes, by thread
        self._owed: dict[int, list[Piece]] = {}  # pieces that each lane has taken but not delivered
        self._closed = self._broken = False
        self._on_broken: Callable[[], None] = lambda: None
        self._began = time.perf_counter()
        self._done: dict[str, OperationStatistics] = {}
        self._lanes = Lanes(lanes, self._turn, self._recover, self._give_up)

    @property
    def pending(self) -> int:
        """Number of pieces with a waiting caller, including running ones."""
        return self._pending

    @property
    def lanes_alive(self) -> int:
        """Number of lanes that have not ended."""
        return self._lanes.alive

    @property
    def broken(self) -> bool:
        """Whether lanes have failed, so that no more work is done."""
        return self._broken

    def on_broken(self, observer: Callable[[], None]) -> None:
        """Call `observer()`, in a lane's thread, if the engine breaks."""
        self._on_broken = observer

    def statistics(self) -> EngineStatistics:
        """Return the engine's current state and totals."""
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

    def waiting_by_client(self) -> dict[str, int]:
        """Return the number of waiting pieces of each client that has any."""
        with self._changed:
            return self._queue.by_client()

    def job(self, client: str = "") -> Job:
        """Return a call's access to the device."""
        return Job(self, client)

    def accept(self, call: Announcement, client: str) -> None:
        """Accept a call that begins: what it has announced stays promised until it is submitted, or `forget`.

        Raises BusyError, with a hint when to return; see `Acceptance.check`.
        """
        with self._changed:
            try:
                self._acceptance.check(self._queue, call, client, time.perf_counter())
            except BusyError:
                self._refused += 1
                raise
            self._acceptance.promise(client, call.total or call.first)

    def needed_s(self, operation: Operation, pieces: int, rounds: int) -> float:
        """Return an upper estimate of the time for `rounds` of `pieces` each; see `Acceptance.needed_s`."""
        with self._changed:
            return self._acceptance.needed_s(self._queue, operation, pieces, rounds)

    def delivery_s(self, remaining_s: float) -> float:
        """Return how long before a deadline, now so far away, a call's last result must be there."""
        with self._changed:
            return self._acceptance.delivery_s(remaining_s)

    def presume(self, client: str, work: Work) -> None:
        """Count work that a call has not announced and will probably submit, until `forget`."""
        with self._changed:
            self._acceptance.promise(client, work)

    def forget(self, client: str, work: Work) -> None:
        """Forget what a call has announced and will not submit."""
        with self._changed:
            self._acceptance.fulfil(client, work)

    async def run(
        self,
        operation: Operation,
        payloads: Sequence[Any],
        client: str,
        *,
        promised: int = 0,
        start_by: float = math.inf,
        deadline: float = math.inf,
    ) -> tuple[list[Any], Piece]:
        """Return the results of `operation` for each payload, in order, and the piece that finished last.

        `promised` of them were announced. Those that no lane has begun by `start_by`, a time of `time.perf_counter`,
        are refused at that time, unless the device is idle when they come: BusyError. Of one client's pieces those with
        the earliest `deadline` go first.

        If the caller is cancelled (its client has gone or its deadline has passed), its waiting pieces are dropped and
        never run. Raises what the operation raises, and LaneError for a defect outside of it.
        """
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Any]] = [loop.create_future() for _ in payloads]
        now = time.perf_counter()
        with self._changed:
            if not len(self._queue) and len(self._computing) < self.lanes:
                start_by = math.inf  # estimates may be wrong, and nobody else loses by trying
        pieces = [
            Piece(
                operation, payload, client, delivery(loop, future), submitted=now, start_by=start_by, deadline=deadline
            )
            for payload, future in zip(payloads, futures, strict=True)
        ]
        with self._changed:
            if self._closed:
                raise (
                    LaneError("the lanes have failed and take no more work")
                    if self._broken
                    else DrainingError("the server is shutting down and takes no more work")
                )
            self._acceptance.fulfil(client, {operation: promised})
            for piece in pieces:
                self._queue.put(piece)
                self._open[piece] = None
            self._acceptance.note(len(self._queue), now)
            self._changed.notify_all()
        self._pending += len(pieces)
        # Lanes may all be busy with long work then, so that none would look.
        looking = None if start_by == math.inf else loop.call_later(max(0.0, start_by - now), self._refuse_late)
        try:
            results = await asyncio.gather(*futures)
        finally:
            if looking is not None:
                looking.cancel()
            self._pending -= len(pieces)
            self._drop(pieces)
            futures.clear()  # they hold what was raised, which holds this frame: the call would never be freed
        last = max(pieces, key=lambda piece: piece.ended)
        with self._changed:
            self._acceptance.delivered(time.perf_counter() - last.ended)
        return results, last

    def close(self) -> None:
        """Drop waiting pieces and return when running ones are done."""
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
        """Recover after a turn failed outside of its operation: fail what its lane had taken.

        The turn may have left the queue in an inconsistent state, so all waiting pieces are queued anew.
        """
        with self._changed:
            lane = threading.get_ident()
            lost = self._owed.pop(lane, [])
            for piece in lost:
                self._open.pop(piece, None)  # another lane that recovers would queue it anew
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
        """Stop working for good: fail all waiting pieces, then notify the observer."""
        with self._changed:
            self._closed = self._broken = True
            waiting = list(self._open)
            self._queue = FairQueue()
            self._changed.notify_all()
        for piece in waiting:
            piece.deliver(piece, None, LaneError(f"{piece.operation.name} was lost: the device's lanes have failed"))
        self._on_broken()

    def _turn(self) -> bool:
        """Wait for a batch and run it; return False once the engine is closed. Keeps no reference to it afterwards."""
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
            piece.deliver = delivered
        with self._changed:
            del self._owed[threading.get_ident()]
        del error  # it holds this frame and the pieces, which must not hold it, or the call would never be freed
        return True

    def _pick(self) -> tuple[list[Piece], int, FairQueue] | None:
        """Return the next batch, its number of threads and its queue; None once the engine is closed."""
        with self._changed:
            while not self._closed:
                self._refuse_late()
                head = self._queue.head()
                if head is None:
                    self._changed.wait()
                    continue
                picked = time.perf_counter()
                self._gather(head.operation)
                pieces = self._queue.take(head.operation, self.lanes - len(self._computing))
                if not pieces:  # another lane was faster
                    continue
                self._acceptance.note(len(self._queue), picked)
                for piece in pieces:
                    piece.picked = max(picked, piece.submitted)
                self._owed[threading.get_ident()] = pieces
                self._computing.add(threading.get_ident())
                return pieces, self._threads_for(head.operation), self._queue
        return None

    def _refuse_late(self) -> None:
        """Refuse those that can no longer begin in time: what others do meanwhile cannot be known beforehand."""
        with self._changed:
            for piece in self._queue.take_late(time.perf_counter()):
                self._refused += 1
                waited_s = time.perf_counter() - piece.submitted
                text = f"the device had no time for it within {waited_s:.1f} s, and now it would miss its deadline"
                piece.deliver(piece, None, BusyError(text, _LATE_RETRY_S, cause="deadline"))
            self._acceptance.note(len(self._queue), time.perf_counter())

    def _threads_for(self, operation: Operation) -> int:
        """Return one thread or all: no other number has been checked to change no bit."""
        alone = self.lanes == 1 or (len(self._computing) == 1 and not len(self._queue))
        return self.threads if alone and operation.shapes.in_threads else 1

    def _gather(self, operation: Operation) -> None:
        """Wait briefly for a batch to fill up."""
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
        except (StopIteration, StopAsyncIteration) as error:  # futures cannot raise these
            lost = LaneError(f"{operation.name} ended in {type(error).__name__}")
            return [], lost.with_traceback(error.__traceback__)
        except Exception as error:
            return [], error

    def _count(self, pieces: list[Piece], seconds: float) -> None:
        name = pieces[0].operation.name
        past = self._done.get(name, OperationStatistics())
        self._done[name] = replace(
            past,
            pieces=past.pieces + len(pieces),
            batches=past.batches + 1,
            slots=past.slots + pieces[0].operation.shapes.sizes[-1],
            device_s=past.device_s + seconds,
        )


__all__ = ["Engine", "EngineStatistics", "Job", "OperationStatistics", "Recorder"]
