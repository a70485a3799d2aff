"""Estimates how long frames that wait to be decoded or resized keep a newcomer waiting.

Clients take turns (`workers.Workers`), so another client's frames delay a call by at most as long as its own take.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from genie_api.v1 import frames_pb2
from genie_service.errors import BusyError
from genie_service.estimates import Estimate
from genie_service.frames import MIB, decoded_bytes, decoding_parts

_FIRST_S = 0.02
"""Assumed for a MiB of decoded frames, until some have been decoded."""

_LEAST_RETRY_S = 0.1


class DecodingBacklog:
    """Decoding work still to be done, by client, in seconds. For one event loop."""

    def __init__(self, threads: int, max_wait_s: float) -> None:
        """`max_wait_s`: longest time for which others' frames may keep a call waiting."""
        self._threads, self._max_wait_s = threads, max_wait_s
        self._left_s: dict[str, dict[object, float]] = {}
        """By client, of each message whose frames are being decoded."""
        self._mib_s: dict[int, Estimate] = {}

    @contextmanager
    def taken(
        self, client: str, frames: frames_pb2.Frames, *, refusable: bool, remaining_s: float | None = None
    ) -> Iterator[Callable[[float], None]]:
        """Count a message's frames while the block lasts; yields what is told how long each part of them took, seconds.

        Raises BusyError, with a hint when to return, if it is `refusable` and others' frames keep it waiting for too
        long, or until after its deadline.
        """
        mib = decoded_bytes(frames) / MIB
        estimate = self._mib_s.setdefault(frames.encoding, Estimate(_FIRST_S))
        parts = decoding_parts(frames)
        own_s = mib * estimate.mean_s
        if refusable:
            self._check(client, own_s, remaining_s)
        of_client, message = self._left_s.setdefault(client, {}), object()
        of_client[message] = own_s

        def one_done(seconds: float) -> None:
            estimate.note(seconds * parts / mib)
            of_client[message] -= own_s / parts

        try:
            yield one_done
        finally:
            del of_client[message]
            if not of_client:
                del self._left_s[client]

    def wait_s(self, client: str, own_s: float) -> float:
        """Return how long others' frames delay work of a client that takes so long."""
        left_s = {name: math.fsum(messages.values()) for name, messages in self._left_s.items()}
        behind_s = left_s.pop(client, 0.0) + own_s
        return math.fsum(min(other_s, behind_s) for other_s in left_s.values()) / self._threads

    def _check(self, client: str, own_s: float, remaining_s: float | None) -> None:
        wait_s = self.wait_s(client, own_s)
        if wait_s > self._max_wait_s:
            raise BusyError(
                f"others' frames take {wait_s:.1f} s to decode first; the server's limit is {self._max_wait_s:g} s "
                "(max_wait_seconds)",
                retry_after_s=max(_LEAST_RETRY_S, wait_s - self._max_wait_s),
                cause="max_wait_seconds",
            )
        if wait_s and remaining_s is not None and wait_s + own_s > remaining_s:
            raise BusyError(
                f"the call's deadline is in {remaining_s:.1f} s, and others' frames take {wait_s:.1f} s to decode "
                f"before {own_s:.1f} s for the call's",
                retry_after_s=max(_LEAST_RETRY_S, min(wait_s, wait_s + own_s - remaining_s)),
                cause="deadline",
            )


__all__ = ["DecodingBacklog"]
