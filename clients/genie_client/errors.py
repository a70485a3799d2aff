"""What can go wrong between a client and a server, said in plain words. The one place that reads gRPC status codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from genie_core.errors import GenieError, ModelError, RequestError

_LOST_STATUS = "Internal error from Core"
"""What grpc.aio reports in place of the status of a call that ended while a message was being written."""

_STATUS_DETAILS = "grpc-status-details-bin"
"""Metadata that only a server's own answer carries, never a lost connection."""


class ServerError(GenieError):
    """The server failed, or answered something that the contract does not allow."""


class ServerUnavailableError(ServerError):
    """There is no server at the address, or it went away."""


class ServerBusyError(ServerError):
    """The server has no room for the request now; the same request may succeed later."""


class ServerTimeoutError(ServerError):
    """The server did not answer within the time that the caller gave it, or closed an idle session."""


@dataclass
class Peer:
    """The server as this client knows it: where it is, and whether it has ever answered."""

    address: str
    met: bool = False

    @contextmanager
    def explaining(self, doing: str) -> Iterator[None]:
        """Turn a gRPC error inside the block into a `GenieError`; `doing` completes "while ...", e.g. "labelling"."""
        try:
            yield
        except grpc.RpcError as error:
            raise self.explain(error, doing) from error
        self.met = True

    def explain(self, error: grpc.RpcError, doing: str) -> GenieError:
        """The error that a user reads for a gRPC error."""
        details = error.details() or ""
        match error.code():
            case grpc.StatusCode.UNAVAILABLE:
                return self._unavailable(error, doing, details)
            case grpc.StatusCode.INTERNAL if details == _LOST_STATUS:
                return ServerUnavailableError(f"the server at {self.address} ended the call while {doing}")
            case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.OUT_OF_RANGE:
                return _request_error(details)
            case grpc.StatusCode.NOT_FOUND | grpc.StatusCode.FAILED_PRECONDITION:
                return ModelError(details)
            case grpc.StatusCode.RESOURCE_EXHAUSTED:
                return ServerBusyError(f"the server at {self.address} has no room for {doing}: {details}")
            case grpc.StatusCode.DEADLINE_EXCEEDED if not self.met:
                return ServerTimeoutError(
                    f"nobody answered at {self.address} in time (start a server with `genie serve`)"
                )
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return ServerTimeoutError(f"{doing} at {self.address} timed out: {details}")
            case grpc.StatusCode.CANCELLED:
                return ServerError(f"{doing} at {self.address} was cancelled: {details}")
            case grpc.StatusCode.UNIMPLEMENTED:
                return ServerError(f"the server at {self.address} is no Genie server of this version: {details}")
            case other:
                return ServerError(f"the server at {self.address} failed while {doing}: {other.name}: {details}")

    def _unavailable(self, error: grpc.RpcError, doing: str, details: str) -> GenieError:
        metadata: Any = error.trailing_metadata()  # pairs, of one type or another: grpc and grpc.aio differ
        if any(key == _STATUS_DETAILS for key, _ in metadata or ()):
            return ServerBusyError(f"the server at {self.address} is not ready for {doing}: {details}")
        if not self.met:
            return ServerUnavailableError(f"no server at {self.address} (start one with `genie serve`)")
        return ServerUnavailableError(f"the server at {self.address} went away while {doing}")


def _request_error(details: str) -> RequestError:
    """Rebuild the error that the server raised; its text is ``field: message``."""
    field, separator, message = details.partition(": ")
    return RequestError(field, message) if separator else RequestError("request", details)


__all__ = ["Peer", "ServerBusyError", "ServerError", "ServerTimeoutError", "ServerUnavailableError"]
