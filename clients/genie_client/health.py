"""Asks a server for its health by the standard protocol, grpc.health.v1.

It does so without the package grpcio-health-checking, whose versions each require the newest protobuf of their day,
because the base install must fit beside other packages. The protocol's two messages have one field each and so equal
those of `google.protobuf.wrappers` on the wire.
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
    """Return ``SERVING``, ``NOT_SERVING``, or ``SERVICE_UNKNOWN`` if the server has no such service.

    Raises a `GenieError` if there is no answer.
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


def answers_within(channel: grpc.Channel, seconds: float) -> bool:
    """Wait until somebody answers at the channel's address, `seconds` at most, and return whether somebody does.

    gRPC 1.73 keeps connecting only while a call waits for it, and calls that fail at once do not.
    """
    check = channel.unary_unary(_CHECK, StringValue.SerializeToString, Int32Value.FromString)
    try:
        check(StringValue(), timeout=seconds, wait_for_ready=True)
    except grpc.RpcError as error:
        return error.code() not in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
    except ValueError:  # the channel was closed meanwhile
        return False
    return True


__all__ = ["answers_within", "ask_health"]
