"""Watches a server from outside: how long it takes to say that it is well, and how much memory it has."""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_EVERY_S = 0.05
_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Look:
    """One look.

    Attributes:
        at: when, of `time.monotonic`.
        health_s: seconds until the answer.
        is_well: whether it was SERVING.
        resident: bytes of the process.

    """

    at: float
    health_s: float
    is_well: bool
    resident: int


def watch(address: str, pid: int, told: Connection) -> None:
    """Look until something is sent down `told`; then send back all looks."""
    looks = []
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        while not told.poll():
            began = time.monotonic()
            try:
                answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S)
                is_well = answer.status == health_pb2.HealthCheckResponse.SERVING
            except grpc.RpcError:
                is_well = False
            looks.append(Look(began, time.monotonic() - began, is_well, _resident(pid)))
            time.sleep(_EVERY_S)
    told.recv()
    told.send(looks)


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except (OSError, IndexError):
        return 0


__all__ = ["Look", "watch"]
