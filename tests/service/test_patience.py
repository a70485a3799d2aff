"""A client's silence: when it counts, how it ends a call, and who goes first when others want for room."""

from __future__ import annotations

import asyncio

import pytest

from genie_service.errors import BusyError, IdleError
from genie_service.patience import Silence, Waiters


def test_only_what_is_both_asked_and_waited_for_is_silence() -> None:
    async def main() -> None:
        silence = Silence()
        work = asyncio.ensure_future(asyncio.sleep(0.1, "worked"))
        assert await silence.wait(work, 0.02, "idle_seconds") == "worked"  # the server's own time
        with silence.asking():
            assert silence.seconds == 0  # ahead of the work
            never = asyncio.get_running_loop().create_future()
            with pytest.raises(IdleError, match=r"nothing came for 0\.05 s, the server's limit \(idle_seconds\)"):
                await silence.wait(never, 0.05, "idle_seconds")
        assert silence.seconds == 0

    asyncio.run(main())


def test_what_comes_in_time_is_given_and_what_is_raised_too() -> None:
    async def main() -> None:
        silence = Silence()

        async def fail() -> None:
            raise ValueError("bad message")

        with silence.asking():
            assert await silence.wait(asyncio.ensure_future(asyncio.sleep(0.01, 7)), 5, "idle_seconds") == 7
            with pytest.raises(ValueError, match="bad message"):
                await silence.wait(asyncio.ensure_future(fail()), 5, "idle_seconds")

    asyncio.run(main())


def test_the_longest_silence_gives_way_if_it_is_long_enough_and_holds_what_is_wanted() -> None:
    async def main() -> list[str]:
        patient, waiters, ended = Waiters(patience_s=60), Waiters(patience_s=0.05), []

        async def call(name: str) -> None:
            silence = Silence()
            with patient.watching(silence, name), waiters.watching(silence, name), silence.asking():
                with pytest.raises(BusyError, match="others wait for room"):
                    await silence.wait(asyncio.get_running_loop().create_future(), 60, "idle_seconds")
                ended.append(name)

        calls = [asyncio.create_task(call("first"))]
        await asyncio.sleep(0.02)
        calls.append(asyncio.create_task(call("second")))
        patient.make_room("new")
        await asyncio.sleep(0.01)
        assert ended == []  # nobody has been silent for long enough
        await asyncio.sleep(0.1)
        waiters.make_room("new")
        await asyncio.sleep(0.01)
        found = list(ended)
        waiters.make_room("second")  # not for itself
        await asyncio.sleep(0.01)
        assert ended == found
        waiters.make_room("new")
        await asyncio.gather(*calls)
        return [*found, *ended]

    assert asyncio.run(main()) == ["first", "first", "second"]
