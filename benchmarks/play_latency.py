"""Times the frames of a `Play` beside a bulk labeller on one server against those of one that has it to itself.

Both go through real clients. What the labeller loses to the `Play` is measured too. The published row is of the default
bundle; of another one, printed and written nowhere:

    python -m benchmarks.play_latency tiny
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.catalogue import JOBS
from benchmarks.episodes import make_clip, write_episodes
from benchmarks.label_client import LabelClients, waiting_clients
from benchmarks.measured import Measured
from benchmarks.processes import serving
from benchmarks.row import Samples
from benchmarks.timing import ROUNDS, interleaved, ratios
from genie_client import Client, PlaySession
from genie_core.bundles import DEFAULT

ACTIONS, QUICK_ACTIONS = 20, 2
"""Actions of a round."""

EPISODES, FRAMES, QUICK_FRAMES = 128, 128, 48
"""Episodes that the labeller labels in one go, and the frames of each; only as many as are in flight where quick."""

_FIRST_ACTIONS = 1
"""Actions that do not count: the session is still being made while the first waits."""

_BUSY_WITHIN_S = 120.0


@dataclass
class Player:
    """Plays one session a round, each the same: an action as soon as the frame of the last is there.

    Attributes:
        client: connected to the server.
        actions: that count in each round.
        idle, beside: of each round (actions, 3) milliseconds with the server to itself and beside the labeller: until
            the frame was there; of these, waiting for the device; and computing.

    """

    client: Client
    actions: int
    idle: list[NDArray[np.float64]] = field(default_factory=list)
    beside: list[NDArray[np.float64]] = field(default_factory=list)

    def play_idle(self) -> None:
        """Play a round."""
        self._play(self.idle, lambda: False)

    def play_beside(self, go_on: Callable[[], bool]) -> None:
        """Play a round, and on for as long as `go_on` says when asked after it."""
        self._play(self.beside, go_on)

    def _play(self, rounds: list[NDArray[np.float64]], go_on: Callable[[], bool]) -> None:
        codes = cycle(range(self.client.model().num_codes))
        with self.client.play(make_clip(1)) as session:
            for _ in range(_FIRST_ACTIONS):
                session.step(next(codes))
            rounds.append(np.array([_time_action(session, next(codes)) for _ in range(self.actions)]))
            while go_on():
                session.step(next(codes))


def _time_action(session: PlaySession, code: int) -> tuple[float, float, float]:
    began = time.perf_counter()
    session.step(code)
    timing = session.timing
    return (time.perf_counter() - began) * 1000, timing.queue_ms + timing.batch_ms, timing.device_ms


@dataclass
class Labeller:
    """Labels the file of a waiting client.

    Attributes:
        clients: the one client.
        alone, beside: of each round, frames a second without and with a `Play` beside it.

    """

    clients: LabelClients
    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)

    def label_alone(self) -> None:
        """Label the file."""
        self.label(self.alone, lambda: True)

    def label(self, rates: list[float], enough: Callable[[], bool]) -> None:
        """Label the file, and again until it is `enough`."""
        began, frames = time.perf_counter(), self.clients.label()
        while not enough():
            frames += self.clients.label()
        rates.append(frames / (time.perf_counter() - began))


def _play_beside(player: Player, labeller: Labeller) -> None:
    """Play from when the labeller keeps every lane busy until it has labelled its file."""
    played = threading.Event()

    def go_on() -> bool:
        played.set()
        return not work.done()

    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(labeller.label, labeller.beside, played.is_set)
        try:
            _wait_until_busy(player.client, work)
            player.play_beside(go_on)
        finally:
            played.set()
        work.result()


def _wait_until_busy(client: Client, work: Future[None]) -> None:
    """Return once every lane has work and more waits; raises RuntimeError where that does not come."""
    until = time.perf_counter() + _BUSY_WITHIN_S
    while time.perf_counter() < until and not work.done():
        now = client.statistics()
        if now.busy_lanes == now.lanes and now.waiting:
            return
        time.sleep(0.01)
    raise RuntimeError(f"the labeller did not keep every lane busy within {_BUSY_WITHIN_S:g} s")


def under_bulk(quick: bool, model: str = DEFAULT) -> list[Measured]:
    """Play with and without a labeller beside, and label with and without a `Play` beside, in turn."""
    rounds = 1 if quick else ROUNDS
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(model=model) as server,
        Client(server.address) as client,
    ):
        jobs = max(JOBS, 2 * client.statistics().lanes)
        episodes, frames = (jobs, QUICK_FRAMES) if quick else (max(jobs, EPISODES), FRAMES)
        file = write_episodes(Path(folder) / "bulk.hdf5", episodes, frames)
        with waiting_clients(server.address, [file], jobs) as clients:
            player, labeller = Player(client, QUICK_ACTIONS if quick else ACTIONS), Labeller(clients)
            sides = {
                "idle": player.play_idle,
                "alone": labeller.label_alone,
                "beside": lambda: _play_beside(player, labeller),
            }
            interleaved(sides, rounds, warm_ups=0 if quick else 1)
        work = {"episodes_in_flight": jobs, "episodes": episodes, "frames_each": frames}
        facts = _facts(client) | work | {"actions_a_round": player.actions}
    return [_measured(player, labeller, rounds, facts)]


def _facts(client: Client) -> dict[str, float | int | str]:
    """Return what the server says of itself after all rounds."""
    statistics, model = client.statistics(), client.model()
    encode = statistics.operations[f"{model.name}/encode"]
    return {
        "lanes": statistics.lanes,
        "labeller_batch_ms": round(1000 * encode.device_s / encode.batches, 1),
        "blocks_a_batch": round(encode.pieces / encode.batches, 2),
        "model_fps": model.fps,
    }


def _measured(player: Player, labeller: Labeller, rounds: int, facts: dict[str, float | int | str]) -> Measured:
    """Return the last `rounds` rounds: those before were to warm up."""
    measured: dict[str, Samples] = {}
    for name, taken in (("idle", player.idle[-rounds:]), ("beside", player.beside[-rounds:])):
        latency, waiting, computing = np.stack(taken).transpose(2, 0, 1)  # (rounds, actions) each
        measured[f"{name}_p50"] = Samples.of(np.median(latency, axis=1), "ms")
        measured[f"{name}_p95"] = Samples.of(np.quantile(latency, 0.95, axis=1), "ms")
        measured[f"{name}_waiting"] = Samples.of(np.median(waiting, axis=1), "ms")
        measured[f"{name}_computing"] = Samples.of(np.median(computing, axis=1), "ms")
    shares = ratios(list(measured["beside_p50"].samples), list(measured["idle_p50"].samples))
    measured["labeller_alone"] = Samples.of(labeller.alone[-rounds:], "frames/s")
    measured["labeller_beside"] = Samples.of(labeller.beside[-rounds:], "frames/s")
    measured["ratio"] = Samples.of(shares, "x")
    return Measured(value=measured["beside_p95"].median, measured=measured, facts=facts)


__all__ = ["Labeller", "Player", "under_bulk"]

if __name__ == "__main__":
    (row,) = under_bulk(quick=False, model=sys.argv[1])
    for part, of in row.measured.items():
        print(f"{part}: median {of.median:.4g} {of.unit}, {min(of.samples):.4g} to {max(of.samples):.4g}")
    print(row.facts)
