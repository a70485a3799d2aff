"""The call being served: its metadata and what it holds."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from genie_service.budget import CallMemory
from genie_service.errors import BusyError
from genie_service.patience import Silence
from genie_service.tokens import ANYBODY, Identity

REQUEST_ID = "x-request-id"
"""Metadata with the id that a client gives its call, which is also returned."""

_LATE_RETRY_S = 1.0
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


@dataclass(eq=False)
class Call:
    """One call.

    Attributes:
        method: full name of the method.
        peer: address of the client.
        id: identifies the call in logs and errors; the client's, if it has given one.
        started: time of `time.perf_counter`, seconds.
        frames: number of video frames received or made.
        identity: the caller, once `interceptors.authentication` has identified it.
        silence: tracks how long the client keeps the call waiting.
        deadline: time of `time.monotonic` at which its caller gives up; None: never. What gRPC says later depends on
            the machine's clock, which may be set meanwhile.
        memory: memory that it holds, from admission on.
        ending: what is released when it ends.
        admitted: whether it has a place on the server.
        refusal: why it was refused, as the metrics have it; empty if it was not.

    """

    method: str
    peer: str
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    started: float = field(default_factory=time.perf_counter)
    frames: int = 0
    identity: Identity = ANYBODY
    silence: Silence = field(default_factory=Silence)
    deadline: float | None = None
    admitted: bool = False
    refusal: str = ""
    memory: CallMemory = field(init=False)
    ending: ExitStack = field(default_factory=ExitStack)
    _waited_s: float = 0.0

    @property
    def client(self) -> str:
        """Key for fair sharing: the token or certificate that it proves, else its connection."""
        return f"known:{self.identity.name}" if self.identity.proven else self.peer

    @property
    def remaining_s(self) -> float | None:
        """Seconds until its deadline, 0 if that has passed; None: it has none."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    @contextmanager
    def waiting(self, limit_s: float) -> Iterator[float]:
        """Count the block as time spent waiting for room; yields how long that may take.

        `limit_s` is for all waits of the call together; none goes on past its deadline.
        """
        began, left_s = time.monotonic(), max(0.0, limit_s - self._waited_s)
        try:
            yield left_s if self.remaining_s is None else min(left_s, self.remaining_s)
        finally:
            self._waited_s += time.monotonic() - began

    @asynccontextmanager
    async def in_time(self, answer_s: Callable[[float], float]) -> AsyncIterator[None]:
        """Raise BusyError, with a hint, if the block lasts until it is too late for an answer to be there in time.

        Whatever a call waits for, its client is told so before its deadline rather than nothing at it. `answer_s` says
        how long before a deadline so many seconds away an answer must be there.
        """
        left_s = self.remaining_s
        timer = asyncio.timeout(None if left_s is None else left_s - answer_s(left_s))
        try:
            async with timer:
                yield
        except TimeoutError:
            if not timer.expired():
                raise
            text = f"there is no answer after {self.elapsed_ms / 1000:.1f} s, and now it would miss the call's deadline"
            raise BusyError(text, _LATE_RETRY_S, cause="deadline") from None

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the call started."""
        return (time.perf_counter() - self.started) * 1000


_current: ContextVar[Call] = ContextVar("genie_call")


def begin_call(method: str, peer: str, remaining_s: float | None = None, request_id: str = "") -> Call:
    """Make a new call the current one, in this task and the tasks that it starts.

    Args:
        method: full name of the method.
        peer: address of the client.
        remaining_s: seconds until its deadline; None: it has none.
        request_id: what the client calls it; one that is not printable or too long is replaced by a new one.

    """
    call = Call(method, peer, deadline=None if remaining_s is None else time.monotonic() + remaining_s)
    if _ID.fullmatch(request_id):
        call.id = request_id
    _current.set(call)
    return call


def current_call() -> Call:
    """Return the call being served. Raises LookupError outside of one."""
    return _current.get()


__all__ = ["REQUEST_ID", "Call", "begin_call", "current_call"]
