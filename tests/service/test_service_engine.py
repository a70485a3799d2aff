"""The engine: one piece at a time, in order, measured, bounded, and nothing computed that nobody waits for."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from genie_service.engine import Engine
from genie_service.errors import BusyError


async def _until(condition: object) -> None:
    while not condition():  # type: ignore[operator]
        await asyncio.sleep(0.001)


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
        engine = Engine(queue_limit=100)
        results = await asyncio.gather(*(engine.job().run(lambda n=n: piece(n)) for n in range(8)))
        engine.close()
        return results

    assert asyncio.run(main()) == [n * 10 for n in range(8)]
    assert [number for number, _ in seen] == list(range(8))
    assert {name for _, name in seen} == {"genie-device_0"}


def test_a_job_sums_what_its_pieces_cost() -> None:
    async def main() -> tuple[float, float]:
        engine = Engine(queue_limit=100)
        blocker = asyncio.create_task(engine.job().run(lambda: time.sleep(0.05)))
        await asyncio.sleep(0)
        job = engine.job()
        await job.run(lambda: time.sleep(0.02))
        await job.run(lambda: time.sleep(0.02))
        await blocker
        engine.close()
        return job.queue_ms, job.compute_ms

    queue_ms, compute_ms = asyncio.run(main())
    assert queue_ms > 30
    assert 40 <= compute_ms < 200


def test_a_full_queue_refuses_calls_that_begin_but_not_those_under_way() -> None:
    async def main() -> None:
        engine = Engine(queue_limit=2)
        under_way = engine.job()
        await under_way.run(lambda: time.sleep(0.3))  # teaches the engine what a piece costs
        release = threading.Event()
        waiting = [asyncio.create_task(engine.job().run(release.wait)) for _ in range(2)]
        await _until(lambda: engine.pending == 2)
        with pytest.raises(BusyError, match="2 pieces") as caught:
            await engine.job().run(lambda: None)
        assert caught.value.retry_after_s >= 0.1
        going_on = asyncio.create_task(under_way.run(lambda: "done"))
        own = asyncio.create_task(engine.job(admitted=True).run(lambda: "own"))
        await _until(lambda: engine.pending == 4)
        release.set()
        assert [await going_on, await own] == ["done", "own"]
        await asyncio.gather(*waiting)
        assert engine.pending == 0
        assert await engine.job().run(lambda: "room again") == "room again"
        engine.close()

    asyncio.run(main())


def test_a_cancelled_piece_that_waits_never_runs() -> None:
    async def main() -> list[str]:
        engine = Engine(queue_limit=10)
        ran: list[str] = []
        release = threading.Event()
        first = asyncio.create_task(engine.job().run(release.wait))
        dropped = asyncio.create_task(engine.job().run(lambda: ran.append("dropped")))
        late = asyncio.create_task(_with_deadline(engine, lambda: ran.append("late")))
        last = asyncio.create_task(engine.job().run(lambda: ran.append("last")))
        await _until(lambda: engine.pending == 4)
        dropped.cancel()
        await _until(lambda: engine.pending == 2)
        release.set()
        await asyncio.gather(first, last)
        assert dropped.cancelled()
        assert isinstance(await asyncio.gather(late, return_exceptions=True), list)
        engine.close()
        return ran

    assert asyncio.run(main()) == ["last"]


async def _with_deadline(engine: Engine, work: object) -> None:
    async with asyncio.timeout(0.02):
        await engine.job().run(work)  # type: ignore[arg-type]


def test_what_a_piece_raises_reaches_its_caller_and_the_engine_goes_on() -> None:
    async def main() -> str:
        engine = Engine(queue_limit=2)
        with pytest.raises(ZeroDivisionError):
            await engine.job().run(lambda: 1 // 0)
        result = await engine.job().run(lambda: "fine")
        engine.close()
        return result

    assert asyncio.run(main()) == "fine"
