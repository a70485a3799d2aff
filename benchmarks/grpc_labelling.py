"""Times labelling through the real service against labelling in one process, with the shipped model."""

from __future__ import annotations

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
from benchmarks.processes import MODEL, serving
from benchmarks.row import Samples
from benchmarks.timing import ROUNDS, Action, interleaved, ratios
from genie_core.bundles import models_dir
from genie_core.data import Frames, read_labels
from genie_core.inference import Labeller
from genie_core.inference.shapes import threads_of_this_thread
from genie_core.models.bundle import load_bundle

EPISODES, FRAMES = 192, 128
"""Episodes that are labelled in all, by however many clients, and the frames of each."""

LANE_BATCHES, LARGE_BATCHES = (2, 4, 8), (16, 32)
"""Blocks a batch to choose the best of, computed in one core each or in all of them."""

TRIALS = 3
"""Rounds in which the best way without a service is found."""


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
            return [labels.code for labels in labeller.label_many(episodes, step=1, batch=self.batch)]
        size = -(-len(episodes) // self.lanes)
        parts = [episodes[at : at + size] for at in range(0, len(episodes), size)]
        with ThreadPoolExecutor(self.lanes) as pool:
            return [codes for found in pool.map(partial(self._label_in_one, labeller), parts) for codes in found]

    def _label_in_one(self, labeller: Labeller, part: list[Frames]) -> list[NDArray[np.uint16]]:
        with threads_of_this_thread(1):
            return [labels.code for labels in labeller.label_many(part, step=1, batch=self.batch)]


def ways(threads: int) -> list[Way]:
    """Return the ways to choose from."""
    in_all = [Way(batch, 1) for batch in LARGE_BATCHES]
    return in_all + [Way(batch, threads) for batch in LANE_BATCHES if threads > 1]


def measure(clients: int, quick: bool) -> list[Measured]:
    """Label the same frames through `clients` clients and without any, in turn."""
    count = max(JOBS, clients) if quick else EPISODES
    frames = 18 if quick else FRAMES
    each, warm_ups = count // clients, 0 if quick else 1
    jobs = jobs_each(clients)
    labeller = Labeller(load_bundle(models_dir() / MODEL))
    episodes = [make_clip(frames, seed) for seed in range(count)]
    trial = episodes[: count // 3]
    choices = {way.words: way for way in ways(torch.get_num_threads())}
    trials: dict[str, Action] = {words: partial(way.label, labeller, trial) for words, way in choices.items()}
    tried = {
        words: median(taken) for words, taken in interleaved(trials, 1 if quick else TRIALS, warm_ups=warm_ups).items()
    }
    best = choices[min(tried, key=tried.__getitem__)]
    with tempfile.TemporaryDirectory() as folder, serving() as server:
        files = [write_episodes(Path(folder) / f"{i}.hdf5", each, frames, i * each) for i in range(clients)]
        with waiting_clients(server.address, files, jobs) as waiting:
            sides: dict[str, Action] = {"inprocess": partial(best.label, labeller, episodes), "grpc": waiting.label}
            seconds = interleaved(sides, 1 if quick else ROUNDS, warm_ups=warm_ups)
        _check_equal(files, each, best.label(labeller, episodes))
    shares = ratios(seconds["inprocess"], seconds["grpc"])
    rates = {name: Samples.of([count * frames / s for s in taken], "frames/s") for name, taken in seconds.items()}
    facts: dict[str, float | int | str] = {
        "threads": torch.get_num_threads(),
        "clients": clients,
        "episodes_in_flight_each": jobs,
        "episodes": count,
        "frames_each": frames,
        "inprocess": best.words,
        "codes": "equal",
    }
    facts |= {f"trial: {words}, frames/s": round(len(trial) * frames / s) for words, s in tried.items()}
    return [Measured(value=median(shares), measured={**rates, "ratio": Samples.of(shares, "x")}, facts=facts)]


def _check_equal(files: list[Path], each: int, codes: list[NDArray[np.uint16]]) -> None:
    """Raise RuntimeError unless the files hold the same codes as were found in this process."""
    for i, path in enumerate(files):
        for j in range(each):
            labels, _ = read_labels(labelled_path(path), f"demo_{j}")
            if not np.array_equal(labels.code, codes[i * each + j]):
                raise RuntimeError(f"{path.name}: demo_{j} got other codes through the service than without it")


def clients_1(quick: bool) -> list[Measured]:
    """One client."""
    return measure(1, quick)


def clients_8(quick: bool) -> list[Measured]:
    """Eight clients."""
    return measure(8, quick)


def clients_32(quick: bool) -> list[Measured]:
    """Thirty-two clients."""
    return measure(32, quick)


__all__ = ["Way", "clients_1", "clients_8", "clients_32", "measure", "ways"]
