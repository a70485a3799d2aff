"""What a run of a target has cost so far, in a file that outlives the process."""

from __future__ import annotations

import ctypes
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.fuzz.trial import Cost

_FIELDS = ("inputs", "slowest_s", "largest_mib", "early_mib", "late_mib")
_give_back = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)
"""glibc keeps what a large input freed, which is no leak."""

_WARM = 2_000
"""Inputs after which what grows is a leak: caches are full, and the corpus has most of what it will have."""


@dataclass(frozen=True)
class Tally:
    """Numbers in a file that is mapped into memory."""

    numbers: np.memmap[tuple[int], np.dtype[np.float64]]

    @classmethod
    def at(cls, path: Path) -> Tally:
        """The tally in a file, which is made if there is none."""
        mode = "r+" if path.exists() else "w+"
        return cls(np.memmap(path, np.float64, mode, shape=(len(_FIELDS),)))  # type: ignore[call-overload]

    @property
    def inputs(self) -> int:
        """How many were tried."""
        return int(self.numbers[0])

    @property
    def slowest_s(self) -> float:
        """Processor time of the slowest, seconds."""
        return float(self.numbers[1])

    @property
    def largest_mib(self) -> float:
        """The most by which one raised the peak of memory, MiB."""
        return float(self.numbers[2])

    @property
    def growth_mib(self) -> float:
        """By how much memory grew from the first inputs to the last, MiB; what the mutations keep is in it."""
        return max(0.0, float(self.numbers[4] - self.numbers[3]))

    def count(self, cost: Cost, resident: Callable[[], float] | None = None) -> None:
        """Add one input; `resident` says what memory who reads it has now, this process where it is not given."""
        measure = resident or _held_mib
        self.numbers[0] += 1
        self.numbers[1] = max(self.numbers[1], cost.seconds)
        self.numbers[2] = max(self.numbers[2], cost.memory_mib)
        if self.inputs == _WARM:
            self.numbers[3] = self.numbers[4] = measure()
        elif self.inputs % 1000 == 0 and self.inputs > _WARM:
            self.numbers[4] = measure()

    def end(self) -> None:
        """Write it out."""
        self.numbers.flush()


def _held_mib() -> float:
    """Memory that this process has now, MiB, when what it has freed is given back to the system."""
    _give_back(0)
    return resident_mib()


def resident_mib(process: int | str = "self") -> float:
    """Memory that a process has now, MiB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
