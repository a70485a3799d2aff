"""The engine: batches of the right sizes, in turn, measured, bounded, and nothing computed that nobody waits for."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import pytest
import torch

from genie_core.inference.shapes import ExactShapes
from genie_service import engine as engine_module
from genie_service.acceptance import Announcement
from genie_service.engine import Engine
from genie_service.errors import BusyError
from genie_service.fair_queue import FairQueue, Operation
from genie_service.lanes import LaneError
from tests.support.waiting import WITHIN_S, until


def each(function: Callable[[Any], Any], sizes: tuple[int, ...] = (1,), in_threads: bool = True) -> Operation:
    return Operation("test", lambda payloads: [function(p) for p in payloads], ExactShapes(sizes, in_threads))


class Blocker:
    """Keeps a lane busy until released."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.operation = each(lambda _: self.release.wait(WITHIN_S))


def test_pieces_run_in_order_one_at_a_time_off_the_event_loop() -> None:
    seen: list[tuple[int, str]] = []
    running = threading.Lock()

    def piece(number: int) -> int:
        assert running.acquire(blocking=False)
        time.sleep(0.002)
        seen.append((number, threading.current_thread().name))
        running.release()
        return number * 10

    async def main() -> list[int]:
        engine, operation = Engine(), each(piece)
        results = await asyncio.gather(*(engine.job("one client").run(operation, n) for n in range(8)))
        engine.close()
        return results

    assert asyncio.run(main()) == [n * 10 for n in range(8)]
    assert [number for number, _ in seen] == list(range(8))
    assert {name for _, name in seen} == {"genie-lane-0"}


def test_pieces_of_all_clients_become_batches_of_exact_sizes() -> None:
    sizes: list[int] = []

    def run(payloads: list[int]) -> list[int]:
        sizes.append(len(payloads))
        return [p * 10 for p in payloads]

    async def main() -> tuple[list[int], dict[str, tuple[int, int]]]:
        engine, blocker = Engine(), Blocker()
        operation = Operation("batched", run, ExactShapes((1, 2, 4), in_threads=True))
        busy = asyncio.create_task(engine.job().run(blocker.operation, None))
        await until(lambda: engine.statistics().busy_lanes == 1)
        work = [asyncio.create_task(engine.job(f"client {n}").run(operation, n)) for n in range(7)]
        await until(lambda: engine.statistics().waiting == 7)
        blocker.release.set()
        results = await asyncio.gather(*work)
        await busy
        found = engine.statistics().operations["batched"]
        engine.close()
        return results, {"batched": (found.pieces, found.batches)}

    results, found = asyncio.run(main())
    assert results == [n * 10 for n in range(7)]
    assert sizes == [4, 2, 1]
    assert found == {"batched": (7, 3)}


def test_a_batch_with_no_small_size_is_filled_up_and_the_filling_is_nobodys() -> None:
    seen: list[list[int]] = []

    def run(payloads: list[int]) -> list[int]:
        seen.append(payloads)
        return payloads

    async def main() -> list[int]:
        engine = Engine()
        operation = Operation("filled", run, ExactShapes((4,), in_threads=True), lambda payload: -payload)
        results = await engine.job().run_all(operation, [5, 6])
        engine.close()
        return results

    assert asyncio.run(main()) == [5, 6]
    assert seen == [[5, 6, -5, -5]]


def test_lanes_share_what_waits_and_a_lone_piece_gets_all_threads() -> None:
    async def main() -> tuple[list[int], int, int]:
        engine = Engine(lanes=2, threads=2)
        together = threading.Barrier(2, timeout=WITHIN_S)

        def both(_: int) -> int:
            together.wait()  # passes only if two lanes run at once
            return torch.get_num_threads()

        alone = await engine.job().run(each(lambda _: torch.get_num_threads()), None)
        inexact = await engine.job().run(each(lambda _: torch.get_num_threads(), in_threads=False), None)
        shared = await engine.job().run_all(each(both, (1, 2)), [0, 1])
        engine.close()
        return shared, alone, inexact

    shared, alone, inexact = asyncio.run(main())
    assert shared == [1, 1]
    assert alone == 2
    assert inexact == 1


def test_one_lane_computes_in_all_threads_only_where_that_changes_no_bit() -> None:
    async def main() -> tuple[int, int]:
        engine = Engine(lanes=1, threads=3)
        count = [
            engine.job().run(each(lambda _: torch.get_num_threads(), in_threads=exact), None) for exact in (True, False)
        ]
        found = await asyncio.gather(*count)
        engine.close()
        return found[0], found[1]

    assert asyncio.run(main()) == (3, 1)


def test_a_batch_waits_for_more_pieces_if_told_to() -> None:
    sizes: list[int] = []

    def run(payloads: list[int]) -> list[int]:
        sizes.append(len(payloads))
        return payloads

    async def main() -> None:
        engine = Engine(wait_s=300)
        operation = Operation("patient", run, ExactShapes((1, 2), in_threads=True))
        first = asyncio.create_task(engine.job().run(operation, 1))
        await asyncio.sleep(0.05)  # long enough for a lane that does not wait to take it
        await engine.job().run(operation, 2)
        await first
        engine.close()

    asyncio.run(main())
    assert sizes == [2]


def test_the_time_in_which_a_batch_fills_up_is_its_own() -> None:
    async def main() -> tuple[float, float]:
        engine = Engine(wait_s=0.05)
        job = engine.job()
        await job.run(each(str, (1, 2)), 1)
        engine.close()
        return job.batch_ms, job.device_ms

    batch_ms, device_ms = asyncio.run(main())
    assert batch_ms >= 50
    assert device_ms > 0


def test_a_job_sums_what_its_pieces_cost() -> None:
    async def main() -> tuple[float, float]:
        engine, blocker, sleep = Engine(), Blocker(), each(time.sleep)
        busy = asyncio.create_task(engine.job().run(blocker.operation, None))
        await until(lambda: engine.statistics().busy_lanes == 1)
        job = engine.job()
        first = asyncio.create_task(job.run(sleep, 0.02))
        await until(lambda: engine.pending == 2)
        await asyncio.sleep(0.02)
        blocker.release.set()
        await asyncio.gather(busy, first)
        await job.run(sleep, 0.02)
        engine.close()
        return job.queue_ms, job.device_ms

    queue_ms, device_ms = asyncio.run(main())
    assert queue_ms >= 20
    assert device_ms >= 40


def announce(engine: Engine, client: str, work: dict[Operation, int], remaining_s: float | None = None) -> None:
    """Ask whether a call would be accepted, and leave."""
    with closing(engine.job(client)) as job:
        job.announce(Announcement(work, remaining_s=remaining_s))


def test_a_call_is_refused_when_it_begins_if_others_would_keep_it_waiting_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FairQueue, "cost_s", lambda *_: 0.3)  # whatever a busy machine takes for it

    async def main() -> None:
        engine, blocker = Engine(max_wait_s=1), Blocker()
        sleep = each(time.sleep)
        busy = asyncio.create_task(engine.job("bulk").run(blocker.operation, None))
        bulk = asyncio.create_task(engine.job("bulk").run_all(sleep, [0.0] * 20))
        await until(lambda: engine.pending == 21)
        announce(engine, "bulk", {sleep: 1000})  # its own work is no reason
        announce(engine, "small", {sleep: 3})  # they take turns: 3 of the 20 pieces come before its last
        with pytest.raises(BusyError, match="max_wait_seconds") as caught:
            announce(engine, "large", {sleep: 10})
        assert 1.5 < caught.value.retry_after_s < 3
        with pytest.raises(BusyError, match="deadline"):
            announce(engine, "small", {sleep: 3}, 0.5)
        assert engine.statistics().refused == 2
        blocker.release.set()
        await asyncio.gather(busy, bulk)
        announce(engine, "large", {sleep: 10})
        engine.close()

    asyncio.run(main())


def test_what_accepted_calls_have_announced_counts_before_they_submit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all calls that arrive together find an empty queue, and wait for one another."""
    monkeypatch.setattr(FairQueue, "cost_s", lambda *_: 0.1)

    async def main() -> int:
        engine, sleep = Engine(max_wait_s=1), each(time.sleep)
        await engine.job("a").run(sleep, 0.0)
        jobs = [engine.job(f"client {number}") for number in range(40)]
        for job in jobs:
            with suppress(BusyError):
                job.announce(Announcement({sleep: 1}))
        accepted = 40 - engine.statistics().refused
        assert 8 <= accepted <= 12  # a second of 0.1 s each
        for job in jobs:
            job.close()
        announce(engine, "new", {sleep: 1})
        engine.close()
        return accepted

    asyncio.run(main())


def test_a_call_whose_deadline_its_clients_own_work_leaves_no_time_for_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FairQueue, "cost_s", lambda *_: 0.1)

    async def main() -> None:
        engine, sleep = Engine(max_wait_s=10), each(time.sleep)
        await engine.job("a").run(sleep, 0.1)
        announce(engine, "a", {sleep: 100}, 1.0)  # nothing is before it: who knows what a piece costs this time
        with closing(engine.job("a")) as job:
            job.announce(Announcement({sleep: 1}, {sleep: 20}))
            with pytest.raises(BusyError, match=r"deadline is in 1\.0 s") as caught:
                announce(engine, "a", {sleep: 1}, 1.0)
            assert 0.1 <= caught.value.retry_after_s < 3
            announce(engine, "a", {sleep: 1}, 60.0)
            announce(engine, "a", {sleep: 1})
        engine.close()

    asyncio.run(main())


def test_a_call_that_turns_out_to_be_late_is_refused_before_it_is_computed_in_vain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(FairQueue, "cost_s", lambda *_: 0.001)

    async def main() -> list[str]:
        engine, blocker = Engine(max_wait_s=10), Blocker()
        ran: list[str] = []
        append = each(ran.append)
        await engine.job("b").run(append, "teaches")
        busy = asyncio.create_task(engine.job("a").run(blocker.operation, None))
        await until(lambda: engine.statistics().busy_lanes == 1)
        with closing(engine.job("b")) as late, closing(engine.job("b")) as begun:
            late.announce(Announcement({append: 1}, remaining_s=0.05), refusable=True)
            begun.announce(Announcement({append: 1}, remaining_s=0.05))
            calls = [asyncio.create_task(late.run(append, "late")), asyncio.create_task(begun.run(append, "begun"))]
            await asyncio.sleep(0.1)
            blocker.release.set()
            await asyncio.gather(busy, *calls, return_exceptions=True)
        assert isinstance(calls[0].exception(), BusyError)
        assert engine.statistics().refused == 1
        engine.close()
        return ran

    assert asyncio.run(main()) == ["teaches", "begun"]  # one that has sent something goes on until its deadline


def test_a_call_that_will_be_late_is_told_so_while_the_device_is_busy_with_something_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before, only a lane that had become free looked, which may be after the deadline."""
    monkeypatch.setattr(FairQueue, "cost_s", lambda *_: 0.001)

    async def main() -> None:
        engine, blocker = Engine(max_wait_s=10), Blocker()
        sleep = each(time.sleep)
        await engine.job("b").run(sleep, 0.001)
        busy = asyncio.create_task(engine.job("a").run(blocker.operation, None))
        await until(lambda: engine.statistics().busy_lanes == 1)
        with closing(engine.job("b")) as late:
            late.announce(Announcement({sleep: 1}, remaining_s=0.2), refusable=True)
            with pytest.raises(BusyError, match="now it would miss its deadline"):
                await late.run(sleep, 0.0)
        assert engine.statistics().waiting == 0
        blocker.release.set()
        await busy
        engine.close()

    asyncio.run(main())


def test_an_idle_device_tries_what_is_estimated_to_be_late() -> None:
    """Else one batch that was slow by chance would keep out for ever all whose deadlines are shorter."""

    async def main() -> None:
        engine = Engine(max_wait_s=10)
        sleep = each(time.sleep)
        await engine.job("a").run(sleep, 0.3)
        for _ in range(2):
            with closing(engine.job("a")) as job:
                job.announce(Announcement({sleep: 1}, remaining_s=0.2), refusable=True)
                await job.run(sleep, 0.0)
        engine.close()

    asyncio.run(main())


def test_pieces_that_nobody_waits_for_never_run() -> None:
    async def main() -> tuple[list[str], int]:
        engine, blocker = Engine(), Blocker()
        ran: list[str] = []
        append = each(ran.append)
        first = asyncio.create_task(engine.job().run(blocker.operation, None))
        await until(lambda: engine.statistics().busy_lanes == 1)
        dropped = asyncio.create_task(engine.job().run_all(append, ["dropped", "dropped too"]))
        last = asyncio.create_task(engine.job().run(append, "last"))
        await until(lambda: engine.pending == 4)
        late = asyncio.create_task(_with_deadline(engine, append))
        await until(late.done)
        dropped.cancel()
        await until(lambda: engine.pending == 2)
        blocker.release.set()
        await asyncio.gather(first, last)
        assert dropped.cancelled()
        assert isinstance((await asyncio.gather(late, return_exceptions=True))[0], TimeoutError)
        found = engine.statistics().dropped
        engine.close()
        return ran, found

    assert asyncio.run(main()) == (["last"], 3)


async def _with_deadline(engine: Engine, operation: Operation) -> None:
    async with asyncio.timeout(0.02):
        await engine.job().run(operation, "late")


def test_what_a_piece_raises_reaches_its_caller_and_the_engine_goes_on() -> None:
    async def main() -> str:
        engine = Engine()
        with pytest.raises(ZeroDivisionError):
            await engine.job().run(each(lambda _: 1 // 0), None)
        result = await engine.job().run(each(lambda _: "fine"), None)
        engine.close()
        return result

    assert asyncio.run(main()) == "fine"


def test_a_bulk_client_does_not_starve_an_interactive_one() -> None:
    order: list[str] = []
    more = threading.Semaphore(0)

    def run(name: str) -> None:
        order.append(name)
        if name == "bulk":
            more.acquire(timeout=WITHIN_S)

    async def main() -> None:
        engine, operation = Engine(), each(run)
        bulk = asyncio.create_task(engine.job("bulk").run_all(operation, ["bulk"] * 60))
        for _ in range(5):
            seen = len(order)
            more.release()
            await until(lambda seen=seen: len(order) > seen and order[-1] == "bulk")
            began = len(order)
            player = asyncio.create_task(engine.job("player").run(operation, "player"))
            await asyncio.sleep(0)  # a task submits its pieces as soon as it begins
            while "player" not in order[began:]:
                seen = len(order)
                more.release()  # the bulk client's piece ends
                await until(lambda seen=seen: len(order) > seen)
            await player
            assert order[began:].index("player") <= 2, order  # what was under way; never the whole queue
        more.release(60)
        await bulk
        engine.close()

    asyncio.run(main())


# Defects around an operation: nobody is left waiting.


def _failing(monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> None:
    """Make a method of the queue raise for the next calls."""
    good, left = getattr(FairQueue, name), [times]

    def method(self: FairQueue, *arguments: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise MemoryError("injected")
        return good(self, *arguments)

    monkeypatch.setattr(FairQueue, name, method)


@pytest.mark.parametrize("name", ["done", "take", "head"])
def test_a_lane_that_fails_around_its_work_comes_back(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    async def main() -> tuple[list[Any], str, int]:
        engine = Engine(lanes=2)
        _failing(monkeypatch, name, times=2)
        async with asyncio.timeout(WITHIN_S):
            work = [engine.job(f"client {n}").run(each(str), n) for n in range(6)]
            results = await asyncio.gather(*work, return_exceptions=True)
            after = await engine.job().run(each(str), "fine")
        alive = engine.lanes_alive
        engine.close()
        return results, after, alive

    results, after, alive = asyncio.run(main())
    lost = [result for result in results if isinstance(result, LaneError)]
    assert len(lost) == (2 if name == "done" else 0)  # elsewhere nothing was taken yet: it is lined up anew
    assert sorted(result for result in results if isinstance(result, str)) == sorted(
        str(n) for n, result in enumerate(results) if not isinstance(result, LaneError)
    )
    assert (after, alive) == ("fine", 2)


def test_what_a_lane_has_lost_is_not_computed_again_by_one_that_fails_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before, the second lane found it waiting, since its caller had not been told yet."""
    ran: list[int] = []
    failing, tell, told = threading.Barrier(2, timeout=WITHIN_S), threading.Event(), itertools.count()

    class LateError(LaneError):
        """The first lane to tell that it has failed is slow."""

        def __init__(self, text: str) -> None:
            super().__init__(text)
            if next(told) == 0:
                tell.wait(WITHIN_S)

    def work(number: int) -> None:
        ran.append(number)
        if number < 2:
            failing.wait()

    async def main() -> list[Any]:
        engine = Engine(lanes=2)
        _failing(monkeypatch, "done", times=2)
        monkeypatch.setattr(engine_module, "LaneError", LateError)
        lost = [asyncio.create_task(engine.job(f"client {n}").run(each(work), n)) for n in range(2)]
        await until(lambda: any(task.done() for task in lost))
        await engine.job().run(each(work), 2)  # after whatever waits
        tell.set()
        results = await asyncio.gather(*lost, return_exceptions=True)
        engine.close()
        return results

    assert all(isinstance(result, LaneError) for result in asyncio.run(main()))
    assert sorted(ran) == [0, 1, 2]


def test_what_is_computed_elsewhere_is_not_lost_with_a_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> tuple[Any, Any]:
        engine, blocker = Engine(lanes=2), Blocker()
        elsewhere = asyncio.create_task(engine.job("other").run(blocker.operation, None))
        await until(lambda: engine.statistics().busy_lanes == 1)
        _failing(monkeypatch, "done", times=1)
        lost = (await asyncio.gather(engine.job().run(each(str), 1), return_exceptions=True))[0]
        blocker.release.set()
        async with asyncio.timeout(WITHIN_S):
            done = await elsewhere
        engine.close()
        return lost, done

    lost, done = asyncio.run(main())
    assert isinstance(lost, LaneError)
    assert done is True


def test_lanes_that_go_on_failing_end_and_everybody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        engine, told = Engine(lanes=2), threading.Event()
        engine.on_broken(told.set)
        _failing(monkeypatch, "head", times=10**6)
        async with asyncio.timeout(WITHIN_S):
            work = [engine.job(f"client {n}").run(each(str), n) for n in range(6)]
            assert all(isinstance(r, LaneError) for r in await asyncio.gather(*work, return_exceptions=True))
            with pytest.raises(LaneError, match="take no more work"):
                await engine.job().run(each(str), 1)
        assert told.wait(WITHIN_S)
        assert engine.broken
        assert engine.pending == 0
        engine.close()

    asyncio.run(main())


@pytest.mark.parametrize("error", [StopIteration, SystemExit, KeyboardInterrupt])
def test_what_no_awaitable_can_raise_reaches_the_caller_all_the_same(error: type[BaseException]) -> None:
    def work(_: Any) -> None:
        raise error

    async def main() -> None:
        engine = Engine()
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(LaneError):
                await engine.job().run(Operation("leave", work), None)
            assert await engine.job().run(each(str), "fine") == "fine"
        engine.close()

    asyncio.run(main())


def test_an_operation_that_answers_too_little_fails_its_callers() -> None:
    async def main() -> None:
        engine = Engine()
        async with asyncio.timeout(WITHIN_S):
            both = await asyncio.gather(
                engine.job().run_all(Operation("half", lambda p: p[:1], ExactShapes((2,), True), lambda p: p), [1, 2]),
                return_exceptions=True,
            )
        engine.close()
        assert isinstance(both[0], LaneError)

    asyncio.run(main())
