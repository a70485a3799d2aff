"""Two processes behind one address, under clients that do not stop: killed and replaced, without a failed call."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest

from genie_api.v1 import models_pb2, models_pb2_grpc
from genie_client import Client
from tests.support.processes import free_port, server_process

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks Linux for the server's children")

FRAMES = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), np.uint8)
CLIENTS = 4
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
        self.latents: list[bytes] = []
        self.failures: list[BaseException] = []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while not self.stopped.is_set():
            try:
                with Client(self.address, own_connection=True) as client:
                    for _ in range(3):
                        self.latents.append(client.label(FRAMES, fps=10).latent.tobytes())
                        self.stopped.wait(PAUSE_S)
            except Exception as error:
                self.failures.append(error)

    def stop(self) -> None:
        self.stopped.set()
        self.thread.join(WITHIN_S)


@pytest.mark.timeout(900)
def test_no_call_fails_when_a_worker_is_killed_and_when_all_are_replaced(models_folder: Path) -> None:
    port = free_port()
    flags = ("--workers", "2", "--metrics-address", str(port), "--log-level", "error")
    with server_process(models_folder, 0, *flags) as (server, address):
        first = workers_of(server.pid)
        assert len(first) == 2
        callers = [Caller(address) for _ in range(CLIENTS)]
        try:
            for index in "01":  # the system spreads connections: both come to have some
                until(
                    lambda index=index: f'method="LabelClip",worker="{index}"' in metrics(port), f"no call for {index}"
                )
            killed = min(first)
            os.kill(killed, signal.SIGKILL)
            until(lambda: len(workers_of(server.pid) - {killed}) == 2, "no worker in its place")
            until(lambda: metrics(port).count("genie_ready{") == 2, "the new worker is not ready")
            assert "genie_worker_restarts_total 1.0" in metrics(port)
            second = workers_of(server.pid)
            assert max(first) in second
            server.send_signal(signal.SIGHUP)
            until(lambda: not workers_of(server.pid) & second and len(workers_of(server.pid)) == 2, "not replaced")
            seen = sum(len(caller.latents) for caller in callers)
            until(lambda: sum(len(caller.latents) for caller in callers) > seen + CLIENTS, "no calls afterwards")
        finally:
            for caller in callers:
                caller.stop()
        assert [caller.failures for caller in callers] == [[]] * CLIENTS
        assert len({latent for caller in callers for latent in caller.latents}) == 1
        with grpc.insecure_channel(address) as plain, pytest.raises(grpc.RpcError) as refused:
            models_pb2_grpc.ModelServiceStub(plain).LoadModel(models_pb2.LoadModelRequest(name="models/nano"))
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "SIGHUP" in refused.value.details()
        server.terminate()
        assert server.wait(WITHIN_S) == 0
