"""Episodes of every format are read lazily by several processes at once: the same frames, at constant memory."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data import Episode, ReadOptions, open_dataset
from tests.factories.data import make_aloha, make_libero, make_nested, make_robomimic, make_video
from tests.factories.lerobot import make_lerobot_v21, make_lerobot_v30

NESTED = ReadOptions(frames_path="trajectories/*/images/front", fps=10)
MAKERS: dict[str, tuple[Callable[[Path], object], ReadOptions]] = {
    "set_robomimic.hdf5": (partial(make_robomimic, episodes=4), ReadOptions()),
    "set_libero.hdf5": (partial(make_libero, episodes=4), ReadOptions()),
    "set_aloha.hdf5": (make_aloha, ReadOptions(fps=50)),
    "set_compressed.hdf5": (partial(make_aloha, compressed=True), ReadOptions(fps=50)),
    "set_nested.h5": (partial(make_nested, storage="vlen"), NESTED),
    "set.mp4": (make_video, ReadOptions()),
    "v21": (make_lerobot_v21, ReadOptions()),
    "v30": (make_lerobot_v30, ReadOptions()),
}


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as workers:
        yield workers


def content(episode: Episode) -> tuple[str, bytes, float | None, tuple[int, ...] | None]:
    actions = episode.actions
    return episode.name, episode.frames().tobytes(), episode.fps, None if actions is None else actions.shape


@pytest.mark.parametrize("name", MAKERS)
def test_spawned_workers_read_the_same_frames(tmp_path: Path, pool: ProcessPoolExecutor, name: str) -> None:
    make, options = MAKERS[name]
    make(tmp_path / name)
    episodes = open_dataset(tmp_path / name, options=options).episodes
    assert list(pool.map(content, [*episodes, *episodes])) == [content(episode) for episode in [*episodes, *episodes]]


_READ_ALL = """
import resource, sys
from pathlib import Path
from genie_core.data import ReadOptions, open_dataset
episode, = open_dataset(sys.argv[1], options=ReadOptions(frames_path="rgb", fps=10)).episodes
list(episode.frames(0, 8))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(len(chunk) for chunk in episode.chunks(8))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_long_episode_is_read_at_constant_memory(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "long.h5", "w") as file:  # 300 MB of frames, but nothing of it on the disk
        file.create_dataset("rgb", (1000, 320, 320, 3), np.uint8, chunks=(1, 320, 320, 3), compression="gzip")
    command = [sys.executable, "-c", _READ_ALL, str(tmp_path / "long.h5")]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(said[0]) == 1000
    assert int(said[1]) < 60_000  # KiB
