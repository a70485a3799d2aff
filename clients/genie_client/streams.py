"""The synchronous client's two long-lived calls: labels as they become final, and an interactive simulation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from genie_api.v1 import labelling_pb2, simulation_pb2
from genie_client import messages
from genie_client.errors import Peer, ServerError
from genie_client.records import EpisodeLabels, LabelSummary, ModelInfo, Provenance
from genie_core.data import Frames, Labels

_Request = TypeVar("_Request")
_Response = TypeVar("_Response", covariant=True)


class Call(Protocol[_Response]):
    """A gRPC call whose answers are a stream."""

    def __iter__(self) -> Iterator[_Response]: ...
    def __next__(self) -> _Response: ...
    def cancel(self) -> object:
        """End the call, from any thread; does nothing where it has ended."""


class Feed(Iterator[_Request], Generic[_Request]):
    """Requests, read by gRPC in a thread of its own. An error there ends the call, and is kept for the caller."""

    def __init__(self, requests: Iterator[_Request]) -> None:
        self._requests = requests
        self._cancel: Callable[[], object] | None = None
        self.error: Exception | None = None

    def attach(self, cancel: Callable[[], object]) -> None:
        """Say how to end the call, once there is one."""
        self._cancel = cancel
        if self.error is not None:
            cancel()

    def __next__(self) -> _Request:
        """The next request; ends where there is none or making it failed."""
        try:
            return next(self._requests)
        except StopIteration:
            raise
        except Exception as error:
            self.error = error
            if self._cancel is not None:
                self._cancel()
            raise StopIteration from None


class LabelStream(Iterator[Labels]):
    """The labels of one episode as they become final; a context manager, whose end stops the call.

    Attributes:
        provenance: what the labels are made with, known from the start.
        summary: the totals, known once the stream has ended.

    """

    provenance: Provenance
    summary: LabelSummary

    def __init__(
        self,
        call: Call[labelling_pb2.LabelEpisodeResponse],
        feed: Feed[labelling_pb2.LabelEpisodeRequest],
        peer: Peer,
        about: str,
    ) -> None:
        self._call = call
        self._feed = feed
        self._peer = peer
        self._doing = f"labelling {about}"
        self._reader = messages.LabelReader()
        self._ended = False
        feed.attach(call.cancel)
        self.provenance = self._reader.begin(self._receive())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __next__(self) -> Labels:
        """The next labels, consecutive to those before."""
        if self._ended:
            raise StopIteration
        labels = self._reader.read(self._receive())
        if labels is not None:
            return labels
        self.summary = self._reader.summary
        self._ended = True
        raise StopIteration

    def read_all(self) -> EpisodeLabels:
        """The whole episode's labels; for a stream of which nothing was read yet."""
        return self._reader.whole(list(self))

    def close(self) -> None:
        """Stop labelling; does nothing where the stream has ended."""
        self._call.cancel()

    def _receive(self) -> labelling_pb2.LabelEpisodeResponse:
        try:
            with self._peer.explaining(self._doing):
                response = next(self._call, None)
        except Exception:
            if self._feed.error is not None:
                raise self._feed.error from None
            raise
        if response is None:
            raise ServerError(f"the server ended the call early while {self._doing}")
        return response


class PlaySession:
    """An interactive simulation whose state the server keeps; a context manager. Not for use by several threads."""

    def __init__(
        self,
        call: Call[simulation_pb2.PlayResponse],
        outbox: SimpleQueue[simulation_pb2.PlayRequest | None],
        info: ModelInfo,
        peer: Peer,
    ) -> None:
        self._call = call
        self._outbox = outbox
        self._info = info
        self._peer = peer
        self._reader = messages.StepReader()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def step(self, code: int) -> Frames:
        """Take one latent action; the (h, w, 3) uint8 frame that it leads to."""
        self._outbox.put(simulation_pb2.PlayRequest(action=messages.check_action(code, self._info)))
        with self._peer.explaining("playing"):
            answer = next(self._call, None)
        if answer is None:
            raise ServerError("the server ended the session")
        frames_NHWC = self._reader.read(answer.index, answer.frame)
        return frames_NHWC.squeeze(0)

    def close(self) -> None:
        """End the session; the server forgets its state."""
        self._outbox.put(None)
        self._call.cancel()


__all__ = ["Call", "Feed", "LabelStream", "PlaySession"]
