"""A task without a simulator: a white dot is to be brought to a red one. Actions are steps of up to 3 pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from genie_core.progress import Progress

SIDE, STEP_PX, REACHED_PX = 24, 3.0, 2.0
FRAMES = 9


class Dots:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.hand = self.target = np.zeros(2)

    def reset(self, number: int) -> None:
        rng = np.random.default_rng([self.seed, number])
        self.target = rng.uniform(3, SIDE - 3, 2)
        while True:
            self.hand = rng.uniform(3, SIDE - 3, 2)
            if np.linalg.norm(self.hand - self.target) > 8:
                return

    def frame(self) -> NDArray[np.uint8]:
        picture = np.zeros((SIDE, SIDE, 3), np.uint8)
        grid = np.stack(np.mgrid[:SIDE, :SIDE], axis=-1)
        for place, channels in ((self.target, [0]), (self.hand, [1, 2])):
            near = np.clip(2.5 - np.linalg.norm(grid - place, axis=-1), 0, 1)
            picture[..., channels] = np.maximum(picture[..., channels], (255 * near[..., None]).astype(np.uint8))
        return picture

    def step(self, action: NDArray[np.float64]) -> None:
        self.hand = np.clip(self.hand + STEP_PX * action, 1, SIDE - 2)

    def succeeded(self) -> bool:
        return bool(np.linalg.norm(self.hand - self.target) <= REACHED_PX)

    def expert(self) -> NDArray[np.float64]:
        return np.clip((self.target - self.hand) / STEP_PX, -1, 1)


@dataclass(frozen=True)
class DotTask:
    name: str = "dots"
    action_size: int = 2
    fps: float = 10.0
    max_steps: int = 10
    seed: int = 1

    def identity(self) -> dict[str, object]:
        return {"name": self.name, "seed": self.seed}

    def demonstrate(self, count: int, out: Path, jobs: int, progress: Progress) -> None:
        world, rng = Dots(self.seed), np.random.default_rng(self.seed)
        with h5py.File(out, "w") as file:
            data = file.create_group("data")
            data.attrs["fps"] = 10.0
            for number in range(count):
                world.reset(number)
                frames, actions = [], []
                for _ in range(FRAMES):
                    frames.append(world.frame())
                    actions.append(np.clip(world.expert() + rng.normal(0, 0.1, 2), -1, 1))
                    world.step(actions[-1])
                demo = data.create_group(f"demo_{number}")
                demo.attrs["num_samples"] = FRAMES
                demo["obs/agentview_image"] = np.stack(frames)
                demo["actions"] = np.stack(actions)
                progress("episodes", number + 1, count)

    def environment(self) -> Dots:
        return Dots(self.seed + 1)
