"""The server as its users start it: a process with flags, two lines on standard output, signals and an exit code."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from genie_api.v1 import frames_pb2, labelling_pb2, labelling_pb2_grpc, models_pb2, models_pb2_grpc
from tests.factories.bundles import make_nano_bundle

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
WITHIN_S = 120


class Server:
    """A started `python -m genie_service`."""

    def __init__(
        self,
        *flags: str,
        stdin: int | None = None,
        program: tuple[str, str] = ("-m", "genie_service"),
        **environment: str,
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *program, *flags],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
        assert self.process.stdout is not None
        self.stdout: IO[str] = self.process.stdout

    @property
    def address(self) -> str:
        line = self.stdout.readline()
        assert line.startswith("genie: serving on 127.0.0.1:"), line + self.log()
        return line.removeprefix("genie: serving on ").strip()

    def ready(self) -> str:
        return self.stdout.readline()

    def log(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def wait(self) -> int:
        return self.process.wait(WITHIN_S)


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    started: list[Server] = []
    yield started
    for server in started:
        server.process.kill()
        server.process.wait(WITHIN_S)
        for stream in (server.process.stdin, server.process.stdout, server.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_nano_bundle(tmp_path_factory.mktemp("models") / "nano")


def _frames(count: int) -> labelling_pb2.LabelEpisodeRequest:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 40, 48, 3), np.uint8)
    return labelling_pb2.LabelEpisodeRequest(
        frames=frames_pb2.Frames(
            encoding=frames_pb2.FRAME_ENCODING_RAW,
            data_type=frames_pb2.DATA_TYPE_UINT8,
            count=count,
            height=40,
            width=48,
            channels=3,
            raw=pixels.tobytes(),
        )
    )


def _header() -> labelling_pb2.LabelEpisodeRequest:
    return labelling_pb2.LabelEpisodeRequest(header=labelling_pb2.LabelOptions(fps=10))


def test_from_start_to_sigterm_in_the_middle_of_a_stream(servers: list[Server], bundle: Path) -> None:
    server = Server("--models", str(bundle), "--port", "0")
    servers.append(server)
    with grpc.insecure_channel(server.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        states = [next(watch).status]
        while states[-1] != SERVING:
            states.append(next(watch).status)
        assert states in ([NOT_SERVING, SERVING], [SERVING])  # the nano model may be quicker than we are
        assert server.ready() == "genie: ready, models: nano\n"

        requests: queue.SimpleQueue[labelling_pb2.LabelEpisodeRequest | None] = queue.SimpleQueue()
        requests.put(_header())
        requests.put(_frames(40))
        call = labelling_pb2_grpc.LabellingServiceStub(channel).LabelEpisode(iter(requests.get, None))
        assert [next(call).WhichOneof("part") for _ in range(2)] == ["header", "labels"]
        server.process.send_signal(signal.SIGTERM)
        assert next(watch).status == NOT_SERVING
        requests.put(_frames(9))
        requests.put(None)
        summary = list(call)[-1].summary
        assert (summary.frames, summary.transitions) == (49, 48)
    assert server.wait() == 0
    log = server.log()
    assert "LabelEpisode code=OK" in log
    assert "Traceback" not in log


def test_health_is_not_serving_before_the_model_is_there(servers: list[Server], bundle: Path) -> None:
    server = Server("--models", str(bundle), "--port", "0", "--preload", "none")
    servers.append(server)
    with grpc.insecure_channel(server.address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert check.status == NOT_SERVING
    assert server.ready() == "genie: ready, models: none\n"
    server.process.send_signal(signal.SIGINT)
    assert server.wait() == 0


def test_a_second_signal_does_not_wait(servers: list[Server], bundle: Path) -> None:
    server = Server(GENIE_MODELS=str(bundle), GENIE_PORT="0")
    servers.append(server)
    with grpc.insecure_channel(server.address) as channel:
        server.ready()
        hold = threading.Event()

        def requests() -> Iterator[labelling_pb2.LabelEpisodeRequest]:
            yield _header()
            hold.wait(WITHIN_S)

        call = labelling_pb2_grpc.LabellingServiceStub(channel).LabelEpisode(requests())
        next(call)
        health = health_pb2_grpc.HealthStub(channel)
        server.process.send_signal(signal.SIGINT)
        while health.Check(health_pb2.HealthCheckRequest()).status != NOT_SERVING:
            pass
        server.process.send_signal(signal.SIGINT)
        assert server.wait() == 130
        with pytest.raises(grpc.RpcError):
            next(call)
        hold.set()


def test_calls_that_are_cut_or_too_late_are_told_to_try_elsewhere_and_the_exit_code_says_so(
    servers: list[Server], bundle: Path
) -> None:
    server = Server("--models", str(bundle), "--port", "0", "--drain-seconds", "3", "--max-calls", "1")
    servers.append(server)
    address = server.address
    server.ready()
    alone = [("grpc.use_local_subchannel_pool", 1)]
    hold = threading.Event()

    def requests() -> Iterator[labelling_pb2.LabelEpisodeRequest]:
        yield _header()
        hold.wait(WITHIN_S)

    with grpc.insecure_channel(address, alone) as one, grpc.insecure_channel(address, alone) as other:
        held = labelling_pb2_grpc.LabellingServiceStub(one).LabelEpisode(requests())
        next(held)
        waits = labelling_pb2_grpc.LabellingServiceStub(other).LabelEpisode(iter([_header(), _frames(9)]))
        health, probe = health_pb2_grpc.HealthStub(other), health_pb2.HealthCheckRequest()
        assert health.Check(probe).status == SERVING  # behind the call that waits
        server.process.send_signal(signal.SIGTERM)
        while health.Check(probe).status == SERVING:
            pass
        late = labelling_pb2_grpc.LabellingServiceStub(one).LabelEpisode(iter([_header(), _frames(9)]))
        for call, words in ((waits, "takes no new calls"), (late, "takes no new calls"), (held, "has ended the call")):
            with pytest.raises(grpc.RpcError) as caught:
                list(call)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert words in caught.value.details()
        hold.set()
    assert server.wait() == 75
    log = server.log()
    assert log.count("LabelEpisode code=UNAVAILABLE") == 3
    assert "Traceback" not in log


def test_it_stops_when_its_parent_has_gone(servers: list[Server], bundle: Path) -> None:
    server = Server("--models", str(bundle), "--port", "0", "--exit-with-stdin", stdin=subprocess.PIPE)
    servers.append(server)
    assert server.address
    server.ready()
    assert server.process.stdin is not None
    server.process.stdin.close()
    assert server.wait() == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--port", "70000"], "error: setting port (--port, GENIE_PORT"),
        (["--models", "/absent"], "/absent holds no bundle"),
        (["--port", "70000", "--models", "/absent"], "/absent holds no bundle"),
    ],
)
def test_what_the_user_can_put_right_is_one_line_and_exit_code_2(
    servers: list[Server], flags: list[str], words: str
) -> None:
    server = Server(*flags)
    servers.append(server)
    assert server.wait() == 2
    log = server.log()
    assert words in log
    assert "Traceback" not in log


def test_a_log_that_nobody_reads_does_not_hold_the_server_up(servers: list[Server], bundle: Path) -> None:
    server = Server("--models", str(bundle), "--port", "0")
    servers.append(server)
    with grpc.insecure_channel(server.address) as channel:
        server.ready()
        models = models_pb2_grpc.ModelServiceStub(channel)
        for _ in range(800):  # a pipe holds some 400 lines
            models.GetStatistics(models_pb2.GetStatisticsRequest(), timeout=WITHIN_S)
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 0


_FAILS_WHEN_TOLD = """
import sys
from pathlib import Path
from genie_service.__main__ import main
from genie_service.fair_queue import FairQueue
head, signal = FairQueue.head, Path(sys.argv.pop(1))
def failing(self):
    if signal.exists():
        raise MemoryError("injected")
    return head(self)
FairQueue.head = failing
main()
"""


def test_a_server_whose_lanes_fail_says_so_and_ends(servers: list[Server], bundle: Path, tmp_path: Path) -> None:
    trigger = tmp_path / "fail"
    server = Server(str(trigger), "--models", str(bundle), "--port", "0", program=("-c", _FAILS_WHEN_TOLD))
    servers.append(server)
    with grpc.insecure_channel(server.address) as channel:
        server.ready()
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == SERVING
        trigger.touch()
        labelling = labelling_pb2_grpc.LabellingServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            list(labelling.LabelEpisode(iter([_header(), _frames(9)]), timeout=WITHIN_S))
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert next(watch).status == NOT_SERVING
    assert server.wait() == 70
    assert "cannot go on: the server ends" in server.log()
