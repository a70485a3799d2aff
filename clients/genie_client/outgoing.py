"""What goes with every call of a client: the token, an id that names it in the server's log, and its trace."""

from __future__ import annotations

import asyncio
import functools
import secrets
from collections.abc import Callable
from typing import Any

import grpc
from grpc import aio

from genie_core.tracing import CallSpan, begin_call

REQUEST_ID = "x-request-id"
"""Metadata that names a call: sent by the client, returned by the server, and in the logs and errors of both."""


class OutgoingChannel:
    """A channel, blocking or asyncio, whose calls carry these. A call that is under way has its `request_id`."""

    def __init__(self, channel: Any, token: str) -> None:
        self._channel = channel
        self._credentials = (("authorization", f"Bearer {token}"),) if token else ()
        self.close = channel.close

    def __getattr__(self, kind: str) -> Any:
        """Return ``unary_unary`` and its siblings for the stubs."""
        return functools.partial(self._method, kind)

    def _method(self, kind: str, path: str, *arguments: Any, **more: Any) -> _Method:
        return _Method(self._call, getattr(self._channel, kind)(path, *arguments, **more), path)

    def _call(self, method: Any, path: str, *requests: Any, **more: Any) -> Any:
        request_id = secrets.token_hex(8)
        span = begin_call(path, {"genie.request_id": request_id})
        metadata = ((REQUEST_ID, request_id), *self._credentials, *(span.headers if span is not None else ()))
        try:
            call = method(*requests, metadata=metadata, **more)
        except grpc.RpcError as error:  # a blocking call of one answer raises itself
            error.request_id = request_id  # type: ignore[attr-defined]
            _end(span, error.code())
            raise
        if isinstance(call, aio.Call | grpc.Call):
            call.request_id = request_id  # type: ignore[union-attr]
            _end_later(span, call)
        else:
            _end(span, grpc.StatusCode.OK)
        return call


class _Method:
    """A method of a service: called, it is asked; `future` (blocking channels only) asks and does not wait."""

    def __init__(self, call: Callable[..., Any], method: Any, path: str) -> None:
        self._call, self._method, self._path = call, method, path

    def __call__(self, *requests: Any, **more: Any) -> Any:
        return self._call(self._method, self._path, *requests, **more)

    def future(self, request: Any, **more: Any) -> Any:
        """Return the call of one answer as soon as its request is on its way."""
        return self._call(self._method.future, self._path, request, **more)


def request_id_of(error: grpc.RpcError, call: object = None) -> str:
    """Return the id of a call that failed with `error`, as the server returned it or as it was sent; "" if unknown."""
    pairs: Any = error.trailing_metadata() or ()  # whose type differs between grpc and grpc.aio
    for key, value in pairs:
        if key == REQUEST_ID:
            return str(value)
    return str(getattr(error, "request_id", "") or getattr(call, "request_id", ""))


def _end(span: CallSpan | None, code: grpc.StatusCode | None) -> None:
    if span is not None:
        span.end(code.name if code is not None else "UNKNOWN")


def _end_later(span: CallSpan | None, call: Any) -> None:
    """End the span when the call ends."""
    if span is None:
        return
    if isinstance(call, aio.Call):
        call.add_done_callback(lambda _: _end_soon(span, call))
    elif not call.add_callback(lambda: span.end(call.code().name)):  # it has ended already
        span.end(call.code().name)


def _end_soon(span: CallSpan, call: aio.Call) -> None:
    async def end() -> None:
        _end(span, await call.code())

    task = asyncio.ensure_future(end())
    _ending.add(task)
    task.add_done_callback(_ending.discard)


_ending: set[asyncio.Future[None]] = set()
"""Keeps the event loop's tasks from being collected before they are done."""


__all__ = ["REQUEST_ID", "OutgoingChannel", "request_id_of"]
