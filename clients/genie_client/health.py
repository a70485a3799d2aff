"""Asking a server for its health, in the standard's own words (grpc.health.v1).

Without the package grpcio-health-checking, each version of which wants the newest protobuf of its day: the base install
fits beside other packages. The standard's two messages hold one field each, as those of `google.protobuf.wrappers` do.
"""

from __future__ import annotations

from enum import IntEnum

import grpc
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from genie_client.connection import open_channel, security_for
from genie_client.errors import Peer

_CHECK = "/grpc.health.v1.Health/Check"


class _Status(IntEnum):
    """``grpc.health.v1.HealthCheckResponse.ServingStatus``."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


def ask_health(address: str, service: str = "", timeout_s: float = 3.0) -> str:
    """``SERVING``, ``NOT_SERVING``, or ``SERVICE_UNKNOWN`` where the server has no such service.

    Raises a `GenieError` where nobody answers.
    """
    channel = open_channel(address, security_for(address, token=""))
    try:
        check = channel.unary_unary(_CHECK, StringValue.SerializeToString, Int32Value.FromString)
        return _Status(check(StringValue(value=service), timeout=timeout_s).value).name
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return "SERVICE_UNKNOWN"
        raise Peer(address).explain(error, "asking for health") from error
    finally:
        channel.close()


__all__ = ["ask_health"]
