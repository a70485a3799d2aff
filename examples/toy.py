"""A toy robot for the examples: a square on a table, pushed by at most 3 pixels a step, that shall go to a mark.

python examples/toy.py FOLDER [--videos N] [--frames N]

writes FOLDER/videos/*.mp4, in which an expert brings the square to the mark, without any action; and
FOLDER/few.hdf5, a few episodes of pushes anywhere with their actions, in robomimic's layout.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from genie_core.data import write_video

SIZE, SIDE, FASTEST, FPS = 64, 14, 3.0, 10.0
MARK = 8
Array = NDArray[np.float64]
Act = Callable[["World"], Array]


def texture(size: int, low: int, high: int, rng: np.random.Generator) -> Array:
    """A smooth picture, (size, size, 3)."""
    coarse = rng.uniform(low, high, (size // 4 + 2, size // 4 + 2, 3))
    rows = np.arange(size) / 4
    at, part = rows.astype(int), (rows % 1)[:, None, None]
    tall = coarse[at] * (1 - part) + coarse[at + 1] * part
    part = (rows % 1)[None, :, None]
    return np.asarray(tall[:, at] * (1 - part) + tall[:, at + 1] * part)


class World:
    """The toy itself: where the square is, where it shall go, and what that looks like.

    Attributes:
        rng: of what happens from here on.
        place: upper left corner of the square, y and x in pixels.
        mark: where that shall go.

    """

    def __init__(self, seed: int) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self._back, self._square = texture(SIZE, 20, 60, rng), texture(SIDE, 140, 255, rng)
        self.place = rng.uniform(4, SIZE - SIDE - 4, 2)
        self.mark = rng.uniform(8, SIZE - SIDE - 8, 2)

    def push(self, action: Array) -> None:
        """Move the square by an action, with a little noise; it stays in the picture."""
        moved = self.place + np.clip(action, -FASTEST, FASTEST) + self.rng.normal(0, 0.2, 2)
        self.place = np.clip(moved, 0, SIZE - SIDE)

    def look(self) -> NDArray[np.uint8]:
        """The picture, (64, 64, 3): the mark is blue, the square bright."""
        picture = self._back.copy()
        y, x = (self.mark + (SIDE - MARK) / 2).round().astype(int)
        picture[y : y + MARK, x : x + MARK] = (20, 40, 190)
        y, x = self.place.round().astype(int)
        picture[y : y + SIDE, x : x + SIDE] = self._square
        return picture.astype(np.uint8)


def seen(frame: NDArray[np.uint8]) -> Array:
    """Where the square is in a picture, of the world or simulated: the middle of what is bright."""
    bright = np.maximum(frame.astype(np.float64).mean(axis=2) - 100, 0)
    total = max(bright.sum(), 1e-9)
    grid = np.arange(SIZE)
    return np.array([(bright.sum(axis=1) * grid).sum(), (bright.sum(axis=0) * grid).sum()]) / total - (SIDE - 1) / 2


def expert(world: World) -> Array:
    """Straight to the mark."""
    return np.asarray(np.clip((world.mark - world.place) / 2, -FASTEST, FASTEST))


def anywhere(world: World) -> Array:
    """Any push."""
    return world.rng.uniform(-FASTEST, FASTEST, 2)


def episode(seed: int, frames: int, act: Act) -> tuple[NDArray[np.uint8], Array]:
    """Pictures (T, 64, 64, 3) of an episode, and the action at each, (T, 2)."""
    world, pictures, actions = World(seed), [], []
    for _ in range(frames):
        action = act(world)
        pictures.append(world.look())
        actions.append(action)
        world.push(action)
    return np.stack(pictures), np.stack(actions)


def record_actions(path: Path, episodes: int, frames: int, act: Act, seed: int = 1000) -> None:
    """Write episodes with their actions, in robomimic's layout."""
    with h5py.File(path, "w") as file:
        kind = {"env_name": "Toy", "type": 1, "env_kwargs": {"control_freq": FPS}}
        file.create_group("data").attrs["env_args"] = json.dumps(kind)
        file["data"].attrs["total"] = np.int64(episodes * frames)
        for index in range(episodes):
            pictures, actions = episode(seed + index, frames, act)
            demo = file.create_group(f"data/demo_{index}")
            demo.attrs["num_samples"] = np.int64(frames)
            demo["actions"], demo["obs/camera_image"] = actions, pictures


def main() -> None:
    """Write the videos and the few episodes."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("folder", type=Path)
    words.add_argument("--videos", type=int, default=80)
    words.add_argument("--frames", type=int, default=16)
    chosen = words.parse_args()
    videos = chosen.folder / "videos"
    videos.mkdir(parents=True)
    for index in range(chosen.videos):
        write_video(videos / f"take_{index:03d}.mp4", episode(index, chosen.frames, expert)[0], FPS)
    record_actions(chosen.folder / "few.hdf5", 8, 30, anywhere)
    print(f"wrote {chosen.videos} videos into {videos}, and {chosen.folder / 'few.hdf5'}")


if __name__ == "__main__":
    main()
