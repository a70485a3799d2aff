"""Training time of each stage of a run, also across interruptions and for stages taken over from another run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from genie_core.data.storage.atomic import write_text
from genie_core.training.loop import Reporter

STAGES = ("tokenizer", "lam", "dynamics")


class StageClock:
    """A reporter that also records each stage's seconds in a file, and forwards everything to another reporter.

    Steps that an interrupted run lost after its last checkpoint are not counted: the recorded time is that of the steps
    in the result.
    """

    def __init__(self, inner: Reporter, path: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._inner, self._path, self._now = inner, path, now
        self._began = 0.0
        self._before = 0.0

    def start(self, stage: str, step: int, steps: int) -> None:
        """Record that a stage starts, or resumes, at `step`."""
        self._inner.start(stage, step, steps)
        done, seconds = read_clock(self._path).get(stage, (0, 0.0))
        self._before = seconds * min(1.0, step / done) if done else 0.0
        self._began = self._now()

    def step(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        """Record smoothed metrics after `step` steps."""
        self._inner.step(stage, step, metrics)
        if stage in STAGES:
            write_clock(self._path, stage, step, self._before + self._now() - self._began)


def read_clock(path: Path) -> dict[str, tuple[int, float]]:
    """Return steps and seconds of each stage so far; empty if there is no file yet."""
    if not path.exists():
        return {}
    return {stage: (int(steps), float(seconds)) for stage, (steps, seconds) in json.loads(path.read_text()).items()}


def write_clock(path: Path, stage: str, step: int, seconds: float) -> None:
    """Record that the first `step` steps of a stage took `seconds`."""
    content = read_clock(path) | {stage: (step, seconds)}
    write_text(path, json.dumps(content) + "\n")


__all__ = ["STAGES", "StageClock", "read_clock", "write_clock"]
