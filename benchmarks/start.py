"""Times how soon after its start a server gives a client its first label."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.episodes import FPS, make_clip
from benchmarks.measured import Measured
from benchmarks.processes import serving
from benchmarks.row import Samples
from benchmarks.timing import ROUNDS
from genie_client import Client
from genie_core.bundles import DEFAULT

_FRAMES = 17


def start_to_first_label(quick: bool) -> list[Measured]:
    """Return the seconds from starting the server's process."""
    clip = make_clip(_FRAMES)
    ready: list[float] = []
    first: list[float] = []
    for _ in range(1 if quick else ROUNDS):
        with serving(model=DEFAULT) as server, Client(server.address) as client:
            labels = client.label(clip, fps=FPS)
            first.append(time.perf_counter() - server.started)
            ready.append(server.ready - server.started)
            if not labels.valid[0]:
                raise RuntimeError("the first label is not valid")
    measured = {"ready": Samples.of(ready, "s"), "first_label": Samples.of(first, "s")}
    return [Measured(value=median(first), measured=measured)]


__all__ = ["start_to_first_label"]
