"""What a policy is tried on: a task that makes demonstrations and counts success. Knows no policy and no torch.

Two kinds are real: the simulated one below, and the small drawn one that the tests use where no simulator is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from genie_core.data import Frames
from genie_core.errors import DatasetError
from genie_core.progress import Progress
from genie_core.sim import FPS, LookStyle, Robot, SimConfig

Array = NDArray[np.float64]

DEMONSTRATION_FRAMES = 14
"""The expert has arrived after 4 to 11 steps and hovers for the rest."""


class Environment(Protocol):
    """One episode at a time, seen as pictures. An episode is a function of its number and of the actions."""

    def reset(self, number: int) -> None:
        """Begin episode `number`."""
        ...

    def frame(self) -> Frames:
        """What is seen now, (H, W, 3) uint8."""
        ...

    def step(self, action: Array) -> None:
        """Carry an action out."""
        ...

    def succeeded(self) -> bool:
        """Whether the task is done now, by its own state and not by its picture."""
        ...


class Task(Protocol):
    """A task as data: it crosses to worker processes, and its fields are part of what results depend on."""

    def __hash__(self) -> int: ...

    @property
    def name(self) -> str:
        """For the report."""
        ...

    @property
    def action_size(self) -> int:
        """Numbers of an action, each in [-1, 1]."""
        ...

    @property
    def fps(self) -> float:
        """Frames and actions a second."""
        ...

    @property
    def max_steps(self) -> int:
        """Steps after which an episode without success has failed."""
        ...

    def identity(self) -> dict[str, object]:
        """Everything that demonstrations and episodes depend on, as JSON."""
        ...

    def demonstrate(self, count: int, out: Path, jobs: int, progress: Progress) -> None:
        """Write the expert's episodes to `out`, HDF5 in robomimic's layout, whole or not at all."""
        ...

    def environment(self) -> Environment:
        """Make the environment of the episodes that are evaluated; in a process of its own."""
        ...


class ReachTask(BaseModel):
    """Reaching in the simulator (`genie_core.sim.task_reach`), in our laboratory or under randomised looks.

    Demonstrations and evaluated episodes have seeds of their own, so that no start is in both.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    robot: Robot = "Panda"
    looks: LookStyle = "laboratory"
    demonstration_seed: int = Field(500, ge=0)
    evaluation_seed: int = Field(701, ge=0)
    max_steps: int = Field(16, ge=1, description="steps an episode; the expert takes 4 to 11")

    @property
    def name(self) -> str:
        """For the report."""
        return f"reach ({self.robot}, {self.looks})"

    @property
    def action_size(self) -> int:
        """A translation."""
        return 3

    @property
    def fps(self) -> float:
        """See `Task`."""
        return FPS

    def identity(self) -> dict[str, object]:
        """The fields, the rules of the task and the versions of the simulator."""
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
        """See `Task`. Raises DatasetError where the simulator is not installed."""
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
            make_demonstrator,
        )

    def environment(self) -> Environment:
        """See `Task`."""
        from genie_core.sim import backend
        from genie_core.sim.task_reach import Reach

        backend.prepare(backend.choose_gl())
        return Reach(self._config(self.evaluation_seed))

    def check(self) -> None:
        """Raises DatasetError where the simulator is not installed or the seeds are the same."""
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
