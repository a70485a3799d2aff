"""Each interceptor by itself, around a small service of its own, through a real channel."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc import aio

from genie_api.v1 import models_pb2
from genie_core.errors import DatasetError, GenieError, ModelError, RequestError
from genie_service.budget import Budget
from genie_service.calls import current_call
from genie_service.errors import BusyError, DrainingError, IdleError, ModelLoadingError, UnknownModelError
from genie_service.interceptors.access_log import AccessLog
from genie_service.interceptors.admission import Admission
from genie_service.interceptors.error_status import PUSHBACK_KEY, ErrorStatus
from genie_service.interceptors.transfer import Transfer, TransferLimits
from genie_service.patience import Waiters
from genie_service.workers import Workers
from tests.support.service_messages import details
from tests.support.waiting import until

MIB = 1 << 20
Request = models_pb2.GetModelRequest
Handle = Callable[[Any], Awaitable[Any]]


@asynccontextmanager
async def _served(
    interceptors: Sequence[aio.ServerInterceptor], handle: Handle, service: str = "genie_api.Test", echoes: int = 1
) -> AsyncIterator[aio.Channel]:
    """A service whose methods `One` (unary) and `Many` (both ways) do `handle` with each request and echo it.

    `Many` does so `echoes` times.
    """

    async def one(request: Any, context: Any) -> Any:
        await handle(request)
        return request

    async def many(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            await handle(request)
            for _ in range(echoes):
                yield request

    coding = {"request_deserializer": Request.FromString, "response_serializer": Request.SerializeToString}
    handlers = {
        "One": grpc.unary_unary_rpc_method_handler(one, **coding),
        "Many": grpc.stream_stream_rpc_method_handler(many, **coding),
    }
    server = aio.server(interceptors=interceptors)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


def _admission(max_calls: int) -> Admission:
    return Admission(max_calls, 0.05, Waiters(60))


def _transfer(**changes: Any) -> Transfer:
    limits: dict[str, Any] = {
        "message_bytes": MIB,
        "counts": {},
        "large": frozenset({"/genie_api.Test/One"}),
        "message_seconds": 5,
        "write_seconds": 5,
        "max_wait_s": 5,
    }
    budget = changes.pop("budget", None) or Budget(4096 * MIB, MIB, 60)
    return Transfer(TransferLimits(**{**limits, **changes}), budget, Workers(2))


async def _one(channel: aio.Channel, request: bytes = b"", service: str = "genie_api.Test", **how: Any) -> Any:
    return await channel.unary_unary(f"/{service}/One")(request, **how)


async def _many(channel: aio.Channel, *requests: bytes) -> list[Any]:
    return [response async for response in channel.stream_stream("/genie_api.Test/Many")(iter(requests))]


def _raising(error: Exception) -> Handle:
    async def handle(request: Any) -> None:
        raise error

    return handle


async def _nothing(request: Any) -> None:
    return None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RequestError("frames.raw", "got 1"), grpc.StatusCode.INVALID_ARGUMENT),
        (DatasetError("bad"), grpc.StatusCode.INVALID_ARGUMENT),
        (UnknownModelError("no such"), grpc.StatusCode.NOT_FOUND),
        (ModelLoadingError("soon"), grpc.StatusCode.UNAVAILABLE),
        (ModelError("damaged"), grpc.StatusCode.FAILED_PRECONDITION),
        (BusyError("full", 2.5), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (IdleError("asleep"), grpc.StatusCode.DEADLINE_EXCEEDED),
        (DrainingError("going"), grpc.StatusCode.UNAVAILABLE),
        (GenieError("other"), grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
def test_each_error_has_its_status_in_calls_of_every_kind(error: GenieError, code: grpc.StatusCode) -> None:
    async def main() -> None:
        async with _served([AccessLog(), ErrorStatus()], _raising(error)) as channel:
            for call in (_one(channel), _many(channel, b"")):
                with pytest.raises(aio.AioRpcError) as caught:
                    await call
                assert caught.value.code() is code
                assert caught.value.details() == str(error)
                assert details(caught.value)["RequestInfo"].request_id

    asyncio.run(main())


def test_a_request_error_names_its_field_for_programs() -> None:
    async def main() -> None:
        async with _served([AccessLog(), ErrorStatus()], _raising(RequestError("frames.raw", "got 1"))) as channel:
            with pytest.raises(aio.AioRpcError) as caught:
                await _one(channel)
            violation = details(caught.value)["BadRequest"].field_violations[0]
            assert (violation.field, violation.description) == ("frames.raw", "frames.raw: got 1")

    asyncio.run(main())


def test_a_long_text_is_cut_so_that_it_arrives() -> None:
    async def main() -> None:
        error = RequestError("name", "got " + "é" * 100_000)
        async with _served([AccessLog(), ErrorStatus()], _raising(error)) as channel:
            with pytest.raises(aio.AioRpcError) as caught:
                await _one(channel)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert str(caught.value.details()).endswith("é ...")
            assert details(caught.value)["BadRequest"].field_violations[0].field == "name"

    asyncio.run(main())


def test_a_busy_server_says_when_to_come_again() -> None:
    async def main() -> None:
        async with _served([AccessLog(), ErrorStatus()], _raising(BusyError("full", 2.5))) as channel:
            with pytest.raises(aio.AioRpcError) as caught:
                await _one(channel)
            assert details(caught.value)["RetryInfo"].retry_delay.ToMilliseconds() == 2500
            assert (PUSHBACK_KEY, "2500") in list(caught.value.trailing_metadata())

    asyncio.run(main())


def test_the_unforeseen_is_logged_in_full_and_told_by_id_only(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> str:
        async with _served([AccessLog(), ErrorStatus()], _raising(KeyError("secret"))) as channel:
            with pytest.raises(aio.AioRpcError) as caught:
                await _one(channel)
            assert caught.value.code() is grpc.StatusCode.INTERNAL
            assert "secret" not in str(caught.value.details())
            assert "KeyError" not in str(caught.value.details())
            request_id: str = details(caught.value)["RequestInfo"].request_id
            assert request_id in str(caught.value.details())
            return request_id

    request_id = asyncio.run(main())
    # gRPC at our lower bound lets asyncio log a poll that found nothing.
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR and r.name != "asyncio"]
    assert request_id in record.getMessage()
    assert record.exc_info is not None


def _access(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "genie_service.access"]


def test_one_line_a_call_with_method_code_time_and_frames(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "genie_service.access")

    begun = []

    async def handle(request: Any) -> None:
        begun.append(request.name)
        current_call().frames += 3
        await asyncio.sleep(0.02 if request.name != "slow" else 30)  # longer than any client waits
        if request.name == "bad":
            raise RequestError("name", "bad")

    async def main() -> None:
        async with _served([AccessLog(), ErrorStatus()], handle) as channel:
            await _many(channel, b"", b"")
            with pytest.raises(aio.AioRpcError):
                await _one(channel, Request(name="bad").SerializeToString())
            with pytest.raises(aio.AioRpcError):
                # Long enough to reach a busy server: of a call that has not, nothing is written.
                await _one(channel, Request(name="slow").SerializeToString(), timeout=1.0)
            await until(lambda: len(_access(caplog)) == 3)  # the server notices by itself, a little later
            call = channel.unary_unary("/genie_api.Test/One")(Request(name="slow").SerializeToString())
            await until(lambda: len(begun) == 5)
            call.cancel()
            await until(lambda: len(_access(caplog)) == 4)

    asyncio.run(main())
    lines = _access(caplog)
    assert len(lines) == 4
    assert lines[0].startswith("/genie_api.Test/Many code=OK ms=")
    assert "frames=6 peer=ipv4:127.0.0.1" in lines[0]
    assert "code=INVALID_ARGUMENT" in lines[1]
    assert "code=DEADLINE_EXCEEDED" in lines[2]
    assert "code=CANCELLED" in lines[3]


def test_probes_are_logged_for_debugging_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "genie_service.access")

    async def main() -> None:
        async with _served([AccessLog()], _nothing, service="grpc.health.v1.Health") as channel:
            await _one(channel, service="grpc.health.v1.Health")

    asyncio.run(main())
    assert [r.levelno for r in caplog.records if r.name == "genie_service.access"] == [logging.DEBUG]


def test_calls_past_the_limit_are_refused_until_one_ends() -> None:
    async def main() -> None:
        release = asyncio.Event()

        async def handle(request: Any) -> None:
            await release.wait()

        admission = _admission(max_calls=4)
        async with _served([AccessLog(), ErrorStatus(), admission], handle) as channel:
            calls = [asyncio.create_task(_one(channel)) for _ in range(2)]
            await until(lambda: admission.under_way == 2)
            with pytest.raises(aio.AioRpcError, match="max_calls") as caught:
                await _one(channel)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "RetryInfo" in details(caught.value)
            release.set()
            await asyncio.gather(*calls)
            await admission.idle()
            await _one(channel)

    asyncio.run(main())


def test_a_closed_server_refuses_new_calls_and_finishes_those_under_way() -> None:
    async def main() -> None:
        release = asyncio.Event()

        async def handle(request: Any) -> None:
            await release.wait()

        admission = _admission(max_calls=2)
        async with _served([AccessLog(), ErrorStatus(), admission], handle) as channel:
            under_way = asyncio.create_task(_many(channel, b""))
            await until(lambda: admission.under_way == 1)
            admission.close()
            with pytest.raises(aio.AioRpcError) as caught:
                await _one(channel)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            release.set()
            assert await under_way == [b""]
            await admission.idle()

    asyncio.run(main())


def test_probes_always_get_in() -> None:
    async def main() -> None:
        admission = _admission(max_calls=1)
        admission.close()
        async with _served([AccessLog(), admission], _nothing, service="grpc.health.v1.Health") as channel:
            await _one(channel, service="grpc.health.v1.Health")

    asyncio.run(main())


def test_bytes_that_are_no_message_are_the_callers_mistake() -> None:
    async def main() -> None:
        async with _served([AccessLog(), ErrorStatus(), _transfer()], _nothing) as channel:
            for call in (_one(channel, b"\xff"), _many(channel, b"\xff")):
                with pytest.raises(aio.AioRpcError) as caught:
                    await call
                assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
                assert str(caught.value.details()).startswith("request: its 1 bytes")
            fine = Request(name="x").SerializeToString()
            assert await _one(channel, fine) == fine
            assert await _many(channel, fine, b"") == [fine, b""]

    asyncio.run(main())


def test_calls_whose_messages_never_come_are_counted() -> None:
    async def main() -> None:
        admission = _admission(max_calls=8)
        everything = [AccessLog(), ErrorStatus(), admission, _transfer(message_seconds=600)]
        async with _served(everything, _nothing) as channel:
            half_open = [channel.stream_stream("/genie_api.Test/One")() for _ in range(20)]
            await until(lambda: sum(call.done() for call in half_open) == 16)
            assert admission.under_way == 4  # one client leaves as many places as it takes
            refused = {await call.code() for call in half_open if call.done()}
            assert refused == {grpc.StatusCode.RESOURCE_EXHAUSTED}
            for call in half_open:
                call.cancel()
            await until(lambda: admission.under_way == 0)

    asyncio.run(main())


def test_a_call_whose_message_never_comes_is_ended() -> None:
    async def main() -> None:
        admission = _admission(max_calls=8)
        everything = [AccessLog(), ErrorStatus(), admission, _transfer(message_seconds=0.1)]
        async with _served(everything, _nothing) as channel:
            half_open = channel.stream_stream("/genie_api.Test/One")()
            assert await half_open.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert "message_seconds" in await half_open.details()
            await until(lambda: admission.under_way == 0)

    asyncio.run(main())


def test_a_call_is_refused_before_its_message_is_read() -> None:
    async def main() -> None:
        release = asyncio.Event()

        async def handle(request: Any) -> None:
            await release.wait()

        admission = _admission(max_calls=2)
        async with _served([AccessLog(), ErrorStatus(), admission, _transfer()], handle) as channel:
            first = asyncio.create_task(_one(channel))
            await until(lambda: admission.under_way == 1)
            call = channel.stream_stream("/genie_api.Test/One")()
            assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # nothing of it has been sent
            release.set()
            await first

    asyncio.run(main())


def test_a_call_without_a_message_is_the_callers_mistake() -> None:
    async def main() -> None:
        async with _served([AccessLog(), ErrorStatus(), _transfer()], _nothing) as channel:
            call = channel.stream_stream("/genie_api.Test/One")(iter(()))
            assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT

    asyncio.run(main())


def test_a_client_that_takes_no_answer_gives_its_place_back_and_is_told_why() -> None:
    async def main() -> None:
        admission, budget = _admission(max_calls=8), Budget(4096 * MIB, MIB, 60)
        everything = [AccessLog(), ErrorStatus(), admission, _transfer(write_seconds=0.3, budget=budget)]
        large = Request(name="x" * 200_000).SerializeToString()
        # One request: a client that still sends when its call is ended has an error of gRPC's own in its place.
        async with _served(everything, _nothing, echoes=50) as channel:
            call = channel.stream_stream("/genie_api.Test/Many")(iter([large]))
            await until(lambda: admission.under_way == 1)
            await until(lambda: admission.under_way == 0)
            assert budget.used == 0
            with pytest.raises(aio.AioRpcError, match=r"no answer was taken for 0\.3 s"):
                async for _ in call:
                    pass
            assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED

    asyncio.run(main())


def test_messages_are_counted_as_long_as_they_are_there() -> None:
    async def main() -> None:
        budget, seen = Budget(4096 * MIB, MIB, 60), []

        async def handle(request: Any) -> None:
            seen.append(budget.messages.used)

        async with _served([AccessLog(), ErrorStatus(), _transfer(budget=budget)], handle) as channel:
            data = Request(name="x" * 100_000).SerializeToString()
            await _one(channel, data)
            await _many(channel, data, data, data)
            assert min(seen) >= 2 * len(data)
            assert max(seen) < 5 * len(data)
            assert budget.used == 0

    asyncio.run(main())


def test_a_method_that_does_not_exist_stays_unimplemented() -> None:
    async def main() -> None:
        everything = [AccessLog(), ErrorStatus(), _admission(1), _transfer()]
        async with _served(everything, _nothing) as channel:
            with pytest.raises(aio.AioRpcError) as caught:
                await channel.unary_unary("/genie_api.Test/Two")(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

    asyncio.run(main())
