"""A pool of workers that may die, without any transport: rows are done, handed out evenly, and not for ever."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from genie_client import pool as pools
from genie_client.episode_reading import BadEpisodeError
from genie_client.episode_worker import Failure, relayed
from genie_client.errors import ServerEndedError
from genie_client.patience import MOST_LOST
from genie_client.pool import Pool, WorkerLostError
from genie_client.ray_engine import Node, Share, share
from genie_core.errors import GenieError, RequestError

Answer = Callable[["Fake", str, tuple[Any, ...]], Any]


class Fake:
    """Answers at once, by a function; None: never, until it is killed."""

    def __init__(self, number: int, answer: Answer) -> None:
        self.number, self._answer = number, answer
        self.flying: list[Future[Any]] = []
        self.stopped = self.dead = False
        self.deaf = False

    def submit(self, method: str, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            value = self._answer(self, method, arguments) if method != "describe" or self.deaf else "here"
        except Exception as error:
            future.set_exception(error)
        else:
            if value is None:
                self.flying.append(future)
            else:
                future.set_result(value)
        return future

    def die(self) -> None:
        self.dead = True
        for future in self.flying:
            future.set_exception(WorkerLostError("killed"))
        self.flying.clear()

    def stop(self) -> None:
        self.stopped = True


class Starter:
    """Starts workers, of which those from number `deaf` on never answer a greeting unless `answer` does."""

    def __init__(self, answer: Answer, deaf: int = 1000) -> None:
        self.all: list[Fake] = []
        self._answer, self._deaf = answer, deaf

    def __call__(self) -> Fake:
        self.all.append(Fake(len(self.all), self._answer))
        self.all[-1].deaf = len(self.all) > self._deaf
        return self.all[-1]


def test_rows_go_to_the_worker_with_the_fewest_and_no_deeper_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_TICK_S", 0.001)
    most: Counter[int] = Counter()

    def answer(worker: Fake, method: str, arguments: tuple[Any, ...]) -> Any:
        assert (method, arguments[0]) == ("label", "job")
        most[worker.number] = max(most[worker.number], len(worker.flying) + 1)
        return None

    start = Starter(answer)
    pool = Pool(start, 2, 3)

    def finish(seconds: float) -> None:
        """Each time that the pool waits, the first worker answers one."""
        for worker in start.all:
            if worker.flying:
                worker.flying.pop(0).set_result("done")
                return

    seen = [row for row, _ in pool.run("label", range(10), "job", still=finish)]
    assert sorted(seen) == list(range(10))
    assert most == {0: 3, 1: 3}


def test_a_dead_workers_rows_are_all_done_by_others() -> None:
    def answer(worker: Fake, method: str, arguments: tuple[Any, ...]) -> Any:
        if worker.number == 0:
            if len(worker.flying) == 2:
                worker.die()
            if worker.dead:
                raise WorkerLostError("killed")
            return None
        return worker.number

    start = Starter(answer)
    pool = Pool(start, 1, 4)
    done = dict(pool.run("label", list("abcdef")))
    assert done == dict.fromkeys("abcdef", 1)
    assert (pool.lost, len(start.all), start.all[0].stopped) == (1, 2, True)
    pool.close()
    assert start.all[1].stopped


@pytest.mark.parametrize("rows", [range(4), [2]], ids=["among others", "alone"])
def test_a_row_that_ends_every_worker_is_given_up_and_named(rows: Sequence[int]) -> None:
    def answer(worker: Fake, method: str, arguments: tuple[Any, ...]) -> Any:
        if arguments[0] == 2:
            raise WorkerLostError("out of memory")
        return "done"

    start = Starter(answer)
    with pytest.raises(GenieError, match=rf"demo_2: was lost {MOST_LOST + 1} times .*out of memory"):
        list(Pool(start, 2, 1).run("label", rows, name=lambda row: f"demo_{row}"))


def test_an_error_of_the_worker_is_an_answer_and_a_bug_is_raised() -> None:
    def answer(worker: Fake, method: str, arguments: tuple[Any, ...]) -> Any:
        raise BadEpisodeError("one frame") if arguments[0] else ZeroDivisionError

    ((_, error),) = Pool(Starter(answer), 1, 1).run("label", [1])
    assert isinstance(error, BadEpisodeError)
    with pytest.raises(ZeroDivisionError):
        list(Pool(Starter(answer), 1, 1).run("label", [0]))


def test_what_was_lost_is_done_by_those_left_if_there_is_no_room_for_another() -> None:
    def answer(worker: Fake, method: str, arguments: tuple[Any, ...]) -> Any:
        if method == "describe":
            return None  # never started
        if worker.number == 0:
            raise WorkerLostError("its machine died")
        return worker.number

    start = Starter(answer, deaf=2)
    pool = Pool(start, 2, 1)
    assert dict(pool.run("label", range(6))) == dict.fromkeys(range(6), 1)
    assert len(start.all) == 3
    pool.close()
    assert all(worker.stopped for worker in start.all)


def test_asking_outlives_a_worker_and_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_TICK_S", 0.001)

    def second(worker: Fake, method: str, arguments: tuple[Any, ...]) -> Any:
        if worker.number == 0:
            raise WorkerLostError("killed")
        return "steps"

    told: list[float] = []
    assert Pool(Starter(second), 1, 1).ask("steps", within_s=1, still=told.append) == "steps"
    with pytest.raises(TimeoutError):
        Pool(Starter(lambda *_: None, deaf=0), 1, 1).ask("steps", within_s=0.005, still=told.append)
    assert told

    def dead(worker: Fake, method: str, arguments: tuple[Any, ...]) -> Any:
        raise WorkerLostError("no disk")

    for deaf in (0, 1000):  # already at its greeting, or later
        with pytest.raises(GenieError, match=f"{MOST_LOST + 1} workers died, one after another: no disk"):
            Pool(Starter(dead, deaf), 1, 1).ask("steps", within_s=1, still=told.append)


def test_errors_come_home_as_what_they_were() -> None:
    def home(error: GenieError) -> BaseException | None:
        sent: Future[Any] = Future()
        arrived = relayed(sent, (KeyError,))
        sent.set_result(Failure.of(error))
        return arrived.exception()

    bad = BadEpisodeError("got 1 frame")
    bad.add_note("--skip-bad leaves it out")
    back = home(bad)
    assert isinstance(back, BadEpisodeError)
    assert (str(back), back.__notes__) == ("got 1 frame", ["--skip-bad leaves it out"])
    assert isinstance(home(ServerEndedError("exit code -9")), WorkerLostError)
    assert str(home(RequestError("step", "got 0"))) == "step: got 0"
    gone: Future[Any] = Future()
    arrived = relayed(gone, (KeyError,))
    gone.set_exception(KeyError("actor"))
    assert isinstance(arrived.exception(), WorkerLostError)


def test_a_cluster_is_divided_so_that_every_worker_fits() -> None:
    two = [Node(4, 0), Node(8, 0)]
    assert share(two, None, None) == Share(2, 4, 0)
    assert share(two, 4, None) == Share(4, 2, 0)
    assert share([Node(2, 0)], 4, None) == Share(4, 1, 0)
    assert share(two, None, 8) == Share(2, 8, 0)
    assert share([Node(16, 4), Node(2, 0)], None, None) == Share(4, 4, 1)
    with pytest.raises(GenieError, match=r"worker-cpus: got 9, expected at most 8"):
        share(two, None, 9)
    with pytest.raises(GenieError, match="without CPUs"):
        share([Node(0, 0)], None, None)
