"""A real server on the GPU: how soon it labels, and whether company changes a bit of what it answers."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from benchmarks.episodes import FPS, make_clip
from benchmarks.gpu.found import Found
from benchmarks.gpu.labels import digest
from benchmarks.gpu.parts import Setting
from benchmarks.processes import serving
from genie_client import Client
from genie_core.data import Labels

COMMAND = (sys.executable, "-m", "benchmarks.gpu.server")
"""The server as it starts where neither Genie nor PyAV is installed."""


def measure(setting: Setting) -> Iterator[Found]:
    """Start to first label of each start; then clients one by one and all at once, over two starts."""
    clips = [make_clip(33 + 16 * (i % 3), seed=300 + i) for i in range(3 if setting.dry else 24)]
    digests = []
    for start in range(1 if setting.dry else 2):
        with serving("--device", setting.device, command=COMMAND) as server:
            with Client(server.address) as client:
                client.label(clips[0][:17], fps=FPS)
                first = time.perf_counter() - server.started
                name = f"server: start to first label, start {start + 1}"
                yield Found(name, first, "s", None, f"ready after {server.ready - server.started:.2f} s")
                alone = [client.label(clip, fps=FPS) for clip in clips]
            together = _at_once(server.address, clips)
        digests += [digest(alone), digest(together)]
    same = float(len(set(digests)) == 1)
    note = f"{len(clips)} clips, one client after another and all at once, {len(digests) // 2} starts"
    yield Found("server: labels of the same bits in any company", same, "x", 1.0, note)


def _at_once(address: str, clips: list[NDArray[np.uint8]]) -> list[Labels]:
    def label(clip: NDArray[np.uint8]) -> Labels:
        with Client(address) as client:
            return client.label(clip, fps=FPS)

    with ThreadPoolExecutor(len(clips)) as pool:
        return list(pool.map(label, clips))


__all__ = ["measure"]
