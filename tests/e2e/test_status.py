"""`genie status`: one screen about a real server, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from genie_cli.status import duration
from genie_client import Client, ServerError
from genie_core import __version__
from tests.support.processes import GenieHere
from tests.support.service_server import Running, serving

FRAMES = np.zeros((4, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def running(models_folder: Path) -> Iterator[Running]:
    with serving(models_folder, max_play_streams=1) as running:
        yield running


def test_one_screen_says_what_the_server_does(genie: GenieHere, running: Running) -> None:
    address = running.server.address
    with Client(address, patience_s=0) as client, client.play(FRAMES[0]) as session:
        session.step(1)
        with client.play(FRAMES[0]) as refused, pytest.raises(ServerError):
            refused.step(1)
        shown = " ".join(genie.run("status", address).split())
        facts = json.loads(genie.run("status", address, "--json"))
    for words in (
        f"server {address}, version {__version__}",
        "health SERVING, up",
        "calls 2 of 128, 0 waiting",  # the session, and the one that asks
        "sessions 1 of 1",
        "MiB for requests",
        "refused 1 max_play_streams",
        "nano (default) ready",
    ):
        assert words in shown, shown
    assert (facts["health"], facts["play_streams"], facts["refusals"]) == ("SERVING", 1, {"max_play_streams": 1})
    assert facts["models"][0]["bundle_id"] == client_model(address)
    assert 0 < facts["memory_bytes"] < facts["memory_budget_bytes"]


def client_model(address: str) -> str:
    with Client(address) as client:
        return client.model().bundle_id


def test_a_server_without_its_model_is_told_by_the_exit_code(genie: GenieHere, models_folder: Path) -> None:
    with serving(models_folder, preload="none") as running:
        code, out, _ = genie.call("status", running.server.address)
    assert code == 1
    assert "NOT_SERVING" in out


def test_nobody_there_is_an_error_of_one_line(genie: GenieHere) -> None:
    assert "no server at 127.0.0.1:1" in genie.fail("status", "127.0.0.1:1", "--timeout", "5")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (200000, "2 d 7 h")]
)
def test_a_duration_has_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words
