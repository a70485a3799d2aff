"""Request ids: the client sends one, the server logs and returns it, and an error of the server names it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from genie_api.v1 import models_pb2
from genie_client import AsyncClient, Client, ServerError
from genie_service.logs import log_to_file
from tests.support.service_messages import details, episode, video
from tests.support.service_server import Running, serving

FRAMES = np.zeros((4, 32, 32, 3), np.uint8)
ID = "x-request-id"


@pytest.fixture(scope="module")
def running(models_folder: Path) -> Iterator[Running]:
    with serving(models_folder, max_play_streams=1) as running:
        yield running


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """The server's log as lines of JSON."""
    handler = log_to_file(tmp_path / "log", "genie_service", "json")
    yield tmp_path / "log"
    logging.getLogger("genie_service").removeHandler(handler)
    handler.close()


def lines(log: Path) -> list[dict[str, object]]:
    for handler in logging.getLogger("genie_service").handlers:
        handler.close()
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_the_servers_log_and_both_metadata_have_the_clients_id(running: Running, log: Path) -> None:
    call = running.labelling.LabelEpisode(episode(video(4)), metadata=((ID, "mine-1"),))
    list(call)
    assert dict(call.initial_metadata())[ID] == dict(call.trailing_metadata())[ID] == "mine-1"
    (line,) = [line for line in lines(log) if line.get("method", "").endswith("LabelEpisode")]  # type: ignore[attr-defined]
    assert (line["request_id"], line["code"], line["frames"], line["level"]) == ("mine-1", "OK", 4, "INFO")
    assert "LabelEpisode code=OK" in str(line["message"])


@pytest.mark.parametrize("sent", ["two words", "x" * 65, 'a"b', ""])
def test_an_id_that_could_spoil_a_log_is_replaced(running: Running, sent: str) -> None:
    _, call = running.models.GetStatistics.with_call(models_pb2.GetStatisticsRequest(), metadata=((ID, sent),))
    returned = dict(call.trailing_metadata())[ID]
    assert returned != sent
    assert len(returned) == 12


def test_an_error_has_the_id_in_its_details(running: Running) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(running.labelling.LabelEpisode(episode(video(1)), metadata=((ID, "mine-2"),)))
    assert details(caught.value)["RequestInfo"].request_id == "mine-2"
    assert (ID, "mine-2") in list(caught.value.trailing_metadata())


def test_a_refusal_names_the_request_that_the_log_names(running: Running, log: Path) -> None:
    with Client(running.server.address, patience_s=0) as client, client.play(FRAMES[0]) as session:
        session.step(1)
        with client.play(FRAMES[0]) as refused, pytest.raises(ServerError) as caught:
            refused.step(1)
    assert caught.value.__notes__ == [f"request {caught.value.request_id}"]
    (line,) = [line for line in lines(log) if line.get("code") == "RESOURCE_EXHAUSTED"]
    assert line["request_id"] == caught.value.request_id


async def _two_sessions(address: str) -> ServerError:
    async with AsyncClient(address, patience_s=0) as client, await client.play(FRAMES[0]) as session:
        await session.step(1)
        with pytest.raises(ServerError) as caught:
            async with await client.play(FRAMES[0]) as refused:
                await refused.step(1)
    return caught.value


def test_the_asyncio_client_names_it_too(running: Running) -> None:
    error = asyncio.run(_two_sessions(running.server.address))
    assert len(error.request_id) == 16
    assert error.__notes__ == [f"request {error.request_id}"]
