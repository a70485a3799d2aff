"""The synchronous client's two streaming calls: labels as they become final, and an interactive simulation."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar

from numpy.typing import ArrayLike

from genie_api.v1 import labelling_pb2, simulation_pb2
from genie_client import simulation_messages as simulations
from genie_client.errors import Peer
from genie_client.records import EpisodeLabels, ModelInfo
from genie_client.stream_states import LabelStreamState, PlayState
from genie_core.closing import Closing
from genie_core.data import Frames, Labels

_Request = TypeVar("_Request")
_Response = TypeVar("_Response", covariant=True)

_AHEAD = 2
"""Number of requests prepared before gRPC asks for them."""

_STOP_WITHIN_S = 5.0


class Call(Protocol[_Response]):
    """A gRPC call whose answers are a stream."""

    def __iter__(self) -> Iterator[_Response]: ...
    def __next__(self) -> _Response: ...
    def cancel(self) -> object:
        """End the call, from any thread; does nothing if it has ended."""


class Feed(Iterator[_Request], Generic[_Request]):
    """Prepares requests a few ahead in its own thread, which `stop` waits for, and hands them to gRPC's thread.

    gRPC's threads outlive their call and are killed at exit, wherever they are, so they must never run the caller's
    code, which may hold a lock (HDF5's, say). An error while preparing a request is kept, and ends the call.
    """

    def __init__(self, requests: Generator[_Request, None, None]) -> None:
        self.error: Exception | None = None
        self._requests = requests
        self._cancel: Callable[[], object] | None = None
        self._made: deque[_Request] = deque()
        self._complete = False
        self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._make_all, name="genie-feed", daemon=True)
        self._thread.start()

    def attach(self, cancel: Callable[[], object]) -> None:
        """Set how to end the call, once there is one."""
        with self._changed:
            self._cancel = cancel
            if self.error is not None:
                cancel()

    def stop(self) -> None:
        """Stop preparing requests and wait for the current one, but not for long: its frames may never come."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(_STOP_WITHIN_S)

    def __next__(self) -> _Request:
        """Return the next request, for gRPC."""
        with self._changed:
            self._changed.wait_for(lambda: self._made or self._complete or self._stopped)
            if self._stopped or not self._made:
                raise StopIteration
            self._changed.notify_all()
            return self._made.popleft()

    def _make_all(self) -> None:
        with closing(self._requests):
            try:
                for request in self._requests:
                    if not self._offer(request):
                        return
            except Exception as error:
                self._fail(error)
        with self._changed:
            self._complete = True
            self._changed.notify_all()

    def _offer(self, request: _Request) -> bool:
        """Queue a request once there is room; False if it is no longer wanted."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._made) < _AHEAD or self._stopped)
            self._made.append(request)
            self._changed.notify_all()
            return not self._stopped

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self.error = error
            self._stopped = True
            if self._cancel is not None:
                self._cancel()


class Gate:
    """Holds back a call's requests after the header until the server has accepted it."""

    def __init__(self) -> None:
        self._answers: SimpleQueue[Iterator[labelling_pb2.LabelEpisodeRequest]] = SimpleQueue()

    def open(self, frames: Iterator[labelling_pb2.LabelEpisodeRequest]) -> None:
        """Let the frames through."""
        self._answers.put(frames)

    def shut(self) -> None:
        """Let nothing through, ever."""
        self._answers.put(iter(()))

    def requests(self, header: labelling_pb2.LabelEpisodeRequest) -> Iterator[labelling_pb2.LabelEpisodeRequest]:
        """Yield the requests of one call."""
        yield header
        yield from self._answers.get()


class LabelStream(LabelStreamState, Closing, Iterator[Labels]):
    """Iterates over the labels of one episode as they become final; a context manager that ends the call on exit."""

    def __init__(self, call: Call[labelling_pb2.LabelEpisodeResponse], gate: Gate, peer: Peer, about: str) -> None:
        """Wait until the server has accepted the episode."""
        super().__init__(about)
        self._call = call
        self._gate = gate
        self._peer = peer
        self._feed: Feed[labelling_pb2.LabelEpisodeRequest] | None = None
        try:
            self._accepted(self._receive())
        except BaseException:
            self.close()
            raise

    def feed(self, feed: Feed[labelling_pb2.LabelEpisodeRequest]) -> None:
        """Send the episode's frames; called once."""
        self._feed = feed
        feed.attach(self._call.cancel)
        self._gate.open(feed)

    def __next__(self) -> Labels:
        """Return the next labels, consecutive to the previous ones."""
        if self._ended:
            raise StopIteration
        labels = self._labels(self._receive())
        if labels is None:
            self._receive()  # its status: a call that is closed without reading it may count as cancelled
            raise StopIteration
        return labels

    def read_all(self) -> EpisodeLabels:
        """Return the whole episode's labels; only before any were read."""
        return self._reader.whole(list(self))

    def close(self) -> None:
        """Stop labelling and reading frames. Idempotent, callable from any thread."""
        self._call.cancel()
        self._gate.shut()
        if self._feed is not None:
            self._feed.stop()

    def _receive(self) -> labelling_pb2.LabelEpisodeResponse | None:
        try:
            with self._peer.explaining(self._doing):
                return next(self._call, None)
        except Exception:
            if self._feed is not None and self._feed.error is not None:
                raise self._feed.error from None
            raise


@dataclass(frozen=True)
class PlayCall:
    """A call of Play that has been begun: its answers, where its requests go (None ends them), and its model."""

    answers: Call[simulation_pb2.PlayResponse]
    outbox: SimpleQueue[simulation_pb2.PlayRequest | None]
    info: ModelInfo


class PlaySession(PlayState, Closing):
    """An interactive simulation whose state the server keeps; a context manager. Not thread-safe."""

    def __init__(self, begin: Callable[[], PlayCall], peer: Peer, alignment: str | None = None) -> None:
        """Begin the call; `begin` is called again if its model is replaced before the first frame."""
        self._begin = begin
        self._call = begin()
        self._peer = peer
        super().__init__(self._call.info, alignment)

    def step(self, code: int | simulations.Latents | None = None, *, robot_action: ArrayLike | None = None) -> Frames:
        """Take one action: a code, a latent (D,), or an action of the robot (A,) if the session has an alignment.

        Returns the frame that it leads to, (h, w, 3) uint8; `newest` has what is known of it.
        """
        self._call.outbox.put(self._request(code, robot_action))
        while True:
            with self._peer.explaining("playing"):
                answer = next(self._call.answers, None)
            try:
                return self._frame(answer)
            except simulations.ModelReplacedError as error:
                self._beginnings.replaced(error)
            self.close()
            self._call = self._begin()
            for request in self._again(self._call.info):
                self._call.outbox.put(request)

    def close(self) -> None:
        """End the session; the server forgets its state."""
        self._call.outbox.put(None)
        self._call.answers.cancel()


__all__ = ["Call", "Feed", "Gate", "LabelStream", "PlayCall", "PlaySession"]
