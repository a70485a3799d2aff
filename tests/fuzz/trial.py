"""One input through a target, with what it may cost; what is not allowed is a find."""

from __future__ import annotations

import resource
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from genie_core.errors import GenieError
from tests.fuzz.target import Target

MOST_SECONDS = 2.0
"""Of processor time, so that a busy machine finds nothing that is not there."""

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Find:
    """What an input did that it must not: finds of one `kind` are one find.

    Attributes:
        kind: an exception and where it came from, ``slow`` or ``memory``.
        text: for the reader.

    """

    kind: str
    text: str


@dataclass(frozen=True)
class Cost:
    """Processor time of an input, seconds, and by how much it raised the peak of the process's memory, MiB."""

    seconds: float
    memory_mib: float


def try_input(target: Target, data: bytes, folder: Path) -> tuple[Find | None, Cost]:
    """Read one input."""
    found: Find | None = None
    before, began = peak_mib(), time.process_time()
    try:
        target.read(data, folder)
    except GenieError:
        pass
    except Exception as error:
        found = Find(f"{type(error).__name__} {_origin(error)}", "".join(traceback.format_exception(error)))
    cost = Cost(time.process_time() - began, peak_mib() - before)
    if found is None and cost.seconds > MOST_SECONDS:
        found = Find("slow", f"took {cost.seconds:.1f} s, expected at most {MOST_SECONDS:g}")
    if found is None and cost.memory_mib > target.memory_mib:
        found = Find("memory", f"took {cost.memory_mib:.0f} MiB, expected at most {target.memory_mib}")
    return found, cost


def peak_mib() -> float:
    """The most memory that this process has ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _origin(error: BaseException) -> str:
    """The last line of ours that the exception went through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/genie_" in frame.filename] or frames
    file = Path(ours[-1].filename)
    name = file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else file.name
    return f"{name}:{ours[-1].lineno}"
