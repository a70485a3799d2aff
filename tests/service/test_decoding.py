"""What others' frames keep a call waiting: as long as its own take, from each of them, over the threads."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from genie_api.v1 import frames_pb2
from genie_service.decoding import DecodingBacklog
from genie_service.errors import BusyError

MIB_S = 0.02
"""Assumed until something has been decoded."""


def frames(mib: int) -> frames_pb2.Frames:
    encoding = frames_pb2.FRAME_ENCODING_PNG
    return frames_pb2.Frames(encoding=encoding, count=4 * mib, height=256, width=341, channels=3)


def test_a_client_waits_for_others_as_long_as_they_have_work_and_its_own_takes() -> None:
    backlog = DecodingBacklog(threads=2, max_wait_s=10.0)
    with ExitStack() as stack:
        for client, mib in (("a", 100), ("b", 10), ("own", 20)):
            stack.enter_context(backlog.taken(client, frames(mib), refusable=True))
        waited_s = backlog.wait_s("own", 30 * MIB_S)
        assert waited_s == pytest.approx((50 + 10) * MIB_S / 2, rel=0.01)
        assert backlog.wait_s("a", 0.0) == pytest.approx((20 + 10) * MIB_S / 2, rel=0.01)
    assert backlog.wait_s("own", 100.0) == 0.0


def test_what_is_done_is_waited_for_no_more_and_says_how_long_the_rest_takes() -> None:
    backlog = DecodingBacklog(threads=1, max_wait_s=10.0)
    with backlog.taken("a", frames(16), refusable=True) as one_done:
        for _ in range(3):
            one_done(2.0)  # of four parts, each of 4 MiB
        assert backlog.wait_s("b", 100.0) == pytest.approx(4 * MIB_S, rel=0.01)
        with backlog.taken("b", frames(16), refusable=True):
            assert backlog.wait_s("a", 0.0) == pytest.approx(4 * MIB_S, rel=0.01)
            assert backlog.wait_s("c", 100.0) == pytest.approx(4 * MIB_S + 8.0, rel=0.05)


def test_too_long_a_wait_is_refused_with_a_hint_before_the_first_answer_alone() -> None:
    backlog = DecodingBacklog(threads=1, max_wait_s=1.0)
    with backlog.taken("a", frames(1000), refusable=True), backlog.taken("a", frames(1000), refusable=True):
        with (
            pytest.raises(BusyError, match="max_wait_seconds") as caught,
            backlog.taken("b", frames(100), refusable=True),
        ):
            pass
        assert caught.value.retry_after_s == pytest.approx(100 * MIB_S - 1.0, rel=0.05)
        with backlog.taken("b", frames(100), refusable=False):
            pass
        with backlog.taken("b", frames(10), refusable=True):
            pass


def test_a_deadline_that_others_frames_exceed_is_refused() -> None:
    backlog = DecodingBacklog(threads=1, max_wait_s=100.0)
    with backlog.taken("b", frames(100), refusable=True, remaining_s=0.1):
        pass  # alone, a client is never refused
    with (
        backlog.taken("a", frames(100), refusable=True),
        pytest.raises(BusyError, match=r"deadline is in 3\.0 s, and others' frames take 2\.0 s"),
        backlog.taken("b", frames(100), refusable=True, remaining_s=3.0),
    ):
        pass


def test_a_small_message_of_a_client_is_counted_on_when_its_larger_one_is_done() -> None:
    backlog = DecodingBacklog(threads=1, max_wait_s=100.0)
    with backlog.taken("a", frames(8), refusable=True) as small_done:
        with backlog.taken("a", frames(800), refusable=True):
            pass
        assert backlog.wait_s("b", 100.0) == pytest.approx(8 * MIB_S, rel=0.01)
        small_done(0.1)
    assert backlog.wait_s("b", 100.0) == 0.0
