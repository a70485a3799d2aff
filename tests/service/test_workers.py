"""A few threads for all clients, which take turns."""

from __future__ import annotations

import asyncio
import threading

import pytest

from genie_service.workers import Workers
from tests.support.waiting import WITHIN_S, until


def test_no_more_run_at_once_than_there_are_threads_and_clients_take_turns() -> None:
    async def main() -> tuple[list[str], int]:
        workers, order, running, most = Workers(2), [], 0, 0
        release, lock = threading.Event(), threading.Lock()

        def work(name: str) -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
                order.append(name)
            release.wait(WITHIN_S)
            with lock:
                running -= 1

        many = [asyncio.create_task(workers.run("many", lambda: work("many"))) for _ in range(20)]
        await until(lambda: running == 2)
        one = asyncio.create_task(workers.run("one", lambda: work("one")))
        await asyncio.sleep(0)  # it waits for its turn
        release.set()
        await asyncio.gather(*many, one)
        workers.close()
        return order, most

    order, most = asyncio.run(main())
    assert most == 2
    assert order.index("one") <= 4


def test_what_is_raised_arrives_and_what_nobody_waits_for_never_runs() -> None:
    async def main() -> list[str]:
        workers, ran, release = Workers(1), [], threading.Event()
        busy = asyncio.create_task(workers.run("a", lambda: release.wait(WITHIN_S)))
        dropped = asyncio.create_task(workers.run("a", lambda: ran.append("dropped")))
        await asyncio.sleep(0)  # it waits for its turn
        dropped.cancel()
        await asyncio.gather(dropped, return_exceptions=True)
        release.set()
        await busy
        with pytest.raises(ZeroDivisionError):
            await workers.run("a", lambda: 1 // 0)
        await workers.run("a", lambda: ran.append("after"))
        workers.close()
        return ran

    assert asyncio.run(main()) == ["after"]
