"""`genie bench-server` against a real server: what it counts is what was answered."""

from __future__ import annotations

import json

import numpy as np
import pytest

from genie_client import Client
from genie_client.errors import ServerBusyError
from genie_client.sweep import _level, _note, _Seen, sweep
from tests.support.processes import GenieHere

CLIP = np.random.default_rng(0).integers(0, 256, (17, 32, 32, 3), np.uint8)


def test_each_number_of_clients_gets_a_line(genie: GenieHere, server: str) -> None:
    out = genie.run("bench-server", server, "--clients", "1,3", "--frames", "17", "--seconds", "0.2", "--json")
    one, three = (json.loads(line) for line in out.splitlines())
    assert (one["clients"], three["clients"]) == (1, 3)
    for level in (one, three):
        assert level["calls"] >= level["clients"]
        assert level["failures"] == {}
        assert level["frames_per_s"] == pytest.approx(17 * level["calls_per_s"])
        latency = level["latency_ms"]
        assert 0 < latency["50"] <= latency["95"] <= latency["100"]
        assert 0 < level["device_ms"] <= latency["100"]
    table = genie.run("bench-server", server, "--clients", "2", "--work", "play", "--seconds", "0.2")
    assert "Play sessions" in table
    assert "p95" in table


def test_clients_of_a_sweep_have_connections_of_their_own(server: str) -> None:
    clients: list[Client] = []

    def connect() -> Client:
        clients.append(Client(server, own_connection=True))
        return clients[-1]

    (level,) = sweep(connect, [2], work="label", clip=CLIP, fps=10, seconds=0.0)
    assert len(clients) == 2
    assert level.calls >= 2  # one each at least, however late a client's turn comes


def test_what_is_wrong_is_told_at_once(genie: GenieHere, server: str) -> None:
    assert "--clients" in genie.fail("bench-server", server, "--clients", "1,many")
    assert "--size" in genie.fail("bench-server", server, "--size", "64")
    assert "nowhere" in genie.fail("bench-server", server, "--model", "nowhere")


def test_calls_that_failed_are_counted_apart() -> None:
    seen = _Seen()

    def refused() -> tuple[int, float, float]:
        error = ServerBusyError("no room")
        error.retry_after_s = 0.001
        raise error

    _note(seen, refused, 0.0)
    level = _level(1, [seen], 2.0)
    assert level.failures == {"ServerBusyError": 1}
    assert level.calls == 0
    assert level.latency_ms == {}
    assert level.frames_per_s == 0
