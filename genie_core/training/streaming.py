"""Training frames decoded when they are drawn: no copy of the data on disk, and memory of one batch at a time.

Which clips are drawn depends on the seed and the step alone, as with frames stored once, and so do their bits.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Episode, resize_frames

_MOST_THREADS = 8
_CHUNK = 32
"""Frames of an episode that are held at their own size at a time."""


class StreamedFrames:
    """All frames of a set of episodes at one size, (total, H, W, 3) uint8, none of which is kept."""

    def __init__(self, episodes: Sequence[Episode], height: int, width: int, threads: int | None = None) -> None:
        """Read the number of frames of every episode.

        Args:
            episodes: in the order of their frames.
            height: of the frames, pixels.
            width: of the frames, pixels.
            threads: that decode, each an episode at a time; None: one a core, at most 8.

        Raises:
            DatasetError: an episode cannot be read.

        """
        self._episodes = tuple(episodes)
        self._ends = np.cumsum([episode.num_frames for episode in episodes], dtype=np.int64)
        self.shape = (int(self._ends[-1]) if len(self._ends) else 0, height, width, 3)
        self._threads = threads or max(1, min(_MOST_THREADS, os.cpu_count() or 1))

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        """Decode the frames of these numbers; shape: that of `rows`, then (H, W, 3). Raises DatasetError."""
        wanted = np.arange(*rows.indices(self.shape[0])) if isinstance(rows, slice) else np.asarray(rows)
        flat = wanted.reshape(-1)
        found = np.empty((len(flat), *self.shape[1:]), np.uint8)
        of_episode = np.searchsorted(self._ends, flat, side="right")
        with ThreadPoolExecutor(self._threads, "genie-decode") as pool:
            tasks = [
                pool.submit(self._fill, int(index), flat, np.flatnonzero(of_episode == index), found)
                for index in np.unique(of_episode)
            ]
            for task in tasks:
                task.result()
        return found.reshape((*wanted.shape, *self.shape[1:]))

    def _fill(self, index: int, rows: NDArray[np.int64], places: NDArray[np.int64], found: NDArray[np.uint8]) -> None:
        """Decode the frames of one episode into their places; runs of frames that lie close together in one pass."""
        episode, first = self._episodes[index], int(self._ends[index]) - self._episodes[index].num_frames
        order = places[np.argsort(rows[places], kind="stable")]
        local = rows[order] - first
        for part in np.split(np.arange(len(order)), np.flatnonzero(np.diff(local) > _CHUNK) + 1):
            self._read(episode, local[part], order[part], found)

    def _read(
        self, episode: Episode, local: NDArray[np.int64], places: NDArray[np.int64], found: NDArray[np.uint8]
    ) -> None:
        _, height, width, _ = self.shape
        for begin in range(int(local[0]), int(local[-1]) + 1, _CHUNK):
            inside = (local >= begin) & (local < begin + _CHUNK)
            if inside.any():
                stop = int(local[inside][-1]) + 1
                start = int(local[inside][0])
                frames = episode.frames(start, stop)[local[inside] - start]
                found[places[inside]] = resize_frames(frames, height, width)


__all__ = ["StreamedFrames"]
