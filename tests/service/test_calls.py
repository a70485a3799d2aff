"""The call being served: how long it may still wait, whatever happens to the machine's clock."""

from __future__ import annotations

import asyncio
import time

import pytest

from genie_service.calls import begin_call
from genie_service.errors import BusyError


@pytest.mark.parametrize("set_by_s", [-3600.0, 3600.0])
def test_a_clock_that_is_set_changes_no_deadline(monkeypatch: pytest.MonkeyPatch, set_by_s: float) -> None:
    call = begin_call("m", "p", remaining_s=20.0)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + set_by_s)
    assert call.remaining_s is not None
    assert 0 < call.remaining_s <= 20.0


def test_all_waits_of_a_call_together_have_one_limit_and_none_outlasts_its_deadline() -> None:
    call = begin_call("m", "p")
    with call.waiting(0.05) as may_s:
        assert may_s == pytest.approx(0.05)
        time.sleep(0.03)
    with call.waiting(0.05) as may_s:
        assert 0 <= may_s <= 0.021
        time.sleep(0.03)
    with call.waiting(0.05) as may_s:
        assert may_s == 0
    with begin_call("m", "p", remaining_s=0.01).waiting(10) as may_s:
        assert may_s <= 0.01


def test_a_call_that_waits_until_it_is_too_late_for_an_answer_is_told_so_before_its_deadline() -> None:
    async def main() -> float:
        call = begin_call("m", "p", remaining_s=60.2)
        with pytest.raises(BusyError, match="now it would miss the call's deadline") as caught:
            async with call.in_time(lambda _: 60.0):
                await asyncio.Event().wait()
        assert caught.value.cause == "deadline"
        return call.remaining_s or 0.0

    assert asyncio.run(main()) > 0


def test_a_call_without_a_deadline_and_one_that_is_done_are_left_alone() -> None:
    async def main() -> None:
        for remaining_s in (None, 20.0):
            async with begin_call("m", "p", remaining_s=remaining_s).in_time(lambda _: 0.05):
                await asyncio.sleep(0.02)

    asyncio.run(main())
