"""Moments of a labelled episode that are worth a look: left out, tied, or unlike what comes before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Labels
from genie_core.data.labelled.exclusion import REASONS

TIE = 0.02
"""Confidence below which the nearest two codes are about as near: which one a label has says little."""

_MOST = 20
"""Most flags of one kind: the longest runs, and the largest leaps."""
_LEAP = 6.0
"""Least length of a latent, in median lengths of the episode's, that is flagged: a cut, or a jerk."""

_WHY = {
    "blank": "no label: a picture of one colour",
    "gap": "no label: time is missing between the pictures",
    "frozen": "no label: the picture stands still",
}


@dataclass(frozen=True)
class Flag:
    """What stands out at a frame, in words; `level` is one of Rerun's names of levels."""

    frame: int
    level: Literal["INFO", "WARN"]
    what: str


def flagged(labels: Labels) -> list[Flag]:
    """Return what stands out in an episode, in order of frames."""
    found = []
    if labels.reason is not None:
        for number, reason in REASONS.items():
            found += [
                Flag(first, "WARN", f"{_WHY[reason]}{_for(count)}") for first, count in _runs(labels.reason == number)
            ]
    tied = labels.valid & (labels.confidence < TIE)
    found += [Flag(first, "INFO", f"tie: two codes fit about as well{_for(count)}") for first, count in _runs(tied)]
    length_T = np.linalg.norm(labels.latent, axis=1)
    usual = float(np.median(length_T[labels.valid])) if labels.valid.any() else 0.0
    leaps = np.flatnonzero(labels.valid & (length_T > _LEAP * usual)) if usual > 0 else np.empty(0, np.int64)
    for frame in leaps[np.argsort(-length_T[leaps], kind="stable")][:_MOST].tolist():
        found.append(Flag(frame, "WARN", f"leap: {length_T[frame] / usual:.0f} times the usual motion"))
    return sorted(found, key=lambda flag: flag.frame)


def _for(count: int) -> str:
    return f", {count} frames" if count > 1 else ""


def _runs(where_T: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first frame and length of the longest runs of True, at most `_MOST`, in order."""
    edges = np.flatnonzero(np.diff(where_T.astype(np.int8), prepend=0, append=0))
    runs = list(zip(edges[::2].tolist(), (edges[1::2] - edges[::2]).tolist(), strict=True))
    return sorted(sorted(runs, key=lambda run: -run[1])[:_MOST])


__all__ = ["TIE", "Flag", "flagged"]
