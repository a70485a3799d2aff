"""Waiting for what another thread or process does: a server is seldom done when its client has the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

WITHIN_S = 60.0
"""Long enough for a busy machine; only a test that fails waits so long."""


def wait_until(condition: Callable[[], object], what: str = "", within_s: float = WITHIN_S) -> None:
    """Return once the condition holds; fail, naming `what` was waited for, if it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what or 'the condition'}"
        time.sleep(0.005)


async def until(condition: Callable[[], object], what: str = "", within_s: float = WITHIN_S) -> None:
    """Wait as `wait_until` does, on an event loop."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what or 'the condition'}"
        await asyncio.sleep(0.001)


__all__ = ["WITHIN_S", "until", "wait_until"]
