"""The work of one call on the device: announced when the call begins, submitted piece by piece, and timed."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from genie_core.tracing import Attributes, collecting, note_span
from genie_service.acceptance import Announcement
from genie_service.fair_queue import Operation, Piece

if TYPE_CHECKING:
    from genie_service.engine import Engine

_MOST_PRESUMED = 64
"""Pieces: an episode of hours must not count for more than it has among the calls of a few seconds."""


class Job:
    """Work of one call, and its time on the way to the device and back, in milliseconds. `close` when it ends.

    Whether a call is accepted is decided when it starts (`announce`).

    Attributes:
        queue_ms: time waiting for a lane.
        batch_ms: time waiting for a batch to fill up.
        device_ms: time computing.

    """

    def __init__(self, engine: Engine, client: str) -> None:
        self._engine = engine
        self._client = client
        self._promised: Counter[Operation] = Counter()
        self._done = 0
        self._deadline, self._delivery_s, self._refusable = math.inf, 0.0, False
        self.queue_ms = self.batch_ms = self.device_ms = 0.0

    def announce(self, call: Announcement, *, refusable: bool = False) -> None:
        """Announce what the call will ask of the device. Raises BusyError if it is not accepted.

        A `refusable` call has sent nothing before its end: if it turns out that it will be late, it is refused then.
        """
        self._engine.accept(call, self._client)
        self._promised.update(call.total or call.first)
        if call.remaining_s is not None:
            self._deadline = time.perf_counter() + call.remaining_s
            self._delivery_s = self._engine.delivery_s(call.remaining_s)
        self._refusable = refusable

    @contextmanager
    def going_on(self, operation: Operation) -> Iterator[None]:
        """Presume, while the block lasts, that a call of unknown length will ask for as much again as it has had."""
        presumed = {operation: min(self._done, _MOST_PRESUMED)}
        self._engine.presume(self._client, presumed)
        try:
            yield
        finally:
            self._engine.forget(self._client, presumed)

    def close(self) -> None:
        """Forget what was announced and not submitted; may be called again."""
        self._engine.forget(self._client, self._promised)
        self._promised.clear()

    async def run(self, operation: Operation, payload: Any) -> Any:
        """Return the result of one piece. Raises what the operation raises, and BusyError; see `announce`."""
        return (await self.run_all(operation, [payload]))[0]

    async def run_all(self, operation: Operation, payloads: Sequence[Any]) -> list[Any]:
        """Return the results of several pieces, in order; the times of the one that finished last are counted."""
        rounds = math.ceil(self._promised[operation] / len(payloads)) if payloads else 0  # one after the other
        promised = min(len(payloads), self._promised[operation])
        self._promised[operation] -= promised
        needed_s = self._engine.needed_s(operation, len(payloads), max(1, rounds)) + self._delivery_s
        results, last = await self._engine.run(
            operation,
            payloads,
            self._client,
            promised=promised,
            start_by=self._deadline - needed_s if self._refusable else math.inf,
            deadline=self._deadline,
        )
        self._done += len(payloads)
        self.queue_ms += (last.picked - last.submitted) * 1000
        self.batch_ms += (last.started - last.picked) * 1000
        self.device_ms += (last.ended - last.started) * 1000
        if collecting():
            _note_spans(last, len(payloads))
        return results


def _note_spans(last: Piece, pieces: int) -> None:
    """Make spans of the phases of the piece that finished last, one of `pieces` that were asked for together."""
    facts: Attributes = {"genie.operation": last.operation.name, "genie.pieces": pieces, "genie.batch": last.batch}
    note_span("queue", last.submitted, last.picked, facts)
    note_span("batch", last.picked, last.started, facts)
    note_span("device", last.started, last.ended, facts)


__all__ = ["Job"]
