"""Tasks of the cloning experiment: they make demonstrations and count success. Knows no policy and no torch.

There are two: the simulated one below, and a small drawn one that the tests use without a simulator.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from genie_core.data import Frames
from genie_core.errors import DatasetError
from genie_core.progress import Progress
from genie_core.sim import FPS, LookStyle, Robot, SimConfig
from genie_core.sim.task_reach import ExpertStyle

Array = NDArray[np.float64]

DEMONSTRATION_FRAMES = 14
"""Frames of a demonstration: the expert arrives after 4 to 11 steps and hovers for the rest."""


class Environment(Protocol):
    """One episode at a time, seen as pictures. An episode is a function of its number and of the actions."""

    def reset(self, number: int) -> None:
        """Start episode `number`."""
        ...

    def frame(self) -> Frames:
        """Return the current picture, (H, W, 3) uint8."""
        ...

    def step(self, action: Array) -> None:
        """Execute an action."""
        ...

    def succeeded(self) -> bool:
        """Return whether the task is done now, judged by its state and not by the picture."""
        ...


class Task(Protocol):
    """A task as data: it is sent to worker processes, and results depend on its fields."""

    def __hash__(self) -> int: ...

    @property
    def name(self) -> str:
        """Name in the report."""
        ...

    @property
    def action_size(self) -> int:
        """Number of components of an action, each in [-1, 1]."""
        ...

    @property
    def fps(self) -> float:
        """Frames and actions per second."""
        ...

    @property
    def max_steps(self) -> int:
        """Number of steps after which an episode without success has failed."""
        ...

    def identity(self) -> dict[str, object]:
        """Return everything that demonstrations and episodes depend on, as JSON."""
        ...

    def demonstrate(self, count: int, out: Path, jobs: int, progress: Progress) -> None:
        """Write the expert's episodes to `out`, HDF5 in robomimic's layout, whole or not at all."""
        ...

    def environment(self) -> Environment:
        """Create the environment of the evaluation episodes; call it in a separate process."""
        ...


class ReachTask(BaseModel):
    """Reaching in the simulator (`genie_core.sim.task_reach`), in the laboratory or with randomised looks.

    Demonstrations and evaluation have separate seeds, so that they share no start state.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    robot: Robot = "Panda"
    looks: LookStyle = "laboratory"
    expert: ExpertStyle = "axes"
    demonstration_seed: int = Field(500, ge=0)
    evaluation_seed: int = Field(701, ge=0)
    max_steps: int = Field(16, ge=1, description="steps per episode; the expert takes 4 to 11")

    @property
    def name(self) -> str:
        """Name in the report."""
        moves = "" if self.expert == "axes" else f", {self.expert}"
        return f"reach ({self.robot}, {self.looks}{moves})"

    @property
    def action_size(self) -> int:
        """Three: a translation."""
        return 3

    @property
    def fps(self) -> float:
        """See `Task`."""
        return FPS

    def identity(self) -> dict[str, object]:
        """Return the fields, the rules of the task and the versions of the simulator."""
        from genie_core.sim import backend, task_reach

        rules = {
            "frames": DEMONSTRATION_FRAMES,
            "above_m": task_reach.ABOVE_M,
            "reached_m": task_reach.REACHED_M,
            "least_way_m": task_reach.LEAST_WAY_M,
            "expert_noise": task_reach.EXPERT_NOISE,
        }
        return {**self.model_dump(mode="json"), **rules, "software": backend.software(backend.choose_gl())}

    def demonstrate(self, count: int, out: Path, jobs: int, progress: Progress) -> None:
        """See `Task`. Raises DatasetError if the simulator is not installed."""
        from genie_core.sim import backend
        from genie_core.sim.generate import fill
        from genie_core.sim.task_reach import make_demonstrator

        gl = backend.choose_gl()
        fill(
            self._config(self.demonstration_seed),
            count,
            out,
            jobs,
            progress,
            gl,
            backend.software(gl),
            partial(make_demonstrator, style=self.expert),
        )

    def environment(self) -> Environment:
        """See `Task`."""
        from genie_core.sim import backend
        from genie_core.sim.task_reach import Reach

        backend.prepare(backend.choose_gl())
        return Reach(self._config(self.evaluation_seed))

    def check(self) -> None:
        """Raise DatasetError if the simulator is not installed or the two seeds are the same."""
        from genie_core.sim import backend

        if self.demonstration_seed == self.evaluation_seed:
            raise DatasetError(
                f"seed: got {self.evaluation_seed} for demonstrations and for evaluation, expected two seeds"
            )
        backend.require_packages()
        backend.choose_gl()

    def _config(self, seed: int) -> SimConfig:
        return SimConfig(robot=self.robot, frames=DEMONSTRATION_FRAMES, looks=self.looks, seed=seed)


__all__ = ["Array", "Environment", "ReachTask", "Task"]
