"""Turning request bytes into messages inside the call, so that bytes which are no message are the caller's mistake.

Left to gRPC, they end in a traceback in the log and status UNKNOWN.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from genie_core.errors import RequestError
from genie_service.interceptors.wrapping import Context, Continuation, Handler, invoke, with_behaviour


class Decoding(aio.ServerInterceptor):
    """Raises RequestError where a request cannot be decoded."""

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the method's handler."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler
        decode = handler.request_deserializer

        async def call(request: Any, context: Context) -> Any:
            messages = _decoded(request, decode) if handler.request_streaming else _decode(request, decode)
            return await invoke(handler, messages, context)

        return with_behaviour(handler, call, decode=False)


async def _decoded(requests: AsyncIterator[bytes], decode: Callable[[bytes], Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _decode(request, decode)


def _decode(request: bytes, decode: Callable[[bytes], Any]) -> Any:
    try:
        return decode(request)
    except DecodeError as error:
        raise RequestError("request", f"its {len(request)} bytes are not a message of this method: {error}") from None


__all__ = ["Decoding"]
