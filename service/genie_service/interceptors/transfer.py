"""Reading a call's messages and writing its answers: bounded in memory and in time, whatever the client does.

To gRPC every method is a stream of bytes both ways, so that a call begins with its headers: it is let in, or refused,
before any message is read, and one whose message never comes is ended like any other that keeps the server waiting.
Bytes that are no message are the caller's mistake; left to gRPC they would be a traceback and status UNKNOWN.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError
from grpc import aio

from genie_core.errors import RequestError
from genie_service.budget import Budget, CallMemory
from genie_service.calls import REQUEST_ID, Call, current_call
from genie_service.interceptors.wrapping import Context, Continuation, Handler, behaviour_of, is_generator
from genie_service.wire import check_counts
from genie_service.workers import Workers

T = TypeVar("T")

_SMALL = 1 << 20
"""Bytes of a message that is unpacked at once; larger ones are off the event loop, apart from images."""

_COPIES = 2
"""A message is there as it came and unpacked, then unpacked and as frames."""


@dataclass(frozen=True)
class TransferLimits:
    """Bounds of what a client sends and takes.

    Attributes:
        message_bytes: the largest message.
        counts: the most elements of repeated fields, by full name; see `wire.check_counts`.
        large: methods whose one request may be large; room for it is waited for before it is read.
        message_seconds: within which a call's only request must have come.
        write_seconds: within which an answer must be taken.
        max_wait_s: for which a call waits for room to be read.

    """

    message_bytes: int
    counts: Mapping[str, int]
    large: frozenset[str]
    message_seconds: float
    write_seconds: float
    max_wait_s: float


class Transfer(aio.ServerInterceptor):
    """Innermost: turns bytes into messages for the servicer's methods, and their answers into bytes."""

    def __init__(
        self,
        limits: TransferLimits,
        budget: Budget,
        unpackers: Workers,
        answer_s: Callable[[float], float] = lambda _: 0.0,
    ) -> None:
        """`answer_s` says how long before a deadline, so many seconds away, a large call's answer must be there."""
        self._limits, self._budget, self._unpackers, self._answer_s = limits, budget, unpackers, answer_s

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the method's handler."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_deserializer is None:
            return handler
        method, decode = handler_call_details.method, handler.request_deserializer

        async def call(_: AsyncIterator[bytes], context: Context) -> None:
            current = current_call()
            memory = current.memory = CallMemory(self._budget, current.client)
            try:
                with self._budget.holders.watching(current.silence, current.client, lambda: memory.holds):
                    await self._serve(handler, decode, method, context)
            finally:
                memory.close()
                current.ending.close()

        return grpc.stream_stream_rpc_method_handler(call, None, handler.response_serializer)

    async def _serve(
        self,
        handler: Handler,
        decode: Callable[[bytes], Any],
        method: str,
        context: Context,
    ) -> None:
        """Run the method. Only after headers can a client that takes nothing be told why it is ended."""
        call, behaviour = current_call(), behaviour_of(handler)
        headers = _Headers(context)
        async with aclosing(self._messages(context, decode, call)) as messages:
            if is_generator(behaviour):
                request = messages if handler.request_streaming else await self._only(messages, method, call)
                # Closed here, so that a cancelled call gives back what it holds at once.
                async with aclosing(behaviour(request, context)) as responses:
                    async for response in responses:
                        await headers.send()
                        await self._write(response, context, call)
            else:
                async with call.in_time(self._answer_s) if method in self._limits.large else nullcontext():
                    request = messages if handler.request_streaming else await self._only(messages, method, call)
                    response = await behaviour(request, context)
                await headers.send()
                await self._write(response, context, call)

    async def _only(self, messages: AsyncGenerator[Any], method: str, call: Call) -> Any:
        """Return the one message of a call that has no more."""
        room = None
        if method in self._limits.large:
            with call.waiting(self._limits.max_wait_s) as may_s:
                room = await call.memory.room_to_read(self._limits.message_bytes, may_s)
        coming = asyncio.ensure_future(anext(messages, None))
        try:
            message = await call.silence.wait(coming, self._limits.message_seconds, "message_seconds")
        finally:
            await _cancelled(coming)
            del coming  # it may hold what was raised, which holds this frame: the message would outlive the call
            if room is not None:
                room.release()
        if message is None:
            raise RequestError("request", "the call ended without one")
        return message

    async def _messages(self, context: Context, decode: Callable[[bytes], Any], call: Call) -> AsyncGenerator[Any]:
        """Yield each message; it counts as held until the next is asked for, or the call ends.

        Read from the context: gRPC (1.80) never lets go of the last message of a call whose iterator of requests is not
        read to its end, which is every call that is refused, or has one message only.
        """
        while True:
            await call.memory.may_read()
            with call.silence.asking():
                data = await context.read()
            if data is aio.EOF:
                return
            with call.memory.message(_COPIES * len(data)):
                unpack = _Unpack(data, decode, self._limits.counts)
                size, data = len(data), b""
                message = unpack() if size <= _SMALL else await self._unpackers.run(call.client, unpack)
                del unpack
                yield message
                del message

    async def _write(self, response: Any, context: Context, call: Call) -> None:
        with call.memory.message(response.ByteSize()), call.silence.asking():
            writing = asyncio.ensure_future(_writing(context, response))
            try:
                await call.silence.wait(writing, self._limits.write_seconds, "write_seconds", "no answer was taken")
            finally:
                await _cancelled(writing)
                del writing  # as in `_only`


class _Headers:
    """A call's initial metadata, which goes out before its first answer rather than with it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sent = False

    async def send(self) -> None:
        """Send it, once."""
        if not self._sent:
            self._sent = True
            await self._context.send_initial_metadata(((REQUEST_ID, current_call().id),))


class _Unpack:
    """Makes a message of bytes, in any thread."""

    def __init__(self, data: bytes, decode: Callable[[bytes], Any], counts: Mapping[str, int]) -> None:
        self._data, self._decode, self._counts = data, decode, counts

    def __call__(self) -> Any:
        """Return the message. Raises RequestError."""
        descriptor: Descriptor = self._decode.__self__.DESCRIPTOR  # type: ignore[attr-defined]
        check_counts(self._data, descriptor, self._counts)
        try:
            return self._decode(self._data)
        except DecodeError as error:
            text = f"its {len(self._data)} bytes are not a message of this method: {error}"
            raise RequestError("request", text) from None


def _writing(context: Context, response: Any) -> Coroutine[Any, Any, None]:
    return context.write(response)


async def _cancelled(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


__all__ = ["Transfer", "TransferLimits"]
