"""Maximum age of a connection: it is replaced again and again under a client, and no call fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from genie_client import Client
from genie_core.data import Frames
from tests.support.service_server import serving
from tests.support.waiting import WITHIN_S

FRAMES = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)
AGE_S = 0.2


def slowly(seconds: float) -> Iterator[Frames]:
    for frame in FRAMES:
        time.sleep(seconds / len(FRAMES))
        yield frame[None]


def test_a_client_goes_on_over_new_connections_without_a_failed_call(
    models_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "genie_service.access")

    def calls() -> list[dict[str, object]]:
        return [record.__dict__ for record in caplog.records if record.name == "genie_service.access"]

    with (
        serving(models_folder, max_connection_age_seconds=AGE_S) as running,
        Client(running.server.address, patience_s=0) as client,
    ):
        with client.label_stream(slowly(5 * AGE_S), fps=10) as stream:
            until = time.monotonic() + WITHIN_S
            while len({call["peer"] for call in calls()}) < 5 and time.monotonic() < until:
                client.model()
            whole = stream.read_all()  # its call outlives the age of its connection
        np.testing.assert_array_equal(whole.latent, client.label(FRAMES, fps=10).latent)
    assert {call["code"] for call in calls()} == {"OK"}
    assert len({call["peer"] for call in calls()}) >= 5
