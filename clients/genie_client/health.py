"""Asking a server for its health, in the standard's own words (grpc.health.v1)."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from genie_client.connection import open_channel, security_for
from genie_client.errors import Peer


def ask_health(address: str, service: str = "", timeout_s: float = 3.0) -> str:
    """``SERVING``, ``NOT_SERVING``, or ``SERVICE_UNKNOWN`` where the server has no such service.

    Raises a `GenieError` where nobody answers.
    """
    channel = open_channel(address, security_for(address, token=""))
    try:
        request = health_pb2.HealthCheckRequest(service=service)
        ask: Any = health_pb2_grpc.HealthStub(channel)  # whose stubs know no methods
        answer = ask.Check(request, timeout=timeout_s)
        return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return "SERVICE_UNKNOWN"
        raise Peer(address).explain(error, "asking for health") from error
    finally:
        channel.close()


__all__ = ["ask_health"]
