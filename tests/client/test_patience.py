"""When a busy or absent server is tried again: hints are kept, waits grow, many clients do not come at once."""

from __future__ import annotations

import math

import grpc
import pytest

from genie_client.errors import Peer, ServerBusyError, ServerEndedError, ServerError, ServerUnavailableError
from genie_client.patience import Patience, Waiting

PATIENCE = Patience(600)


def busy(retry_after_s: float | None = None) -> ServerBusyError:
    error = ServerBusyError("no room")
    error.retry_after_s = retry_after_s
    return error


def test_waits_double_up_to_a_quarter_of_a_minute() -> None:
    least = [PATIENCE.next_wait_s(busy(), failures, 0, 0.0) for failures in range(1, 9)]
    most = [PATIENCE.next_wait_s(busy(), failures, 0, 1.0) for failures in range(1, 9)]
    assert least == [0.25, 0.5, 1, 2, 4, 7.5, 7.5, 7.5]
    assert most == [0.5, 1, 2, 4, 8, 15, 15, 15]
    assert PATIENCE.next_wait_s(busy(), 10**6, 0, 1.0) == 15


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("failures", [1, 4, 20])
def test_no_wait_is_shorter_than_the_servers_hint(failures: int, draw: float) -> None:
    wait_s = PATIENCE.next_wait_s(busy(42.0), failures, 0, draw)
    assert wait_s is not None
    assert 42 <= wait_s <= 42 + 7.5


def test_clients_that_are_refused_together_do_not_come_back_together() -> None:
    waits = {PATIENCE.next_wait_s(busy(2.0), 3, 0, draw / 10) for draw in range(10)}
    assert len(waits) == 10


def test_patience_ends() -> None:
    assert PATIENCE.next_wait_s(busy(), 9, 599, 1.0) == 1  # one last try
    assert PATIENCE.next_wait_s(busy(), 9, 600, 0.0) is None
    assert PATIENCE.next_wait_s(busy(20), 9, 590, 0.0) is None  # it would be too late then
    assert Patience(0).next_wait_s(busy(), 1, 0, 0.0) is None


def test_only_what_may_pass_is_tried_again() -> None:
    assert PATIENCE.next_wait_s(ServerUnavailableError("gone"), 1, 0, 0.0) is not None
    assert PATIENCE.next_wait_s(busy(math.inf), 1, 0, 0.0) is None
    for error in (ServerError("failed"), ServerEndedError("ended"), ValueError("no server's")):
        assert PATIENCE.next_wait_s(error, 1, 0, 0.0) is None


class Status(grpc.RpcError):
    """A failed call."""

    def __init__(self, code: grpc.StatusCode, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        self._code, self._metadata = code, metadata

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "the device is busy"

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata


@pytest.mark.parametrize(
    ("metadata", "hint_s"),
    [((), None), ((("grpc-retry-pushback-ms", "2500"),), 2.5), ((("grpc-retry-pushback-ms", "-1"),), math.inf)],
)
def test_the_servers_hint_comes_with_the_error(metadata: tuple[tuple[str, str], ...], hint_s: float | None) -> None:
    error = Peer("here:1").explain(Status(grpc.StatusCode.RESOURCE_EXHAUSTED, metadata), "labelling")
    assert isinstance(error, ServerBusyError)
    assert error.retry_after_s == hint_s


def test_an_embedded_server_that_has_ended_is_not_waited_for_and_its_last_words_are_told() -> None:
    peer = Peer("here:1", met=True, ended=lambda: ", exit code -9: no memory")
    error = peer.explain(Status(grpc.StatusCode.UNAVAILABLE), "labelling")
    assert isinstance(error, ServerEndedError)
    assert str(error) == "the embedded server has ended, exit code -9: no memory"


def test_what_is_waited_for_is_said_in_few_words() -> None:
    assert str(Waiting(busy(), 12.4, 600)) == "waiting for the server: it has no room (12 of 600 s)"
    assert str(Waiting(ServerUnavailableError("x"), 3, 60)) == "waiting for the server: it is gone (3 of 60 s)"
