"""Mutated requests to a running server whose memory is bounded: it answers each in time, and never with INTERNAL."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import grpc

from tests.factories.bundles import make_nano_bundle
from tests.fuzz.tally import Tally, resident_mib
from tests.fuzz.targets.requests import messages
from tests.fuzz.trial import Cost

SERVER = "server"
INPUTS = 5_000

_MEMORY_MIB, _ADDRESS_SPACE = 700, 6 << 30
_CLIENTS = 8
_DEADLINE_S = 30.0
"""On a machine that is busy with other things too; what the server itself takes is what its processor time says."""

_ANSWERS_READ = 3
_METHODS = (
    "genie_api.v1.LabellingService/LabelClip",
    "genie_api.v1.LabellingService/LabelEpisode",
    "genie_api.v1.SimulationService/Rollout",
    "genie_api.v1.SimulationService/Branch",
    "genie_api.v1.SimulationService/Play",
    "genie_api.v1.ModelService/GetModel",
    "inference.GRPCInferenceService/ModelInfer",
)
"""Of the messages of `targets.requests.CHECKS`, in their order; none that unloads what others use."""

_ALLOWED = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "RESOURCE_EXHAUSTED", "CANCELLED"}


def fuzz_server(out: Path, share: float, seed: int) -> Tally:
    """Send the inputs; what was answered wrongly is left in `out`."""
    tally, codes, slowest = Tally.at(out / "tally"), Counter[str](), 0.0
    wanted = max(1, round(INPUTS * share))
    seeds = [(number, message.SerializeToString()) for number, message in messages()]
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder), out) as (process, address):
        with ThreadPoolExecutor(_CLIENTS) as clients:
            for number, (sent, code, seconds) in enumerate(
                clients.map(lambda n: _one(address, seeds, seed * wanted + n), range(wanted))
            ):
                codes[code] += 1
                if seconds > slowest:
                    slowest = seconds
                    said = f"{seconds:.2f} s, {code}, call {number} of seed {seed}, load {os.getloadavg()[0]:.0f}\n"
                    (out / "slowest.txt").write_text(said + "\n".join(message.hex() for message in sent) + "\n")
                tally.count(Cost(seconds, 0.0), lambda: resident_mib(process.pid))
                if code not in _ALLOWED and codes[code] <= 3:
                    (out / f"{code}-{number}").write_bytes(b"\n--\n".join(sent))
        if process.poll() is not None:
            (out / "died").write_text(str(process.returncode))
    tally.end()
    (out / "codes.txt").write_text("\n".join(f"{code} {count}" for code, count in codes.most_common()) + "\n")
    return tally


@contextmanager
def _server(folder: Path, out: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    models = folder / "models"
    make_nano_bundle(models / "nano")
    command = [sys.executable, "-m", "genie_service", "--models", str(models), "--port", "0"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def bounded() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))

    with (
        (out / "log.txt").open("w") as log,
        subprocess.Popen(
            [*command, "--memory-mib", str(_MEMORY_MIB), "--open-inference"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            preexec_fn=bounded,
        ) as process,
    ):
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("genie: serving on ").strip()
        assert process.stdout.readline().startswith("genie: ready")
        try:
            yield process, address
        finally:
            process.terminate()


_channels: dict[int, grpc.Channel] = {}


def _one(address: str, seeds: list[tuple[int, bytes]], seed: int) -> tuple[list[bytes], str, float]:
    """Send one call; its messages, the status and how long it took, seconds."""
    rng = random.Random(seed)
    number, whole = rng.choice(seeds)
    others = [message for kind, message in seeds if kind == number]
    sent = [mutated(whole, rng)]
    if number in (1, 4):  # streams of requests
        begun = [message for kind, message in seeds if kind == number][:1] if rng.random() < 0.7 else []
        sent = [*begun, *(mutated(rng.choice(others), rng) for _ in range(rng.randint(1, 3)))]
    channel = _channels.setdefault(seed % _CLIENTS, grpc.insecure_channel(address))
    call: Any = channel.stream_stream(f"/{_METHODS[number]}")(iter(sent), timeout=_DEADLINE_S)
    began = time.monotonic()
    code = "OK"
    try:
        for _ in islice(call, _ANSWERS_READ):
            pass
    except grpc.RpcError as error:
        code = error.code().name
    finally:
        with suppress(grpc.RpcError):
            call.cancel()
    return sent, code, time.monotonic() - began


def mutated(message: bytes, rng: random.Random) -> bytes:
    """The message with a few bytes changed, taken out, put in or doubled; one in ten is left whole."""
    data = bytearray(message)
    for _ in range(rng.choice((0, 1, 1, 1, 1, 2, 2, 3, 4, 8))):
        at = rng.randrange(min(len(data), 400) + 1) if rng.random() < 0.7 else rng.randrange(len(data) + 1)
        size = rng.choice((1, 1, 1, 2, 4, 16))
        kind = rng.randrange(4)
        if kind == 0:
            data[at : at + size] = rng.randbytes(len(data[at : at + size]))
        elif kind == 1:
            del data[at : at + size]
        elif kind == 2:
            data[at:at] = rng.choice((rng.randbytes(size), b"\xff" * size, b"\x00" * size, b"\x80" * 9 + b"\x01"))
        else:
            data[at:at] = data[at : at + 40]
    return bytes(data)
