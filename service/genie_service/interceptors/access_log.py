"""Access log: one line per call with method, status code, milliseconds, frames and caller; and its counts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from genie_service.calls import REQUEST_ID, begin_call
from genie_service.counting import CallCounts
from genie_service.interceptors.wrapping import AroundCall, Context

_log = logging.getLogger("genie_service.access")

_OURS = "/genie_api."

_TRAVELLED_S, _ROUNDED = 0.05, 0.01
"""How far before a deadline, as the server knows it, a client may end its call at it: seconds, and share of it all."""


class AccessLog(AroundCall):
    """Makes each call the current one (`calls.current_call`) and logs it; health checks only at DEBUG."""

    def __init__(self, counts: CallCounts | None = None) -> None:
        """`counts` counts every call as it begins and ends; None: calls are not counted."""
        self._counts = counts

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """Log the call when it is done, however it ends."""
        call = begin_call(method, context.peer(), context.time_remaining(), _request_id(context))
        context.set_trailing_metadata(((REQUEST_ID, call.id),))
        if self._counts is not None:
            self._counts.began(method)
        code = grpc.StatusCode.OK
        try:
            yield
            code = _code_of(context) or code
        except asyncio.CancelledError:
            timed_out = _is_over(call.remaining_s, call.elapsed_ms / 1000)
            code = grpc.StatusCode.DEADLINE_EXCEEDED if timed_out else grpc.StatusCode.CANCELLED
            raise
        except Exception:
            code = _code_of(context) or grpc.StatusCode.UNKNOWN  # gRPC's own default
            raise
        finally:
            if self._counts is not None:
                self._counts.ended(method, code.name, call.elapsed_ms / 1000, call.frames, call.refusal)
            level = logging.INFO if method.startswith(_OURS) else logging.DEBUG
            text = "%s code=%s ms=%.1f frames=%d peer=%s id=%s%s"
            by = f" by={call.identity.name!r}" if call.identity.proven else ""
            facts = {"method": method, "code": code.name, "ms": round(call.elapsed_ms, 1), "frames": call.frames}
            who = {"peer": call.peer, "by": call.identity.name if call.identity.proven else ""}
            values = (method, code.name, call.elapsed_ms, call.frames, call.peer, call.id, by)
            _log.log(level, text, *values, extra={**facts, **who})


def _is_over(remaining_s: float | None, elapsed_s: float) -> bool:
    """Return whether a call that its client ended had come to its deadline.

    A client's clock ends it first: what it tells the server is rounded up, by a hundredth at most, and has travelled.
    """
    return remaining_s is not None and remaining_s <= _TRAVELLED_S + _ROUNDED * (elapsed_s + remaining_s)


def _request_id(context: Context) -> str:
    return next((str(value) for key, value in context.invocation_metadata() or () if key == REQUEST_ID), "")


def _code_of(context: Context) -> grpc.StatusCode | None:
    """Return the status that the call was ended with; None if none was set."""
    code: grpc.StatusCode | None = context.code()
    return code or None  # gRPC returns the number 0 before it is set


__all__ = ["AccessLog"]
