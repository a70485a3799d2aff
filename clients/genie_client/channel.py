"""gRPC channels of both clients: address, channel options and gRPC's own retries."""

from __future__ import annotations

import json

from genie_core.errors import RequestError

_MAX_MESSAGE_BYTES = 256 * 1024 * 1024

# gRPC itself retries calls with a single request as long as no response has arrived, and obeys the server's retry hint.
# Streams of requests are left out: retrying those, gRPC (1.85) can abort the process.
_RETRIED = {
    "LabellingService": ("LabelClip",),
    "ModelService": ("ListModels", "GetModel", "LoadModel", "UnloadModel"),
    "SimulationService": ("Rollout", "Branch"),
}
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [
                {"service": f"genie_api.v1.{service}", "method": method}
                for service, methods in _RETRIED.items()
                for method in methods
            ],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.2s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
            },
        }
    ]
}

_OPTIONS: list[tuple[str, str | int]] = [
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    # A peer that vanished silently is noticed within this time; servers allow pings this rare by default.
    ("grpc.keepalive_time_ms", 300_000),
]


_OF_REPLICAS = ("dns:", "ipv4:", "ipv6:")
"""Beginnings of gRPC targets that name every replica of a server, as a headless service in Kubernetes does."""


def channel_options(address: str, own_connection: bool = False) -> list[tuple[str, str | int]]:
    """Options of a channel; calls to a target of several replicas take turns, others stay with one connection.

    Channels of one process to one address share their connection, unless `own_connection` is set.
    """
    turns = [("grpc.lb_policy_name", "round_robin")] if address.startswith(_OF_REPLICAS) else []
    return [*_OPTIONS, *turns, *([("grpc.use_local_subchannel_pool", 1)] if own_connection else [])]


def check_address(address: str) -> str:
    """Return ``host:port`` or any other gRPC target. Raises RequestError if the port is missing."""
    host, _, port = address.rpartition(":")
    if not host or not port or (port.isdigit() and int(port) > 65535):
        raise RequestError("address", f"got {address!r}, expected HOST:PORT, e.g. localhost:50051")
    return address


__all__ = ["channel_options", "check_address"]
