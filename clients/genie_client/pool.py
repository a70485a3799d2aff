"""A pool of workers that may die: every row gets done by one of them, however often that takes. Knows no transport."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
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
    """Workers, each replaced when it dies. Not thread-safe."""

    def __init__(self, start: Callable[[], Worker], workers: int, depth: int) -> None:
        """Start the workers.

        Args:
            start: starts one, without waiting for it.
            workers: how many there are at a time, at least 1.
            depth: rows that each has at a time, at least 1.

        """
        self._start, self._depth = start, depth
        self._workers = [start() for _ in range(workers)]
        self.lost = 0

    def ask(self, method: str, *arguments: Any, within_s: float, still: Callable[[float], None]) -> Any:
        """Ask the first worker for something, and another one if it dies.

        `still` is told about once a second for how many seconds it has not answered.

        Raises:
            TimeoutError: there was no answer within `within_s` seconds.
            GenieError: the worker's, or workers died again and again.

        """
        for _ in range(MOST_LOST):
            worker = self._workers[0]
            future, waited_s = worker.submit(method, *arguments), 0.0
            while not wait([future], _TICK_S).done:
                waited_s += _TICK_S
                if waited_s > within_s:
                    raise TimeoutError
                still(waited_s)
            try:
                return future.result()
            except WorkerLostError as error:
                lost = error
                self._replace(worker)
        raise GenieError(f"{MOST_LOST} workers died before any has answered: {lost}") from lost

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
            GenieError: one row's workers died more than `MOST_LOST` times.

        """
        todo, losses = deque(rows), Counter[_Row]()
        flying: dict[Future[Any], tuple[Worker, _Row]] = {}
        quiet_s = 0.0
        while todo or flying:
            while todo and (worker := self._least_busy(flying)) is not None:
                row = todo.popleft()
                flying[worker.submit(method, *common, row)] = worker, row
            done = wait(flying, _TICK_S, FIRST_COMPLETED).done
            quiet_s = 0.0 if done else quiet_s + _TICK_S
            if not done:
                still(quiet_s)
            for future in done:
                worker, row = flying.pop(future)
                try:
                    answer = future.result()
                except GenieError as error:
                    answer = error
                except WorkerLostError as error:
                    self._replace(worker)
                    losses[row] += 1
                    if losses[row] > MOST_LOST:
                        what = f"{name(row)}: was lost {losses[row]} times with its worker"
                        raise GenieError(f"{what}, and may be what ends it: {error}") from error
                    todo.appendleft(row)
                    continue
                yield row, answer

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            worker.stop()

    def _least_busy(self, flying: dict[Future[Any], tuple[Worker, _Row]]) -> Worker | None:
        """Return the worker with the fewest rows; None if all have `depth`."""
        busy = Counter(id(worker) for worker, _ in flying.values())
        worker = min(self._workers, key=lambda worker: busy[id(worker)])
        return worker if busy[id(worker)] < self._depth else None

    def _replace(self, worker: Worker) -> None:
        """Start a worker in place of one that is lost, unless that was done when it lost another row."""
        for place, there in enumerate(self._workers):
            if there is worker:
                worker.stop()
                self._workers[place] = self._start()
                self.lost += 1


__all__ = ["Pool", "Worker", "WorkerLostError"]
