"""The call being served: how long it may still wait, whatever happens to the machine's clock."""

from __future__ import annotations

import time

import pytest

from genie_service.calls import begin_call


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
