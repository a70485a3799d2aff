"""Running code around calls of any kind, so that each interceptor is just one async context manager."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, TypeAlias

import grpc
from grpc import aio

Context = aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # generic in the stubs only
Continuation: TypeAlias = Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]]


class AroundCall(aio.ServerInterceptor):
    """An interceptor that runs `around` each call."""

    @abstractmethod
    def around(self, method: str, context: Context) -> AbstractAsyncContextManager[object]:
        """Enter when the call's handler starts; leave, with its exception if it raised one, when it is done."""

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the method's handler. Methods that do not exist have none."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method

        async def call(request: Any, context: Context) -> Any:
            async with self.around(method, context):
                return await invoke(handler, request, context)

        return with_behaviour(handler, call)


async def invoke(handler: Handler, request: Any, context: Context) -> Any:
    """Run a handler as a coroutine: return its response if it has a single one, else write them to `context`."""
    behaviour = behaviour_of(handler)
    if is_generator(behaviour):
        # Closed here, so that a cancelled call releases what it holds at once.
        async with aclosing(behaviour(request, context)) as responses:
            async for response in responses:
                await context.write(response)
        return None
    return await behaviour(request, context)


def with_behaviour(handler: Handler, call: Callable[[Any, Context], Awaitable[Any]]) -> Handler:
    """Return a handler like `handler` that calls `call`."""
    make: Callable[..., Handler] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    return make(call, handler.request_deserializer, handler.response_serializer)


def behaviour_of(handler: Handler) -> Callable[[Any, Context], Any]:
    """Return the function of a handler, which takes a request, or the stream of them, and the call's context."""
    found: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    return found  # type: ignore[no-any-return]


def is_generator(behaviour: Callable[[Any, Context], Any]) -> bool:
    """Return whether it yields its responses, rather than writing them itself or returning a single one."""
    return inspect.isasyncgenfunction(behaviour)


__all__ = [
    "AroundCall",
    "Context",
    "Continuation",
    "Handler",
    "behaviour_of",
    "invoke",
    "is_generator",
    "with_behaviour",
]
