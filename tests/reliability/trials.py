"""What a trial is: kill a command, once or more, then run the same command, and look at what there is."""

from __future__ import annotations

import hashlib
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.reliability.commands import STEPS, Ended, Point, count_steps, run


@dataclass(frozen=True)
class Task:
    """A command, and what it is run on.

    Attributes:
        name: what the trials are called.
        words: after ``genie``.
        inputs: folder whose content is there before.
        output: what it makes; of a command that works in place the input itself.

    """

    name: str
    words: tuple[str, ...]
    inputs: Path
    output: str

    def begin(self, folder: Path) -> None:
        """Make `folder` what it is before the command: the same path, times and bytes at every trial."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.inputs, folder)


@dataclass
class Tally:
    """What came of trials."""

    trials: int = 0
    kills: int = 0
    too_late: int = 0
    failures: list[str] = field(default_factory=list)

    def line(self, name: str) -> str:
        """One line for a report."""
        good = self.trials - len(self.failures)
        late = f", {self.too_late} of them when the command had done all" if self.too_late else ""
        return f"{name}: {good} of {self.trials} trials good, {self.kills} kills{late}"


def reference(task: Task, folder: Path) -> dict[str, str]:
    """What a run that nobody disturbs makes."""
    task.begin(folder)
    ended = run(task.words, folder)
    if ended.code:
        raise RuntimeError(f"{task.name}: {ended.said}")
    return contents(folder)


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder`, by its path; of every folder its path alone."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def try_once(task: Task, folder: Path, kills: Sequence[Point | float], expected: dict[str, str], tally: Tally) -> None:
    """One trial: each of `kills` strikes a run of the command, the last run is left alone."""
    task.begin(folder)
    tally.trials += 1
    print(f"{task.name}: trial {tally.trials}: {', '.join(map(str, kills))}", file=sys.stderr, flush=True)
    for kill in kills:
        ended = run(task.words, folder, kill)
        tally.kills += ended.code == -9
        broken = is_broken(task, folder, expected)
        if broken:
            tally.failures.append(f"{task.name} killed {kill}: {broken}")
            return
        if ended.code == 0:
            break
    judge(task, folder, run(task.words, folder), expected, tally, ", ".join(map(str, kills)))


def judge(task: Task, folder: Path, last: Ended, expected: dict[str, str], tally: Tally, how: str) -> None:
    """Say what the last run of a trial came to."""
    there = contents(folder)
    is_export = task.words[0] == "export"
    had_ended = "is complete" in last.said or (is_export and last.code == 2 and "exists already" in last.said)
    if there != expected:
        wrong = sorted(set(there.items()) ^ set(expected.items()))
        tally.failures.append(f"{task.name} killed {how}: {[name for name, _ in wrong][:6]}: {last.said[-300:]}")
    elif last.code and not (is_export and had_ended):
        tally.failures.append(f"{task.name} killed {how}: the same command failed: {last.said[-300:]}")
    tally.too_late += had_ended


def is_broken(task: Task, folder: Path, expected: dict[str, str]) -> str:
    """What is wrong right after a kill: an output that is half there, or an input that has changed."""
    there = contents(folder)
    before = contents(task.inputs)
    wrong = [
        name
        for name, digest in there.items()
        if (name == task.output or name.startswith(f"{task.output}/") or name in before)
        and digest not in (expected.get(name), before.get(name))
    ]
    return f"{wrong[:4]} are neither as before nor as after" if wrong else ""


def every_point(task: Task, folder: Path) -> list[Point]:
    """Every step that the command takes on the disk, before and after."""
    task.begin(folder)
    counted: Counter[str] = count_steps(task.words, folder)
    return [Point(step, number, after) for step in STEPS for number in range(counted[step]) for after in (False, True)]


def at_points(task: Task, folder: Path, expected: dict[str, str], most: int, rng: random.Random) -> Tally:
    """Kill the command at every point, or at `most` of them, drawn."""
    points, tally = every_point(task, folder), Tally()
    for point in sorted(rng.sample(points, min(most, len(points))), key=points.index):
        try_once(task, folder, [point], expected, tally)
    return tally


def at_random(
    task: Task, folder: Path, expected: dict[str, str], trials: int, seconds: float, rng: random.Random
) -> Tally:
    """Kill the command one to three times after random times of up to `seconds`."""
    tally = Tally()
    for _ in range(trials):
        try_once(task, folder, list(_times(rng, seconds)), expected, tally)
    return tally


def _times(rng: random.Random, seconds: float) -> Iterator[float]:
    for _ in range(rng.choice((1, 1, 2, 3))):
        yield rng.uniform(0.01, seconds)


__all__ = ["Tally", "Task", "at_points", "at_random", "contents", "judge", "reference"]
