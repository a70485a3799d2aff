"""Errors between client and server, phrased for the user. The only place that reads gRPC status codes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from genie_client.outgoing import request_id_of
from genie_core.errors import GenieError, ModelError, RequestError

_LOST_STATUS = "Internal error from Core"
"""What grpc.aio reports in place of the status of a call that ended while a message was being written."""

_STATUS_DETAILS = "grpc-status-details-bin"
"""Metadata sent only with a server's own response, never for a lost connection."""


_PUSHBACK = "grpc-retry-pushback-ms"
"""Metadata with the server's hint: milliseconds to wait before the next try; below 0: never retry."""


class ServerError(GenieError):
    """The server failed, or sent a response that the contract does not allow.

    Attributes:
        reason: the cause in a few words, for a status line.
        retry_after_s: seconds after which the server asks to be retried; None: not stated.
        request_id: names the call in the server's log; empty if there was none.

    """

    reason = "it failed"
    retry_after_s: float | None = None
    request_id = ""


class ServerUnavailableError(ServerError):
    """There is no server at the address, or it has gone."""

    reason = "it is gone"


class ServerEndedError(ServerError):
    """The embedded server has ended for good."""

    reason = "it has ended"


class ServerAccessError(ServerError):
    """The server does not accept the caller, or one of the two does not trust the other."""


class ServerBusyError(ServerError):
    """The server has no room for the request now; the same request may succeed later."""

    reason = "it has no room"


class ServerNotReadyError(ServerBusyError):
    """The server is starting, loading the model, or shutting down; the same request may succeed later."""

    reason = "it is not ready"


class ServerTimeoutError(ServerError):
    """The server did not respond within the caller's time limit, or closed an idle session."""

    reason = "it does not answer"


@dataclass
class Peer:
    """State of the server as seen by this client.

    Attributes:
        address: address of the server.
        met: whether it has ever responded.
        ended: returns the last output of a server that has ended for good; None: it may still exist, or return.

    """

    address: str
    met: bool = False
    ended: Callable[[], str | None] = lambda: None

    @contextmanager
    def explaining(self, doing: str, call: object = None) -> Iterator[None]:
        """Turn a gRPC error in the block into a `GenieError`; `doing` completes "while ...", e.g. "labelling".

        `call` is what failed, where the error is not the call itself (asyncio); it knows the request's id.
        """
        try:
            yield
        except grpc.RpcError as error:
            raise self.explain(error, doing, call) from error
        self.met = True

    def explain(self, error: grpc.RpcError, doing: str, call: object = None) -> GenieError:
        """Return the user's error for a gRPC error, with the server's hint when to retry and the request's id."""
        explained = self._explain(error, doing)
        request_id = request_id_of(error, call)
        if isinstance(explained, ServerError):
            explained.retry_after_s, explained.request_id = _hint_s(error), request_id
            if request_id and self.met:  # else the server, if there is one, knows of no such request
                explained.add_note(f"request {request_id}")
        return explained

    def _explain(self, error: grpc.RpcError, doing: str) -> GenieError:
        details = error.details() or ""
        match error.code():
            case grpc.StatusCode.UNAVAILABLE:
                return self._unavailable(error, doing, details)
            case grpc.StatusCode.INTERNAL if details == _LOST_STATUS:
                return self._gone(f"the server at {self.address} ended the call while {doing}")
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
            case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
                return ServerAccessError(f"the server at {self.address} refuses {doing}: {details}")
            case grpc.StatusCode.CANCELLED:
                return self._gone(f"{doing} at {self.address} was cancelled: {details}")
            case grpc.StatusCode.UNIMPLEMENTED:
                return ServerError(f"the server at {self.address} is no Genie server of this version: {details}")
            case other:
                return ServerError(f"the server at {self.address} failed while {doing}: {other.name}: {details}")

    def _unavailable(self, error: grpc.RpcError, doing: str, details: str) -> GenieError:
        if any(key == _STATUS_DETAILS for key, _ in _metadata(error)):
            return ServerNotReadyError(f"the server at {self.address} is not ready for {doing}: {details}")
        refusal = details.lower().replace("tcp handshaker shutdown", "")  # a server that is gone, in older gRPC
        if "handshak" in refusal or "certificate" in refusal:
            return ServerAccessError(f"no secure connection to the server at {self.address}: {details}")
        if not self.met:
            return self._gone(f"no server at {self.address} (start one with `genie serve`)")
        return self._gone(f"the server at {self.address} went away while {doing}")

    def _gone(self, text: str) -> ServerError:
        last_words = self.ended()
        if last_words is None:
            return ServerUnavailableError(text)
        return ServerEndedError(f"the embedded server has ended{last_words}")


def _metadata(error: grpc.RpcError) -> Any:
    return error.trailing_metadata() or ()  # pairs, whose type differs between grpc and grpc.aio


def _hint_s(error: grpc.RpcError) -> float | None:
    for key, value in _metadata(error):
        if key == _PUSHBACK:
            try:
                milliseconds = int(value)
            except ValueError:  # as in gRPC, anything but a number means never to retry
                return math.inf
            return milliseconds / 1000 if milliseconds >= 0 else math.inf
    return None


def _request_error(details: str) -> RequestError:
    """Rebuild the error that the server raised; its text is ``field: message``."""
    field, separator, message = details.partition(": ")
    return RequestError(field, message) if separator else RequestError("request", details)


__all__ = [
    "Peer",
    "ServerAccessError",
    "ServerBusyError",
    "ServerEndedError",
    "ServerError",
    "ServerNotReadyError",
    "ServerTimeoutError",
    "ServerUnavailableError",
]
