"""The server as a whole: health, reflection, its address, and what happens while it drains."""

from __future__ import annotations

import asyncio
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from genie_api.v1 import labelling_pb2, models_pb2
from genie_core.errors import GenieError, ModelError
from genie_service.server import LABELLING, MODELS, SIMULATION, GenieServer
from genie_service.settings import load_settings
from tests.support.service_messages import episode, raw, video
from tests.support.service_server import Running
from tests.support.waiting import WITHIN_S, wait_until

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def _health(genie: Running, service: str = "") -> Any:
    stub = health_pb2_grpc.HealthStub(genie.channel)
    return stub.Check(health_pb2.HealthCheckRequest(service=service)).status


def test_a_warm_server_serves_every_service(genie: Running) -> None:
    assert [_health(genie, service) for service in ("", LABELLING, SIMULATION, MODELS)] == [SERVING] * 4
    with pytest.raises(grpc.RpcError) as caught:
        _health(genie, "genie_api.v1.Absent")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_health_follows_the_default_model(start: Callable[..., Running]) -> None:
    genie = start(preload="none")
    assert [_health(genie, service) for service in ("", LABELLING, SIMULATION, MODELS)] == [NOT_SERVING] * 3 + [SERVING]
    watched: queue.SimpleQueue[Any] = queue.SimpleQueue()
    watch = health_pb2_grpc.HealthStub(genie.channel).Watch(health_pb2.HealthCheckRequest(service=LABELLING))

    def listen() -> None:
        try:
            for response in watch:
                watched.put(response.status)
        except grpc.RpcError:
            pass

    thread = threading.Thread(target=listen)
    thread.start()
    assert watched.get(timeout=WITHIN_S) == NOT_SERVING
    genie.models.LoadModel(models_pb2.LoadModelRequest(name="models/alpha"))
    assert watched.get(timeout=WITHIN_S) == SERVING
    genie.models.LoadModel(models_pb2.LoadModelRequest(name="models/beta"))
    genie.run(genie.server.registry.unload("alpha"))
    assert watched.get(timeout=WITHIN_S) == NOT_SERVING
    watch.cancel()
    thread.join(WITHIN_S)


def test_a_client_that_knows_no_contract_can_use_the_server(genie: Running) -> None:
    database = ProtoReflectionDescriptorDatabase(genie.channel)
    services = set(database.get_services())
    assert {LABELLING, SIMULATION, MODELS, "grpc.health.v1.Health"} <= services
    pool = DescriptorPool(database)
    method = pool.FindServiceByName(MODELS).methods_by_name["GetModel"]
    call = genie.channel.unary_unary(
        f"/{MODELS}/GetModel",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    response = call(GetMessageClass(method.input_type)(name="models/alpha"))
    assert response.model.num_codes == 8


def test_a_draining_server_finishes_what_is_under_way_and_says_that_it_takes_no_more(
    start: Callable[..., Running],
) -> None:
    genie = start()
    more: queue.SimpleQueue[labelling_pb2.LabelEpisodeRequest | None] = queue.SimpleQueue()
    for request in episode(video(40)):
        more.put(request)
    call = genie.labelling.LabelEpisode(iter(more.get, None))
    assert next(call).WhichOneof("part") == "header"
    draining = asyncio.run_coroutine_threadsafe(genie.server.drain(WITHIN_S), genie.loop)
    wait_until(lambda: _health(genie) == NOT_SERVING)
    assert _health(genie, MODELS) == NOT_SERVING
    with pytest.raises(grpc.RpcError) as caught:
        genie.models.GetModel(models_pb2.GetModelRequest())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "shutting down" in caught.value.details()
    more.put(labelling_pb2.LabelEpisodeRequest(frames=raw(video(9))))
    more.put(None)
    parts = list(call)
    assert parts[-1].summary.frames == 49
    assert draining.result(WITHIN_S) == 0


def test_a_drain_has_an_end(start: Callable[..., Running], caplog: pytest.LogCaptureFixture) -> None:
    genie = start()
    released = threading.Event()

    def requests() -> Any:
        yield from episode(video(4))
        released.wait(WITHIN_S)

    call = genie.labelling.LabelEpisode(requests())
    next(call)
    began = time.monotonic()
    assert genie.run(genie.server.drain(0.2)) == 1
    assert time.monotonic() - began < WITHIN_S / 2
    with pytest.raises(grpc.RpcError) as caught:
        list(call)
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    released.set()
    assert "1 calls under way did not finish" in caplog.text


def test_health_watchers_do_not_hold_up_a_drain(start: Callable[..., Running]) -> None:
    genie = start()
    watch = health_pb2_grpc.HealthStub(genie.channel).Watch(health_pb2.HealthCheckRequest())
    assert next(watch).status == SERVING
    began = time.monotonic()
    genie.run(genie.server.drain(WITHIN_S))
    assert time.monotonic() - began < WITHIN_S / 2
    assert next(watch).status == NOT_SERVING


def _start_and_stop(models: Path, **flags: Any) -> str:
    async def main() -> str:
        server = await GenieServer.start(load_settings({"models": models, "default_model": "alpha", **flags}))
        await server.drain(0)
        return server.address

    return asyncio.run(main())


def test_a_port_in_use_is_refused(models: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(GenieError, match=f"cannot listen on 127.0.0.1:{port}"):
            _start_and_stop(models, port=port)


def test_only_loopback_is_listened_on_without_a_warning(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "genie_service")
    assert _start_and_stop(models, port=0).startswith("127.0.0.1:")
    assert not [record for record in caplog.records if record.name == "genie_service.server"]
    assert _start_and_stop(models, port=0, host="0.0.0.0", insecure=True).startswith("0.0.0.0:")
    assert "without TLS" in caplog.text
    assert "without tokens" in caplog.text


def test_a_default_model_that_cannot_be_loaded_stops_the_start(models: Path) -> None:
    async def main() -> None:
        flags = {"models": models, "default_model": "broken", "port": 0}
        server = await GenieServer.start(load_settings(flags))
        try:
            await server.preload()
        finally:
            await server.drain(0)

    with pytest.raises(ModelError, match=r"config\.json"):
        asyncio.run(main())
