"""Times labelling through the real service against labelling in one process, with a shipped model."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.catalogue import JOBS, jobs_each
from benchmarks.episodes import make_clip, write_episodes
from benchmarks.label_client import labelled_path, waiting_clients
from benchmarks.measured import Measured
from benchmarks.processes import cpu_seconds, serving
from benchmarks.row import Samples
from benchmarks.timing import ROUNDS, Action, interleaved, ratios
from genie_core.bundles import DEFAULT, shipped
from genie_core.data import Frames, read_labels
from genie_core.inference import Labeller
from genie_core.inference.shapes import threads_of_this_thread
from genie_core.models.bundle import load_bundle

EPISODES, FRAMES = 32, 128
"""Episodes that are labelled in all, at least two a client, and the frames of each."""

STEP = 1
"""Frames a transition spans on both sides, so that neither looks for the step that fits the data."""

LANE_BATCHES, LARGE_BATCHES = (2, 4, 8), (16, 32)
"""Blocks a batch to choose the best of, computed in one core each or in all of them."""

TRIALS, TRIAL_SHARE = 3, 4
"""Rounds in which the best way without a service is found, each with one in so many of the episodes."""


@dataclass(frozen=True)
class Way:
    """A way to label episodes in memory: `batch` blocks at a time, in `lanes` threads or else in one with all cores."""

    batch: int
    lanes: int

    @property
    def words(self) -> str:
        """For the row's facts."""
        return f"{self.lanes} lanes, batch {self.batch}" if self.lanes > 1 else f"all cores, batch {self.batch}"

    def label(self, labeller: Labeller, episodes: list[Frames]) -> list[NDArray[np.uint16]]:
        """Return the codes of each episode."""
        if self.lanes == 1:
            return [labels.code for labels in labeller.label_many(episodes, step=STEP, batch=self.batch)]
        size = -(-len(episodes) // self.lanes)
        parts = [episodes[at : at + size] for at in range(0, len(episodes), size)]
        with ThreadPoolExecutor(self.lanes) as pool:
            return [codes for found in pool.map(partial(self._label_in_one, labeller), parts) for codes in found]

    def _label_in_one(self, labeller: Labeller, part: list[Frames]) -> list[NDArray[np.uint16]]:
        with threads_of_this_thread(1):
            return [labels.code for labels in labeller.label_many(part, step=STEP, batch=self.batch)]


def ways(threads: int) -> list[Way]:
    """Return the ways to choose from."""
    in_all = [Way(batch, 1) for batch in LARGE_BATCHES]
    return in_all + [Way(batch, threads) for batch in LANE_BATCHES if threads > 1]


def measure(clients: int, model: str, quick: bool) -> list[Measured]:
    """Label the same frames through `clients` clients and without any, in turn, with a shipped bundle."""
    count = max(JOBS, clients) if quick else max(EPISODES, 2 * clients)
    frames = 18 if quick else FRAMES
    each, warm_ups, rounds = count // clients, 0 if quick else 1, 1 if quick else ROUNDS
    jobs = jobs_each(clients)
    labeller = Labeller(load_bundle(shipped(model)))
    episodes = [make_clip(frames, seed) for seed in range(count)]
    tried = _tried(labeller, episodes[: max(2, count // TRIAL_SHARE)], quick)
    best = max(tried, key=tried.__getitem__)
    cpu = CpuSeconds()
    with tempfile.TemporaryDirectory() as folder, serving(model=model) as server:
        files = [write_episodes(Path(folder) / f"{i}.hdf5", each, frames, i * each) for i in range(clients)]
        with waiting_clients(server.address, files, jobs, STEP) as waiting:
            cpu.of = {"server": [server.pid], "clients": waiting.pids, "inprocess": [os.getpid()]}
            sides: dict[str, Action] = {
                "inprocess": cpu.noting("inprocess", partial(best.label, labeller, episodes)),
                "grpc": cpu.noting("grpc", waiting.label),
            }
            seconds = interleaved(sides, rounds, warm_ups=warm_ups)
        _check_equal(files, each, best.label(labeller, episodes))
    shares = ratios(seconds["inprocess"], seconds["grpc"])
    measured = {name: Samples.of([count * frames / s for s in taken], "frames/s") for name, taken in seconds.items()}
    measured |= {"ratio": Samples.of(shares, "x")} | cpu.samples(rounds, count * frames)
    facts: dict[str, float | int | str] = {
        "model": model,
        "threads": torch.get_num_threads(),
        "clients": clients,
        "episodes_in_flight_each": jobs,
        "episodes": count,
        "frames_each": frames,
        "inprocess": best.words,
        "codes": "equal",
    }
    facts |= {f"trial: {way.words}, frames/s": round(rate) for way, rate in tried.items()}
    return [Measured(value=median(shares), measured=measured, facts=facts)]


def _tried(labeller: Labeller, trial: list[Frames], quick: bool) -> dict[Way, float]:
    """Return the frames a second of each way to label without a service."""
    choices = {way.words: way for way in ways(torch.get_num_threads())}
    actions: dict[str, Action] = {words: partial(way.label, labeller, trial) for words, way in choices.items()}
    seconds = interleaved(actions, 1 if quick else TRIALS, warm_ups=0)
    return {choices[words]: sum(map(len, trial)) / min(taken) for words, taken in seconds.items()}


class CpuSeconds:
    """CPU time of the processes that take part, round by round: other processes on the machine do not count in it.

    Attributes:
        of: ids of the processes, by part.

    """

    def __init__(self) -> None:
        self.of: dict[str, list[int]] = {}
        self._taken: dict[str, list[dict[str, float]]] = {}

    def noting(self, side: str, action: Action) -> Action:
        """Return `action`, which then notes what each part took while it ran."""

        def noted() -> None:
            began = self._now()
            action()
            taken = {part: now - began[part] for part, now in self._now().items()}
            self._taken.setdefault(side, []).append(taken)

        return noted

    def samples(self, rounds: int, frames: int) -> dict[str, Samples]:
        """Return milliseconds a frame of each part, and the ratio of all, over the last `rounds` rounds."""
        inprocess = [taken["inprocess"] for taken in self._taken["inprocess"][-rounds:]]
        grpc = self._taken["grpc"][-rounds:]
        parts = {"inprocess_cpu": inprocess}
        parts |= {f"{part}_cpu": [taken[part] for taken in grpc] for part in ("server", "clients")}
        samples = {name: Samples.of([1000 * s / frames for s in taken], "ms/frame") for name, taken in parts.items()}
        together = [sum(taken.values()) for taken in grpc]
        return {**samples, "cpu_ratio": Samples.of(ratios(inprocess, together), "x")}

    def _now(self) -> dict[str, float]:
        return {part: sum(map(cpu_seconds, pids)) for part, pids in self.of.items()}


def _check_equal(files: list[Path], each: int, codes: list[NDArray[np.uint16]]) -> None:
    """Raise RuntimeError unless the files hold the same codes as were found in this process."""
    for i, path in enumerate(files):
        for j in range(each):
            labels, _ = read_labels(labelled_path(path), f"demo_{j}")
            if not np.array_equal(labels.code, codes[i * each + j]):
                raise RuntimeError(f"{path.name}: demo_{j} got other codes through the service than without it")


def clients_1(quick: bool, model: str = DEFAULT) -> list[Measured]:
    """One client."""
    return measure(1, model, quick)


def clients_8(quick: bool, model: str = DEFAULT) -> list[Measured]:
    """Eight clients."""
    return measure(8, model, quick)


def clients_32(quick: bool, model: str = DEFAULT) -> list[Measured]:
    """Thirty-two clients."""
    return measure(32, model, quick)


tiny_1, tiny_8, tiny_32 = (partial(clients, model="tiny") for clients in (clients_1, clients_8, clients_32))


__all__ = [
    "CpuSeconds",
    "Way",
    "clients_1",
    "clients_8",
    "clients_32",
    "measure",
    "tiny_1",
    "tiny_8",
    "tiny_32",
    "ways",
]
