"""The call being served: what is known about it beside its messages, and what it holds."""

from __future__ import annotations

import secrets
import time
from contextvars import ContextVar
from dataclasses import dataclass, field

from genie_service.budget import CallMemory
from genie_service.patience import Silence
from genie_service.tokens import ANYBODY, Identity


@dataclass(eq=False)
class Call:
    """One call.

    Attributes:
        method: its full name.
        peer: the address it came from.
        id: names it in logs and error texts.
        started: time of `time.perf_counter`, seconds.
        frames: number of video frames that it brought or made.
        identity: whose it is, once `interceptors.authentication` has found out.
        silence: its waiting for its client.
        memory: what it holds, from when it is let in.

    """

    method: str
    peer: str
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    started: float = field(default_factory=time.perf_counter)
    frames: int = 0
    identity: Identity = ANYBODY
    silence: Silence = field(default_factory=Silence)
    memory: CallMemory = field(init=False)

    @property
    def client(self) -> str:
        """Whom its share of everything is counted for: whose token or certificate it shows, else its connection."""
        return f"known:{self.identity.name}" if self.identity.proven else self.peer

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
