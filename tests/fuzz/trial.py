"""One input through a target, with what it may cost; what is not allowed is a find."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from genie_core.errors import GenieError
from tests.fuzz.target import Taken, Target, forget_peak, peak_mib

MOST_SECONDS = 2.0
"""Of processor time, so that a busy machine finds nothing that is not there."""

ROOT = Path(__file__).resolve().parents[2]
KNOWN = "known-"
"""Beginning of the names of inputs whose cost is that of a library's known defect alone."""


@dataclass(frozen=True)
class Find:
    """What an input did that it must not: finds of one `kind` are one find.

    Attributes:
        kind: an exception and where it came from, ``slow`` or ``memory``.
        text: for the reader.
        is_known: whether it comes of a library's known defect alone.

    """

    kind: str
    text: str
    is_known: bool = False


@dataclass(frozen=True)
class Cost:
    """Processor time of an input, seconds, and by how much it raised the peak of the process's memory, MiB.

    What a library's known defect took is not in them.
    """

    seconds: float
    memory_mib: float


def try_input(target: Target, data: bytes, folder: Path, *, says: bool = False) -> tuple[Find | None, Cost]:
    """Read one input; with `says` standard error tells when a library's known defect may be at work."""
    found: Find | None = None
    before, began = peak_mib(), time.process_time()
    with target.taken(says) as taken:
        try:
            target.read(data, folder)
        except GenieError:
            pass
        except Exception as error:
            found = Find(f"{type(error).__name__} {_origin(error)}", "".join(traceback.format_exception(error)))
    seconds, memory_mib = time.process_time() - began, peak_mib() - before
    if memory_mib > target.memory_mib:
        forget_peak()  # or it would hide all that comes after it
    found = found or judge(target, seconds, memory_mib, taken)
    return found, Cost(max(0.0, seconds - taken.seconds), max(0.0, memory_mib - taken.memory_mib))


def judge(target: Target, seconds: float, memory_mib: float, taken: Taken) -> Find | None:
    """Say whether an input took more than it may, and whether what it took besides the known defect is allowed."""
    if seconds - taken.seconds > MOST_SECONDS:
        return Find("slow", f"took {seconds:.1f} s, expected at most {MOST_SECONDS:g}")
    if memory_mib - taken.memory_mib > target.memory_mib:
        return Find("memory", f"took {memory_mib:.0f} MiB, expected at most {target.memory_mib}")
    if seconds > MOST_SECONDS:
        return Find("slow, known", f"{taken.why}: {taken.seconds:.1f} s of {seconds:.1f}", True)
    if memory_mib > target.memory_mib:
        return Find("memory, known", f"{taken.why}: {taken.memory_mib:.0f} MiB of {memory_mib:.0f}", True)
    return None


def _origin(error: BaseException) -> str:
    """The last line of ours that the exception went through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/genie_" in frame.filename] or frames
    file = Path(ours[-1].filename)
    name = file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else file.name
    return f"{name}:{ours[-1].lineno}"
