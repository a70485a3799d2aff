"""The synchronous client's call of a whole episode in one message, which can be ended from another thread."""

from __future__ import annotations

import threading
from typing import Any

import grpc

from genie_client import messages
from genie_client.errors import Peer, ServerUnavailableError
from genie_client.records import EpisodeLabels
from genie_core.closing import Closing


class ClipCall(Closing):
    """An episode on its way to its labels; a context manager that ends the call on exit."""

    def __init__(self, call: Any, peer: Peer, about: str) -> None:
        """`call`: gRPC's future of the answer."""
        self._call, self._peer, self._doing = call, peer, f"labelling {about}"
        self._ended = threading.Event()
        call.add_done_callback(lambda _: self._ended.set())

    def labels(self) -> EpisodeLabels:
        """Wait for the labels of all frames."""
        self._ended.wait()  # gRPC's own wait looks up ten times a second, in every thread that waits
        try:
            with self._peer.explaining(self._doing):
                answer = self._call.result()
        except grpc.FutureCancelledError:
            raise ServerUnavailableError(f"{self._doing} was cancelled") from None
        return messages.read_clip(answer)

    def close(self) -> None:
        """End the call. Idempotent, callable from any thread."""
        self._call.cancel()


__all__ = ["ClipCall"]
