"""What a user reads for each gRPC status."""

from __future__ import annotations

import grpc
import pytest

from genie_client import (
    GenieError,
    ModelError,
    RequestError,
    ServerBusyError,
    ServerError,
    ServerTimeoutError,
    ServerUnavailableError,
)
from genie_client.channel import check_address
from genie_client.errors import Peer

HERE = "localhost:50051"


class Status(grpc.RpcError):
    """A failed call."""

    def __init__(self, code: grpc.StatusCode, details: str, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        self._code, self._details, self._metadata = code, details, metadata

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata


def explained(peer: Peer, status: Status) -> GenieError:
    with pytest.raises(GenieError) as error, peer.explaining("labelling demo_3"):
        raise status
    return error.value


def test_a_server_that_is_not_there_and_one_that_went_away_read_differently() -> None:
    peer, gone = Peer(HERE), Status(grpc.StatusCode.UNAVAILABLE, "Socket closed")
    before = explained(peer, gone)
    with peer.explaining("listing models"):
        pass
    after = explained(peer, gone)
    assert isinstance(before, ServerUnavailableError)
    assert isinstance(after, ServerUnavailableError)
    assert str(before) == f"no server at {HERE} (start one with `genie serve`)"
    assert str(after) == f"the server at {HERE} went away while labelling demo_3"


def test_a_server_that_says_itself_that_it_is_not_ready_is_quoted() -> None:
    status = Status(grpc.StatusCode.UNAVAILABLE, "tiny is being loaded", (("grpc-status-details-bin", "..."),))
    error = explained(Peer(HERE), status)
    assert isinstance(error, ServerBusyError)
    assert "tiny is being loaded" in str(error)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.NOT_FOUND, ModelError),
        (grpc.StatusCode.FAILED_PRECONDITION, ModelError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ServerBusyError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, ServerTimeoutError),
        (grpc.StatusCode.CANCELLED, ServerUnavailableError),
        (grpc.StatusCode.UNIMPLEMENTED, ServerError),
        (grpc.StatusCode.INTERNAL, ServerError),
    ],
)
def test_every_status_is_an_error_of_the_family_with_the_servers_words(
    code: grpc.StatusCode, kind: type[GenieError]
) -> None:
    error = explained(Peer(HERE, met=True), Status(code, "the cause"))
    assert type(error) is kind
    assert "the cause" in str(error)


def test_a_refused_argument_keeps_its_field() -> None:
    error = explained(Peer(HERE), Status(grpc.StatusCode.INVALID_ARGUMENT, "frames.count: got 1, expected 2"))
    assert isinstance(error, RequestError)
    assert (error.field, str(error)) == ("frames.count", "frames.count: got 1, expected 2")


@pytest.mark.parametrize("address", ["localhost", ":50051", "localhost:", "localhost:99999", ""])
def test_an_address_needs_a_host_and_a_port(address: str) -> None:
    with pytest.raises(RequestError, match="expected HOST:PORT"):
        check_address(address)


@pytest.mark.parametrize("address", [HERE, "10.0.0.1:1", "[::1]:50051", "dns:///genie.lab:443"])
def test_addresses_that_grpc_takes_are_taken(address: str) -> None:
    assert check_address(address) == address
