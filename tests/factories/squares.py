"""Makes robot video whose truth is known to the pixel: a textured square that is moved over a still background."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

SIDE = 14
"""Of the square, pixels."""
FASTEST = 3
"""Pixels a frame along each axis."""


def make_squares(path: Path, episodes: int = 6, frames: int = 24, size: int = 32, fps: float | None = 10) -> Path:
    """A robomimic file; ``obs/square`` is the square's place, (T, 2) y and x in pixels, whose change is its motion.

    ``obs/mood`` is 1 in an episode's first half and 2 in its second, ``obs/turn`` an angle that passes pi.
    """
    with h5py.File(path, "w") as file:
        kwargs = {} if fps is None else {"control_freq": fps}
        file.create_group("data").attrs["env_args"] = json.dumps({"env_name": "Sq", "type": 1, "env_kwargs": kwargs})
        file["data"].attrs["total"] = np.int64(episodes * frames)
        for index in range(episodes):
            rng = np.random.default_rng([index, 7])
            place_T2 = square_places(frames, size, rng)
            demo = file.create_group(f"data/demo_{index}")
            demo.attrs["num_samples"] = np.int64(frames)
            demo["actions"] = np.diff(place_T2, axis=0, append=place_T2[-1:]).astype(np.float64)
            demo["obs/agentview_image"] = draw_squares(place_T2, size, rng)
            demo["obs/square"] = place_T2.astype(np.float64)
            demo["obs/mood"] = np.where(np.arange(frames) < frames // 2, 1, 2)
            demo["obs/turn"] = (np.arange(frames) * 0.5 + np.pi) % (2 * np.pi) - np.pi
        file["mask/valid"] = np.array([f"demo_{index}" for index in range(episodes - 1)], "S")
    return path


def square_places(frames: int, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A random walk of whole pixels within the picture, (T, 2)."""
    place, places = rng.integers(0, size - SIDE, 2), []
    for _ in range(frames):
        places.append(place)
        place = np.clip(place + rng.integers(-FASTEST, FASTEST + 1, 2), 0, size - SIDE)
    return np.stack(places)


def draw_squares(place_T2: NDArray[np.int64], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The frames (T, size, size, 3): smooth textures, the square bright and the background dark."""
    back_HWC = _texture(size, 20, 60, rng)
    square_HWC = _texture(SIDE, 120, 255, rng)
    frames_THWC = np.repeat(back_HWC[None], len(place_T2), axis=0)
    for frame_HWC, (y, x) in zip(frames_THWC, place_T2, strict=True):
        frame_HWC[y : y + SIDE, x : x + SIDE] = square_HWC
    return frames_THWC


def _texture(size: int, low: int, high: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    coarse = rng.uniform(low, high, (size // 4 + 2, size // 4 + 2, 3))
    fine = np.repeat(np.repeat(coarse, 4, axis=0), 4, axis=1)
    for _ in range(2):  # smooth, so that its motion can be seen
        fine = (fine + np.roll(fine, 1, 0) + np.roll(fine, 1, 1) + np.roll(fine, (1, 1), (0, 1))) / 4
    return fine[:size, :size].astype(np.uint8)
