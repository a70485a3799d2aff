"""The call being served: its metadata and what it holds."""

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
        method: full name of the method.
        peer: address of the client.
        id: identifies the call in logs and errors.
        started: time of `time.perf_counter`, seconds.
        frames: number of video frames received or made.
        identity: the caller, once `interceptors.authentication` has identified it.
        silence: tracks how long the client keeps the call waiting.
        memory: memory that it holds, from admission on.

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
        """Key for fair sharing: the token or certificate that it proves, else its connection."""
        return f"known:{self.identity.name}" if self.identity.proven else self.peer

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the call started."""
        return (time.perf_counter() - self.started) * 1000


_current: ContextVar[Call] = ContextVar("genie_call")


def begin_call(method: str, peer: str) -> Call:
    """Make a new call the current one, in this task and the tasks that it starts."""
    call = Call(method, peer)
    _current.set(call)
    return call


def current_call() -> Call:
    """Return the call being served. Raises LookupError outside of one."""
    return _current.get()


__all__ = ["Call", "begin_call", "current_call"]
