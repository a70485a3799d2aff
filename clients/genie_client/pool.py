"""A pool of workers that may die: every row gets done by one of them, however often that takes. Knows no transport."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, Protocol, TypeVar

from genie_client.patience import MOST_LOST
from genie_core.errors import GenieError

_TICK_S = 1.0
"""Seconds between two looks at what the pool waits for."""

_Row = TypeVar("_Row", bound=Hashable)


class WorkerLostError(Exception):
    """The worker died, or cannot be reached: what it was asked may or may not have been done."""


class Worker(Protocol):
    """One process that does what it is asked, several things at a time."""

    def submit(self, method: str, *arguments: Any) -> Future[Any]:
        """Ask for something. The future raises `WorkerLostError` if the worker dies before it has answered."""

    def stop(self) -> None:
        """End it, whatever it is doing; no error if it is dead."""


class Pool:
    """Workers, each replaced when it dies. Not thread-safe.

    A worker is asked for rows only once it has answered a greeting: of one that cannot start, for want of a machine,
    nothing is waited for as long as there are others.
    """

    def __init__(self, start: Callable[[], Worker], workers: int, depth: int, greeting: str = "describe") -> None:
        """Start the workers.

        Args:
            start: starts one, without waiting for it.
            workers: how many there are at a time, at least 1.
            depth: rows that each has at a time, at least 1.
            greeting: what each is asked first, without arguments.

        """
        self._start, self._depth, self._greeting = start, depth, greeting
        self._ready: list[Worker] = []
        self._starting: dict[Future[Any], Worker] = {}
        self._failures = 0
        self.lost = 0
        for _ in range(workers):
            self._add()

    def ask(self, method: str, *arguments: Any, within_s: float, still: Callable[[float], None]) -> Any:
        """Ask one worker for something, and another one if it dies.

        `still` is told about once a second for how many seconds nobody has answered.

        Raises:
            TimeoutError: there was no answer within `within_s` seconds.
            GenieError: the worker's, or workers died again and again.

        """
        asked: dict[Future[Any], Worker] = {}
        quiet_s = 0.0
        while True:
            if self._ready and not asked:
                asked = {self._ready[0].submit(method, *arguments): self._ready[0]}
            done = wait({*asked, *self._starting}, _TICK_S, FIRST_COMPLETED).done
            quiet_s = 0.0 if done else quiet_s + _TICK_S
            if quiet_s > within_s:
                raise TimeoutError
            if not done:
                still(quiet_s)
            self._greet(done)
            for future in done & asked.keys():
                worker = asked.pop(future)
                try:
                    return future.result()
                except WorkerLostError as error:
                    self._replace(worker, error)

    def run(
        self,
        method: str,
        rows: Sequence[_Row],
        *common: Any,
        name: Callable[[_Row], str] = str,
        still: Callable[[float], None] = lambda seconds: None,
    ) -> Iterator[tuple[_Row, Any | GenieError]]:
        """Ask for every row, and yield it with the answer, or the worker's `GenieError`, as answers come.

        A row whose worker died is asked for again.

        Args:
            method: what to ask for; its arguments are `common` and the row.
            rows: handed out in order, one to each worker in turn, until each has `depth`.
            common: arguments of all.
            name: names a row in errors.
            still: told about once a second for how many seconds no answer has come.

        Raises:
            GenieError: one row's workers died more than `MOST_LOST` times, or no worker can start.

        """
        todo, losses = deque(rows), Counter[_Row]()
        flying: dict[Future[Any], tuple[Worker, _Row]] = {}
        quiet_s = 0.0
        while todo or flying:
            while todo and (worker := self._least_busy(flying)) is not None:
                row = todo.popleft()
                flying[worker.submit(method, *common, row)] = worker, row
            done = wait({*flying, *self._starting}, _TICK_S, FIRST_COMPLETED).done
            quiet_s = 0.0 if done else quiet_s + _TICK_S
            if not done:
                still(quiet_s)
            self._greet(done)
            for future in done & flying.keys():
                worker, row = flying.pop(future)
                try:
                    answer = future.result()
                except GenieError as error:
                    answer = error
                except WorkerLostError as error:
                    # the row first: if it is the only one left, each death is also one of many in a row
                    losses[row] += 1
                    if losses[row] > MOST_LOST:
                        what = f"{name(row)}: was lost {losses[row]} times with its worker"
                        raise GenieError(f"{what}, and may be what ends it: {error}") from error
                    self._replace(worker, error)
                    todo.appendleft(row)
                    continue
                self._failures = 0
                yield row, answer

    def close(self) -> None:
        """End all workers."""
        for worker in (*self._ready, *self._starting.values()):
            worker.stop()

    def _add(self) -> None:
        """Start a worker."""
        worker = self._start()
        self._starting[worker.submit(self._greeting)] = worker

    def _greet(self, done: AbstractSet[Future[Any]]) -> None:
        """Take the workers that have answered their greeting. Raises the GenieError of one that cannot work."""
        for future in done & self._starting.keys():
            worker = self._starting.pop(future)
            try:
                future.result()
            except WorkerLostError as error:
                self._ready.append(worker)
                self._replace(worker, error)
            else:
                self._ready.append(worker)

    def _least_busy(self, flying: dict[Future[Any], tuple[Worker, _Row]]) -> Worker | None:
        """Return the worker with the fewest rows; None if all have `depth`, or none is ready."""
        busy = Counter(id(worker) for worker, _ in flying.values())
        worker = min(self._ready, key=lambda worker: busy[id(worker)], default=None)
        return worker if worker is not None and busy[id(worker)] < self._depth else None

    def _replace(self, worker: Worker, error: WorkerLostError) -> None:
        """Start a worker in place of one that is lost, unless that was done when it lost another row."""
        if not any(there is worker for there in self._ready):
            return
        self._ready = [there for there in self._ready if there is not worker]
        worker.stop()
        self.lost += 1
        self._failures += 1
        if self._failures > MOST_LOST:
            raise GenieError(f"{self._failures} workers died, one after another: {error}") from error
        self._add()


__all__ = ["Pool", "Worker", "WorkerLostError"]
