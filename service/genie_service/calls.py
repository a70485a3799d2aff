"""The call being served: what is known about it beside its messages, for the log and for error texts."""

from __future__ import annotations

import secrets
import time
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass
class Call:
    """One call. `frames` counts the video frames that it brought or made; `id` names it in logs and error texts."""

    method: str
    peer: str
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    started: float = field(default_factory=time.perf_counter)
    frames: int = 0

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the call began."""
        return (time.perf_counter() - self.started) * 1000


_current: ContextVar[Call] = ContextVar("genie_call")


def begin_call(method: str, peer: str) -> Call:
    """Make a new call the current one, in this task and those that it starts."""
    call = Call(method, peer)
    _current.set(call)
    return call


def current_call() -> Call:
    """The call being served; raises LookupError outside of one."""
    return _current.get()


__all__ = ["Call", "begin_call", "current_call"]
