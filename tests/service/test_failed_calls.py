"""A call that failed keeps nothing: what it brought goes at once, not when the garbage collector next looks at all."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from grpc import aio

from genie_core.errors import RequestError
from genie_service.engine import Engine
from genie_service.fair_queue import Operation
from genie_service.interceptors.access_log import AccessLog
from genie_service.interceptors.admission import Admission
from genie_service.interceptors.decoding import Decoding
from genie_service.interceptors.error_status import ErrorStatus


class Message:
    """A request that can be watched."""

    alive = weakref.WeakSet["Message"]()

    def __init__(self, content: bytes) -> None:
        self.content = content
        Message.alive.add(self)


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def _work(message: Message, engine: Engine) -> None:
    if message.content == b"wrong":
        raise RequestError("content", "got wrong, expected right")
    if message.content == b"unforeseen":
        raise ZeroDivisionError
    if message.content == b"thread":
        await asyncio.to_thread(lambda: message.content.index(b"?"))
    await engine.job().run(Operation("divide", lambda payloads: [1 // 0 for _ in payloads]), message)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("content", [b"wrong", b"unforeseen", b"thread", b"device"])
@pytest.mark.parametrize("method", ["One", "Many"])
def test_nothing_of_a_failed_call_is_left(method: str, content: bytes) -> None:
    async def main() -> None:
        engine = Engine(queue_limit=8)

        async def one(message: Any, context: Any) -> bytes:
            await _work(message, engine)
            return b""

        async def many(messages: AsyncIterator[Any], context: Any) -> AsyncIterator[bytes]:
            async for message in messages:
                await _work(message, engine)
                yield b""

        handlers = {
            "One": grpc.unary_unary_rpc_method_handler(one, Message),
            "Many": grpc.stream_stream_rpc_method_handler(many, Message),
        }
        server = aio.server(interceptors=[AccessLog(), ErrorStatus(), Admission(8), Decoding()])
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("genie_api.Test", handlers)])
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            for _ in range(3):
                with pytest.raises(aio.AioRpcError):
                    if method == "One":
                        await channel.unary_unary("/genie_api.Test/One")(content)
                    else:
                        _ = [r async for r in channel.stream_stream("/genie_api.Test/Many")(iter([content]))]
            await channel.close()
        await server.stop(None)
        await asyncio.sleep(0.01)
        engine.close()

    asyncio.run(main())
    assert len(Message.alive) == 0
