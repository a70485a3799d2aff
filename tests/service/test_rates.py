"""Frames per second of one client: counted, waited for, and nobody else's business."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from genie_client import Client
from genie_service.rates import _KEPT, FrameRates
from tests.factories.bundles import make_nano_bundle
from tests.support.service_messages import video
from tests.support.service_server import serving


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_what_goes_beyond_a_seconds_worth_is_waited_for() -> None:
    clock = Clock()
    rates = FrameRates(10, lambda: clock.now, clock.sleep)

    async def main() -> None:
        await rates.take("a", 10)
        assert clock.slept == []
        await rates.take("a", 5)
        assert clock.slept == [0.5]
        await rates.take("b", 10)  # of no concern to others
        assert clock.slept == [0.5]
        await rates.take("a", 40)  # larger than any second's worth: served, and paid for
        assert clock.slept[1:] == [4.0]
        clock.now += 60
        await rates.take("a", 10)
        await rates.take("a", 1)  # one second's worth is saved up, not sixty
        assert clock.slept[2:] == [pytest.approx(0.1)]

    asyncio.run(main())


def test_without_a_limit_nothing_is_kept_and_with_one_little_is() -> None:
    clock = Clock()
    free, bound = FrameRates(), FrameRates(10, lambda: clock.now, clock.sleep)

    async def main() -> None:
        await free.take("a", 10**9)
        for number in range(3 * _KEPT):
            clock.now += 1
            await bound.take(f"client {number}", 1)

    asyncio.run(main())
    assert clock.slept == []
    assert not free._accounts
    assert len(bound._accounts) <= _KEPT + 1


def test_a_client_is_slowed_to_its_rate_and_another_is_not(tmp_path: Path) -> None:
    make_nano_bundle(tmp_path / "models" / "nano")
    with (
        serving(tmp_path / "models", max_frames_per_second=100) as genie,
        Client(genie.server.address) as fast,
        Client(genie.server.address) as other,
    ):
        began = time.monotonic()
        fast.label(video(100), fps=10)  # a second's worth
        fast.label(video(60), fps=10)
        assert time.monotonic() - began >= 0.59
        assert len(other.label(video(3), fps=10).code) == 3
        assert len(list(other.rollout(video(1)[0], [1, 2]))) == 2
