"""How the robot's end effector moves under one code, in numbers and words. Only for looking at results."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STILL_M = 0.005
_MOSTLY = 0.5
_AXES = "xyz"


@dataclass(frozen=True)
class Motion:
    """Motion of the end effector under one code.

    Attributes:
        count: number of transitions with the code.
        mean_m: (3,) mean displacement over a transition, metres; zeros if `count` is 0.
        agreement: share of the transitions that move mostly along the same axis and direction as the mean, 0 to 1.

    """

    count: int
    mean_m: NDArray[np.float64]
    agreement: float

    @staticmethod
    def of(move_N3: NDArray[np.float64]) -> Motion:
        """Summarise the displacements of N transitions, metres."""
        if not len(move_N3):
            return Motion(0, np.zeros(3), 0.0)
        mean_m = move_N3.mean(axis=0)
        return Motion(len(move_N3), mean_m, float((_way(move_N3) == _way(mean_m[None])).mean()))

    def __str__(self) -> str:
        """Describe the mean's direction, e.g. ``+x -z 2.4 cm``: its largest axis, and others at least half as large.

        ``still`` if most transitions hardly move, ``no one way`` if they move but cancel out.
        """
        size = float(np.linalg.norm(self.mean_m))
        if not self.count:
            return "not used"
        if size < _STILL_M:
            return "still" if self.agreement >= _MOSTLY else "no one way"
        least = np.abs(self.mean_m).max() / 2
        parts = zip(_AXES, self.mean_m.tolist(), strict=True)
        ways = " ".join(f"{'+' if part > 0 else '-'}{axis}" for axis, part in parts if abs(part) >= least)
        return f"{ways} {size * 100:.1f} cm"


def _way(move_N3: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the class of each displacement: 0 still, else its largest axis and sign, 1 to 6."""
    axis = np.abs(move_N3).argmax(axis=1)
    positive = np.take_along_axis(move_N3, axis[:, None], axis=1)[:, 0] > 0
    return np.where(np.linalg.norm(move_N3, axis=1) < _STILL_M, 0, 1 + 2 * axis + positive)


__all__ = ["Motion"]
