"""Four times the work that the device can do, in a simulated time: who is accepted is served soon, and in time."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import pytest

from genie_core.inference.shapes import ExactShapes
from genie_service.acceptance import Acceptance, Announcement
from genie_service.errors import BusyError
from genie_service.fair_queue import FairQueue, Operation, Piece

COST_S, LANES, CLIENTS = 0.1, 2, 16
DEADLINE_S, MAX_WAIT_S = 20.0, 10.0
LENGTHS = (1, 2, 4, 10)
BLOCK = Operation("block", lambda payloads: payloads, ExactShapes((1,), in_threads=True))


@dataclass
class Call:
    """Blocks, one after the other; of a stream nobody knows how many."""

    client: str
    blocks: int
    is_stream: bool
    began: float
    done: int = 0

    @property
    def deadline(self) -> float:
        return self.began + DEADLINE_S


@dataclass
class World:
    """Calls that arrive at random, the device, and a clock of its own."""

    seed: int
    queue: FairQueue = field(default_factory=FairQueue)
    acceptance: Acceptance = field(default_factory=lambda: Acceptance(MAX_WAIT_S, LANES))
    now: float = 0.0
    free: int = LANES
    busy_s: float = 0.0
    refused: list[BusyError] = field(default_factory=list)
    late: list[Call] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    useful: int = 0
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)

    def run(self, seconds: float, times: float) -> None:
        """Offer so many times what the device can do."""
        rng = random.Random(self.seed)
        mean_s = sum(LENGTHS) / len(LENGTHS) * COST_S / LANES / times
        at = 0.0
        while (at := at + rng.expovariate(1 / mean_s)) < seconds:
            call = Call(f"client {rng.randrange(CLIENTS)}", rng.choice(LENGTHS), rng.random() < 0.25, at)
            self.at(at, partial(self.begin, call))
        while self._events:
            self.now, _, happens = heapq.heappop(self._events)
            happens()
            self.work()

    def at(self, time: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._numbers), happens))

    def begin(self, call: Call) -> None:
        work = {BLOCK: 1 if call.is_stream else call.blocks}
        try:
            self.acceptance.check(self.queue, Announcement(work, remaining_s=DEADLINE_S), call.client, self.now)
        except BusyError as error:
            self.refused.append(error)
            return
        self.acceptance.promise(call.client, work)
        self.submit(call)

    def submit(self, call: Call) -> None:
        if call.done < call.blocks and not (call.is_stream and call.done):
            self.acceptance.fulfil(call.client, {BLOCK: 1})
        if call.is_stream:
            self.acceptance.promise(call.client, {BLOCK: call.done})
        left = 1 if call.is_stream else call.blocks - call.done
        start_by = math.inf if call.is_stream else call.deadline - left * COST_S
        self.queue.put(
            Piece(BLOCK, call, call.client, lambda *_: None, self.now, start_by=start_by, deadline=call.deadline)
        )
        self.acceptance.note(len(self.queue), self.now)

    def work(self) -> None:
        for piece in self.queue.take_late(self.now):
            self.acceptance.fulfil(piece.client, {BLOCK: piece.payload.blocks - piece.payload.done - 1})
            self.late.append(piece.payload)
        while self.free and self.queue.head() is not None:
            (piece,) = self.queue.take(BLOCK, self.free)
            self.free -= 1
            self.busy_s += COST_S
            self.at(self.now + COST_S, partial(self.end, piece))
        self.acceptance.note(len(self.queue), self.now)

    def end(self, piece: Piece) -> None:
        self.free += 1
        self.queue.done([piece], COST_S)
        call: Call = piece.payload
        if call.is_stream:
            self.acceptance.fulfil(call.client, {BLOCK: call.done})
        call.done += 1
        if self.now > call.deadline:
            self.late.append(call)
        elif call.done < call.blocks:
            self.submit(call)
        else:
            self.useful += call.blocks
            self.waits_s.append(self.now - call.began)


@pytest.mark.parametrize("seed", range(2))
def test_accepted_calls_are_served_soon_and_in_time(seed: int) -> None:
    """Before, more than half of the accepted calls were late, and the device worked for those."""
    world = World(seed)
    world.run(120.0, times=4)
    waits, accepted = sorted(world.waits_s), len(world.waits_s) + len(world.late)
    assert world.busy_s > 0.97 * LANES * world.now
    assert len(world.late) <= 0.02 * accepted
    assert sum(not call.is_stream for call in world.late) <= 0.01 * accepted
    assert waits[len(waits) // 2] < 0.5 * MAX_WAIT_S
    assert waits[int(0.95 * len(waits))] < 1.5 * MAX_WAIT_S
    assert world.useful * COST_S > 0.96 * world.busy_s
    assert all(error.retry_after_s >= 0.1 for error in world.refused)


def test_what_the_device_can_do_is_not_refused() -> None:
    world = World(0)
    world.run(120.0, times=0.7)
    assert len(world.refused) <= 0.01 * len(world.waits_s)
    assert not world.late
