"""Measures how peak memory of client and server grows with an episode's length."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.episodes import write_episodes
from benchmarks.measured import Measured
from benchmarks.processes import label_peak_mb, peak_mb, serving
from benchmarks.row import Samples
from benchmarks.timing import ROUNDS
from genie_core.bundles import DEFAULT

SHORT, LONG, QUICK_LONG = 1_000, 100_000, 3_000


def growth(quick: bool) -> list[Measured]:
    """Growth of the client and of the server, MB."""
    frames = {"short": SHORT, "long": QUICK_LONG if quick else LONG}
    peaks: dict[str, dict[str, list[float]]] = {side: {name: [] for name in frames} for side in ("client", "server")}
    with tempfile.TemporaryDirectory() as folder:
        data = {name: write_episodes(Path(folder) / f"{name}.hdf5", 1, count) for name, count in frames.items()}
        rounds = range(1 if quick else ROUNDS)
        with ThreadPoolExecutor(len(rounds)) as pool:  # memory does not depend on what runs beside
            for name, path in data.items():
                for client, server in pool.map(partial(_label, path), rounds):
                    peaks["client"][name].append(client)
                    peaks["server"][name].append(server)
    return [_growth(peaks[side], frames) for side in ("client", "server")]


def _label(path: Path, index: int) -> tuple[float, float]:
    """Measure peak memory of a fresh client and server that label one file, MB; `index` makes output names unique."""
    out = path.with_suffix(f".{index}.labelled.hdf5")
    with serving(model=DEFAULT) as server:
        client = label_peak_mb(str(path), "--server", server.address, "--out", str(out), "--overwrite")
        return client, peak_mb(server.pid)


def _growth(peaks: dict[str, list[float]], frames: dict[str, int]) -> Measured:
    grown = [long - short for long, short in zip(peaks["long"], peaks["short"], strict=True)]
    samples = {name: Samples.of(values, "MB") for name, values in {**peaks, "growth": grown}.items()}
    return Measured(value=median(grown), measured=samples, facts={f"{n}_frames": c for n, c in frames.items()})


__all__ = ["growth"]
