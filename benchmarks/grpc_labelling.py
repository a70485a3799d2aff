"""Times labelling through the real service against labelling in one process, with the shipped model."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.episodes import make_clip, write_episodes
from benchmarks.label_client import labelled_path, waiting_clients
from benchmarks.measured import Measured
from benchmarks.processes import serving
from benchmarks.row import Samples
from benchmarks.timing import ROUNDS, Action, interleaved, ratios
from genie_core.bundles import models_dir
from genie_core.data import read_labels
from genie_core.inference import Labeller
from genie_core.inference.shapes import threads_of_this_thread
from genie_core.models.bundle import load_bundle

EPISODES, FRAMES = 64, 128
"""Episodes that are labelled in all, by however many clients, and the frames of each."""

SMALL_BATCH, LARGE_BATCH = 4, 16
"""Blocks a batch: the best for one core and for all of them."""

JOBS_OF_ONE_CLIENT = 16
"""Episodes that a client which is alone has in flight; clients in company have one each."""


def label_in_batches(labeller: Labeller, episodes: list[NDArray[np.uint8]]) -> list[NDArray[np.uint16]]:
    """Codes of episodes of (T, 64, 64, 3) frames in memory: large batches, each computed in all cores."""
    return [labels.code for labels in labeller.label_many(episodes, step=1, batch=LARGE_BATCH)]


def label_in_lanes(labeller: Labeller, episodes: list[NDArray[np.uint8]], lanes: int) -> list[NDArray[np.uint16]]:
    """The same in small batches, each computed in one core."""

    def label(part: list[NDArray[np.uint8]]) -> list[NDArray[np.uint16]]:
        with threads_of_this_thread(1):
            return [labels.code for labels in labeller.label_many(part, step=1, batch=SMALL_BATCH)]

    size = -(-len(episodes) // lanes)
    parts = [episodes[at : at + size] for at in range(0, len(episodes), size)]
    with ThreadPoolExecutor(lanes) as pool:
        return [codes for found in pool.map(label, parts) for codes in found]


def measure(clients: int, quick: bool) -> list[Measured]:
    """Label the same frames through `clients` clients and without any, in turn."""
    count = max(JOBS_OF_ONE_CLIENT, clients) if quick else EPISODES
    frames = 32 if quick else FRAMES
    each = count // clients
    jobs = JOBS_OF_ONE_CLIENT if clients == 1 else 1
    labeller = Labeller(load_bundle(models_dir() / "tiny"))
    episodes = [make_clip(frames, seed) for seed in range(count)]
    with tempfile.TemporaryDirectory() as folder, serving() as server:
        files = [write_episodes(Path(folder) / f"{i}.hdf5", each, frames, i * each) for i in range(clients)]
        with waiting_clients(server.address, files, jobs) as waiting:
            sides: dict[str, Action] = {
                "inprocess_lanes": partial(label_in_lanes, labeller, episodes, torch.get_num_threads()),
                "grpc": waiting.label,
                "inprocess_batches": partial(label_in_batches, labeller, episodes),
            }
            seconds = interleaved(sides, 2 if quick else ROUNDS)
        _check_equal(files, each, label_in_batches(labeller, episodes))
    alone = [min(pair) for pair in zip(seconds["inprocess_lanes"], seconds["inprocess_batches"], strict=True)]
    shares = ratios(alone, seconds["grpc"])
    rates = {name: Samples.of([count * frames / s for s in taken], "frames/s") for name, taken in seconds.items()}
    facts: dict[str, float | int | str] = {
        "threads": torch.get_num_threads(),
        "clients": clients,
        "episodes_in_flight_each": jobs,
        "episodes": count,
        "frames_each": frames,
        "codes": "equal",
    }
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


__all__ = ["clients_1", "clients_8", "clients_32", "label_in_batches", "label_in_lanes", "measure"]
