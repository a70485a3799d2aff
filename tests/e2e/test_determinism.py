"""A label is a function of the bundle and the episode alone: a matrix of ways to get it, all compared bit for bit."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from genie_client import Client
from genie_client.bulk import LabelPlan, label_dataset
from genie_client.embedded import embedded_server
from genie_core.data import Density, Labels, open_dataset, open_labelled
from genie_core.errors import GenieError
from genie_core.inference import Labeller, Sampling, Simulator
from genie_core.models.bundle import load_bundle
from tests.factories.bundles import make_nano_bundle
from tests.support.service_server import serving

FIELDS = ("code", "latent", "confidence", "valid")
LEAST_TRANSITIONS = 100_000

SERVERS = {
    "one by one": {"max_batch": 1, "lanes": 1, "threads": 1},
    "batches in all threads": {"max_batch": 8, "lanes": 1, "threads": 2, "batch_wait_ms": 2.0},
    "lanes": {"max_batch": 4, "lanes": 3, "threads": 3},
}
CHUNKS = (7, 64, 1000)
CLIENTS = (1, 4, 16)


@dataclass(frozen=True)
class Take:
    """An episode and how it is labelled, with the labels that every way must give."""

    frames_THWC: NDArray[np.uint8]
    step: int
    density: Density
    wanted: Labels


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_nano_bundle(tmp_path_factory.mktemp("bundles") / "nano")


@pytest.fixture(scope="module")
def takes(bundle: Path) -> list[Take]:
    """Episodes of many lengths, one block and none included, labelled in process, one block at a time."""
    labeller, rng = Labeller(load_bundle(bundle)), np.random.default_rng(0)
    found = []
    for i, length in enumerate([2, 3, 15, 16, 17, 33, 500, *rng.integers(100, 400, size=15).tolist()]):
        frames = rng.integers(256, size=(length, 32, 32, 3), dtype=np.uint8)
        step, density = (1, 1, 3, 2)[i % 4], "strided" if i % 4 == 3 else "dense"
        found.append(Take(frames, step, density, labeller.label(frames, step, density)))
    return found


def assert_same(found: Labels, wanted: Labels) -> int:
    """How many transitions agree: all of them."""
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(found, field), getattr(wanted, field))
    return int(wanted.valid.sum())


def label(address: str, take: Take, chunk: int) -> Labels:
    frames = take.frames_THWC
    chunks = (frames[at : at + chunk] for at in range(0, len(frames), chunk))
    with Client(address) as client, client.label_stream(chunks, step=take.step, density=take.density) as stream:
        return stream.read_all()


@contextmanager
def somebody_playing(address: str, prompt: NDArray[np.uint8]) -> Iterator[None]:
    """Another client simulates for as long as the block lasts."""
    stop = threading.Event()

    def play() -> None:
        with Client(address) as client, client.play(prompt, maskgit_steps=2) as session:
            while not stop.wait(0.02):
                session.step(1)

    with ThreadPoolExecutor(1) as pool:
        playing = pool.submit(play)
        try:
            yield
        finally:
            stop.set()
        playing.result(60)


def test_no_chunk_batch_lane_thread_or_other_client_changes_a_bit(bundle: Path, takes: list[Take]) -> None:
    compared = 0
    for flags in SERVERS.values():
        with (
            serving(bundle, **flags) as running,
            somebody_playing(running.server.address, takes[5].frames_THWC[:2]),
        ):
            for chunk, clients in itertools.product(CHUNKS, CLIENTS):
                with ThreadPoolExecutor(clients) as pool:
                    found = pool.map(lambda take: label(running.server.address, take, chunk), takes)  # noqa: B023
                    compared += sum(assert_same(a, take.wanted) for a, take in zip(found, takes, strict=True))
    assert compared >= LEAST_TRANSITIONS


def test_a_file_labelled_by_a_process_of_its_own_and_resumed_by_another_has_the_same_labels(
    bundle: Path, takes: list[Take], tmp_path: Path
) -> None:
    data = tmp_path / "data.hdf5"
    dense = [take for take in takes if take.step == 1]
    with h5py.File(data, "w") as file:
        for i, take in enumerate(dense):
            file[f"data/demo_{i}/obs/agentview_image"] = take.frames_THWC
    dataset = open_dataset(data, fps=10)
    plan = LabelPlan(tmp_path / "out.hdf5", jobs=3, patience_s=0)
    with serving(bundle) as running, Client(running.server.address) as client, ThreadPoolExecutor(1) as pool:
        # It waits for the end of the server: the few episodes that are left would be done meanwhile.
        killer = _After(4.5, lambda: pool.submit(running.run, running.server.drain(0)).result())
        with pytest.raises(GenieError):
            label_dataset(client, dataset, plan, killer)
    with embedded_server(bundle) as address, Client(address) as client:
        told: dict[str, Labels] = {}
        report = label_dataset(client, dataset, replace(plan, finished=lambda e, labels: told.update({e.name: labels})))
    assert 0 < report.found < len(dense)
    assert len(told) == report.labelled
    labelled = open_labelled(tmp_path / "out.hdf5")
    for name, labels in told.items():
        assert_same(labels, labelled.labels(name)[0])
    for i, take in enumerate(dense):
        labels, attrs = labelled.labels(f"demo_{i}")
        assert_same(labels, take.wanted)
        assert attrs.precision == "float32"


class _After:
    """Calls `act` once so many episodes are done."""

    def __init__(self, episodes: float, act: Callable[[], object]) -> None:
        self._left = episodes
        self._act = act
        self._lock = threading.Lock()

    def __call__(self, episodes: float) -> None:
        with self._lock:
            before, self._left = self._left, self._left - episodes
            if before >= 0 > self._left:
                self._act()


def test_a_rollout_is_the_same_whatever_else_runs(bundle: Path, takes: list[Take]) -> None:
    simulator = Simulator(load_bundle(bundle))
    prompts = [take.frames_THWC[:2] for take in takes[2:10]]
    actions = [1, 5, 2, 2, 7, 0]
    wanted = [simulator.rollout(p, actions, Sampling(4, 1.0, seed=n)) for n, p in enumerate(prompts)]
    for flags in SERVERS.values():
        with (
            serving(bundle, **flags) as running,
            Client(running.server.address) as client,
            ThreadPoolExecutor(len(prompts) + 8) as pool,
        ):
            labels = [pool.submit(label, running.server.address, take, 64) for take in takes[:8]]
            rollouts = [
                pool.submit(client.rollout, p, actions, maskgit_steps=4, temperature=1.0, seed=n)
                for n, p in enumerate(prompts)
            ]
            for found, want in zip(rollouts, wanted, strict=True):
                np.testing.assert_array_equal(found.result(60), want)
            for done, take in zip(labels, takes, strict=False):
                assert_same(done.result(60), take.wanted)
