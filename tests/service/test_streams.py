"""Reading ahead: by one item, in order, with a limit to patience."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from genie_service.errors import IdleError
from genie_service.patience import Silence
from genie_service.streams import next_or_none, read_ahead
from tests.support.waiting import until


class Source:
    """Counts how far it has been read, and whether it was closed."""

    def __init__(self, items: int, stall_at: int = -1, fail_at: int = -1) -> None:
        self.read = 0
        self.closed = False
        self.silence = Silence()
        self._items, self._stall_at, self._fail_at = items, stall_at, fail_at

    async def __call__(self) -> AsyncGenerator[int]:
        try:
            for i in range(self._items):
                if i == self._stall_at:
                    with self.silence.asking():
                        await asyncio.sleep(60)
                if i == self._fail_at:
                    raise ValueError("bad item")
                self.read += 1
                yield i
        finally:
            self.closed = True


async def _collect(items: AsyncGenerator[int], seen: list[int], work_s: float) -> None:
    async for item in items:
        await asyncio.sleep(work_s)
        seen.append(item)


def test_every_item_comes_in_order_and_one_is_read_ahead() -> None:
    async def main() -> list[tuple[int, int]]:
        source, seen = Source(4), []
        async for item in read_ahead(source(), source.silence, 5):
            await until(lambda item=item: source.read == min(item + 2, 4))
            await asyncio.sleep(0.005)  # in which it reads no further
            seen.append((item, source.read))
        return seen

    assert asyncio.run(main()) == [(0, 2), (1, 3), (2, 4), (3, 4)]


def test_an_error_comes_in_its_turn() -> None:
    async def main() -> list[int]:
        seen: list[int] = []
        with pytest.raises(ValueError, match="bad item"):
            await _collect(read_ahead(Source(4, fail_at=2)(), Silence(), 5), seen, 0.005)
        return seen

    assert asyncio.run(main()) == [0, 1]


def test_silence_is_an_error_but_slow_work_is_not() -> None:
    async def main() -> list[int]:
        seen: list[int] = []
        source = Source(4, stall_at=2)
        with pytest.raises(IdleError, match=r"0\.05 s"):
            await _collect(read_ahead(source(), source.silence, 0.05), seen, 0.1)
        source = Source(1, stall_at=0)
        with pytest.raises(IdleError):
            await next_or_none(source(), source.silence, 0.02)
        return seen

    assert asyncio.run(main()) == [0, 1]


def test_leaving_early_stops_the_reading() -> None:
    async def main() -> bool:
        source = Source(4, stall_at=1)
        async with aclosing(read_ahead(source(), source.silence, 5)) as items:
            async for _ in items:
                break
        return source.closed

    assert asyncio.run(main())


def test_the_end_is_none() -> None:
    async def main() -> list[int | None]:
        items = Source(1)()
        return [await next_or_none(items, Silence(), 1) for _ in range(2)]

    assert asyncio.run(main()) == [0, None]
