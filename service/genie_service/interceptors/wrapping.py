"""Running code around a call of any kind, so that each interceptor is one async context manager and no more."""

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
        """Entered when the call's handler starts; left, with its exception if it has one, when the handler is done."""

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the method's handler. A method that does not exist has none and stays so."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method

        async def call(request: Any, context: Context) -> Any:
            async with self.around(method, context):
                return await invoke(handler, request, context)

        return with_behaviour(handler, call)


async def invoke(handler: Handler, request: Any, context: Context) -> Any:
    """Run a handler as a coroutine: returns its response if that is a single one, else writes them to `context`."""
    behaviour = behaviour_of(handler)
    if is_generator(behaviour):
        # Closed here, so that a cancelled call gives back what it holds at once.
        async with aclosing(behaviour(request, context)) as responses:
            async for response in responses:
                await context.write(response)
        return None
    return await behaviour(request, context)


def with_behaviour(handler: Handler, call: Callable[[Any, Context], Awaitable[Any]]) -> Handler:
    """A handler like `handler` that does `call`."""
    make: Callable[..., Handler] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]
    return make(call, handler.request_deserializer, handler.response_serializer)


def behaviour_of(handler: Handler) -> Callable[[Any, Context], Any]:
    """What a handler does with a request, or the stream of them, and the call's context."""
    found: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    return found  # type: ignore[no-any-return]


def is_generator(behaviour: Callable[[Any, Context], Any]) -> bool:
    """Whether it gives its answers one by one, rather than writing them itself or returning the only one."""
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
