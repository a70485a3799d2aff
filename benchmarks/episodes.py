"""Writes robot-like video to label, in robomimic's layout: squares that move over a gradient. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

SIDE = 64
"""Height and width of frames: the shipped model's."""

FPS = 10
"""Frames a second: the shipped model's, so that a transition spans one frame."""

_CLIP = 500
"""Frames after which content repeats."""


def make_clip(frames: int = _CLIP, seed: int = 0) -> NDArray[np.uint8]:
    """(frames, 64, 64, 3) uint8: a gradient and three squares on smooth paths of their own."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    background = np.stack([x * 2, y * 2, x + y], axis=-1).astype(np.uint8)
    video = np.repeat(background[None], frames, axis=0)
    t = np.arange(frames)
    for side, colour in ((14, (250, 60, 30)), (10, (40, 220, 90)), (7, (240, 240, 60))):
        speed, phase = rng.uniform(0.02, 0.15, 2), rng.uniform(0, 6.3, 2)
        places = ((np.sin(t[:, None] * speed + phase) + 1) / 2 * (SIDE - side)).astype(int)
        for frame, (top, left) in zip(video, places, strict=True):
            frame[top : top + side, left : left + side] = colour
    return video


def write_episodes(path: Path, episodes: int, frames: int, first_seed: int = 0) -> Path:
    """Return a file of `episodes` episodes of `frames` frames each; content repeats within long ones."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        environment = {"env_name": "Squares", "type": 1, "env_kwargs": {"control_freq": FPS}}
        data.attrs["env_args"] = json.dumps(environment)
        data.attrs["total"] = np.int64(episodes * frames)
        for index in range(episodes):
            demo = data.create_group(f"demo_{index}")
            demo.attrs["num_samples"] = np.int64(frames)
            demo["actions"] = np.zeros((frames, 7))
            clip = make_clip(min(frames, _CLIP), first_seed + index)
            images = demo.create_dataset("obs/agentview_image", (frames, SIDE, SIDE, 3), np.uint8)
            for start in range(0, frames, len(clip)):
                images[start : start + len(clip)] = clip[: frames - start]
    return path


__all__ = ["FPS", "SIDE", "make_clip", "write_episodes"]
