"""Shares of what is scarce: bounded, fair, and always something left for one who comes new."""

from __future__ import annotations

import asyncio

import pytest

from genie_service.errors import BusyError
from genie_service.shares import Share, Shares, Unit
from tests.support.waiting import WITHIN_S, until

PLACES = Unit("calls are under way", "max_calls", retry_s=2.0)


async def _fill(shares: Shares, client: str) -> list[Share]:
    """Take one by one as long as there is room."""
    taken = []
    while True:
        try:
            taken.append(await shares.take(client, 1, 0.0))
        except BusyError:
            return taken


def test_a_client_may_take_as_much_as_it_leaves_and_there_is_always_room_for_one_more() -> None:
    async def main() -> list[int]:
        shares = Shares(128, PLACES)
        return [len(await _fill(shares, f"client {n}")) for n in range(6)]

    assert asyncio.run(main()) == [64, 32, 16, 8, 4, 2]


def test_without_patience_the_refusal_is_at_once_and_says_what_is_short_and_when_to_come_again() -> None:
    async def main() -> None:
        shares = Shares(2, PLACES)
        await shares.take("a")
        with pytest.raises(BusyError, match=r"1 calls are under way, of 2 that the server has \(max_calls\)") as caught:
            await shares.take("a", 1, 0.0)
        assert caught.value.retry_after_s == 2.0
        assert shares.refused == 1
        assert shares.waiting == 0

    asyncio.run(main())


def test_whoever_holds_least_is_served_first() -> None:
    async def main() -> list[str]:
        shares, order = Shares(5, PLACES, alpha=100), []
        held = [await shares.take("much") for _ in range(4)] + [await shares.take("little")]

        async def wait(client: str) -> None:
            await shares.take(client)
            order.append(client)

        waiting = []
        for client in ("much", "little", "new"):
            waiting.append(asyncio.create_task(wait(client)))
            await until(lambda: shares.waiting == len(waiting))
        for n, share in enumerate(held[:3], 1):
            share.release()
            share.release()  # again does nothing
            await until(lambda: len(order) == n)  # noqa: B023
        return order

    assert asyncio.run(main()) == ["new", "little", "much"]


def test_one_who_gives_up_leaves_nothing_behind() -> None:
    async def main() -> tuple[int, int]:
        shares = Shares(1, PLACES)
        share = await shares.take("a")
        gone, granted = (asyncio.create_task(shares.take(client)) for client in ("b", "c"))
        await until(lambda: shares.waiting == 2)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        share.release()  # which grants it to c,
        granted.cancel()  # who gives up in the same moment
        await asyncio.gather(granted, return_exceptions=True)
        return shares.used, shares.waiting

    assert asyncio.run(main()) == (0, 0)


def test_more_than_there_is_waits_until_it_can_be_alone() -> None:
    async def main() -> None:
        shares = Shares(100, Unit("bytes", "memory_mib"))
        small = await shares.take("small", 10)
        large = asyncio.create_task(shares.take("large", 500))
        await until(lambda: shares.waiting == 1)
        another = await shares.take("newcomer", 10)  # is not held up
        small.release()
        another.release()
        assert (await large).size == 500
        with pytest.raises(BusyError):
            await shares.take("small", 10, 0.01)

    asyncio.run(main())


def test_what_is_there_already_is_counted_past_the_bound_and_settles() -> None:
    async def main() -> None:
        shares = Shares(100, Unit("bytes", "memory_mib"))
        await shares.settled("a")
        share = shares.hold("a", 150)
        settled = asyncio.create_task(shares.settled("b"))
        await asyncio.sleep(0.01)
        assert not settled.done()
        share.shrink(100)
        await asyncio.wait_for(settled, WITHIN_S)
        assert shares.held("a") == 100

    asyncio.run(main())


def test_while_somebody_waits_room_is_made() -> None:
    async def main() -> None:
        held: list[Share] = []
        shares = Shares(1, PLACES, make_room=lambda client: held[0].release())
        held.append(await shares.take("silent"))
        await asyncio.wait_for(shares.take("new"), WITHIN_S)

    asyncio.run(main())


def test_a_client_with_its_share_of_all_is_greedy() -> None:
    async def main() -> list[bool]:
        shares = Shares(4, PLACES)
        found = [shares.is_greedy("a")]
        await shares.take("a")
        await shares.take("a")
        found.append(shares.is_greedy("a"))
        await shares.take("b")
        return [*found, shares.is_greedy("a"), shares.is_greedy("b")]

    assert asyncio.run(main()) == [False, False, True, False]
