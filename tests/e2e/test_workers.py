"""Two processes behind one address, under clients that do not stop: killed and replaced, without a failed call.

Only what the killed process itself kept is lost, the sessions of `Play`: they end with an error that says so, and give
the same frames when they are played again.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import grpc
import numpy as np
import pytest

from genie_api.v1 import models_pb2, models_pb2_grpc
from genie_client import Client
from genie_client.bulk import LabelPlan, label_dataset
from genie_client.errors import ServerUnavailableError
from genie_core.data import open_dataset, open_labelled
from tests.factories.data import make_robomimic
from tests.support.processes import free_port, server_process

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks Linux for the server's children")

FRAMES = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), np.uint8)
CLIENTS, BULK = 3, 2
WITHIN_S = 280.0
PAUSE_S = 0.05
"""Between the calls of a client, so that workers that start find a core."""


def workers_of(pid: int) -> set[int]:
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
        return text


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.2)


class Caller:
    """Labels the same clip over and over, every third time over a new connection, and keeps the answers."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.answers: list[object] = []
        self.failures: list[BaseException] = []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while not self.stopped.is_set():
            try:
                with Client(self.address, own_connection=True) as client:
                    self.call(client)
            except Exception as error:
                self.failures.append(error)

    def call(self, client: Client) -> None:
        for _ in range(3):
            self.answers.append(client.label(FRAMES, fps=10).latent.tobytes())
            self.stopped.wait(PAUSE_S)

    def stop(self) -> None:
        self.stopped.set()
        self.thread.join(WITHIN_S)


class Bulk(Caller):
    """Labels the same dataset over and over, each time over a new connection, several episodes at once."""

    def __init__(self, address: str, data: Path) -> None:
        self.data = data
        super().__init__(address)

    def call(self, client: Client) -> None:
        output = self.data.with_name(f"{threading.get_ident()}-{len(self.answers)}.hdf5")
        label_dataset(client, open_dataset(self.data), LabelPlan(output=output, jobs=3))
        labelled = open_labelled(output)
        self.answers.append(tuple(labelled.labels(name)[0].latent.tobytes() for name in labelled.episodes))
        self.stopped.wait(2 * PAUSE_S)


class Play:
    """A session over a connection of its own, and the frames that it gave."""

    def __init__(self, address: str) -> None:
        self._held = ExitStack()
        client = self._held.enter_context(Client(address, own_connection=True))
        self.session = self._held.enter_context(client.play(FRAMES[:2], seed=7))
        self.frames = [self.session.step(1).tobytes()]

    def close(self) -> None:
        self._held.close()


def sessions_of_each(address: str, port: int) -> list[Play]:
    """Sessions until each of the two workers has one: the system spreads connections at random."""
    plays: list[Play] = []
    end = time.monotonic() + WITHIN_S
    while len(re.findall(r'genie_play_sessions\{worker="\d"\} [1-9]', metrics(port))) < 2:
        assert time.monotonic() < end
        plays.append(Play(address))
    return plays


def played_on(plays: list[Play]) -> tuple[list[str], list[Play]]:
    """Take another step in every session; returns what those said that could not, and all others."""
    said, going = [], []
    for play in plays:
        try:
            play.frames.append(play.session.step(2).tobytes())
            going.append(play)
        except ServerUnavailableError as error:
            said.append(str(error))
            play.close()
    return said, going


@pytest.mark.timeout(900)
def test_no_call_fails_when_a_worker_is_killed_and_when_all_are_replaced(models_folder: Path, tmp_path: Path) -> None:
    port, data = free_port(), make_robomimic(tmp_path / "lift.hdf5", episodes=4, frames=80, size=32)
    flags = ("--workers", "2", "--metrics-address", str(port), "--log-level", "error")
    with server_process(models_folder, 0, *flags) as (server, address):
        first = workers_of(server.pid)
        assert len(first) == 2
        plays = sessions_of_each(address, port)
        callers = [*(Caller(address) for _ in range(CLIENTS)), *(Bulk(address, data) for _ in range(BULK))]

        def all_went_on(times: int) -> None:
            seen = [len(caller.answers) for caller in callers]
            until(lambda: all(len(c.answers) >= n + times for c, n in zip(callers, seen, strict=True)), "no answers")

        try:
            for index in "01":  # the system spreads connections: both come to have some
                until(
                    lambda index=index: f'method="LabelClip",worker="{index}"' in metrics(port), f"no call for {index}"
                )
            all_went_on(1)
            killed = min(first)
            os.kill(killed, signal.SIGKILL)
            until(lambda: len(workers_of(server.pid) - {killed}) == 2, "no worker in its place")
            until(lambda: metrics(port).count("genie_ready{") == 2, "the new worker is not ready")
            assert "genie_worker_restarts_total 1.0" in metrics(port)
            second = workers_of(server.pid)
            assert max(first) in second
            said, plays = played_on(plays)
            assert said  # it had one at least, and the other worker's go on
            assert plays
            assert set(said) == {f"the server at {address} went away while playing"}
            again = Play(address)
            plays.append(again)
            played_on([again])
            assert again.frames == plays[0].frames
            for play in plays:
                play.close()
            all_went_on(1)
            server.send_signal(signal.SIGHUP)
            until(lambda: not workers_of(server.pid) & second and len(workers_of(server.pid)) == 2, "not replaced")
            all_went_on(2)
        finally:
            for play in plays:
                play.close()
            for caller in callers:
                caller.stop()
        assert [caller.failures for caller in callers] == [[]] * len(callers)
        for some in (callers[:CLIENTS], callers[CLIENTS:]):
            assert len({answer for caller in some for answer in caller.answers}) == 1
        with grpc.insecure_channel(address) as plain, pytest.raises(grpc.RpcError) as refused:
            models_pb2_grpc.ModelServiceStub(plain).LoadModel(models_pb2.LoadModelRequest(name="models/nano"))
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "SIGHUP" in refused.value.details()
        server.terminate()
        assert server.wait(WITHIN_S) == 0
