"""How long something takes, estimated from the times that it took: the mean, and how far from it a time may be."""

from __future__ import annotations

import math

_NEWEST_SHARE = 0.25
"""Weight of the newest time: one that was slow by chance says little."""

_DEVIATIONS = 4.0
"""So many mean deviations above the mean lies what is hardly ever exceeded (Jacobson 1988)."""


class Estimate:
    """Moving mean of times, and of their deviation from it, seconds."""

    def __init__(self, first_s: float) -> None:
        """`first_s` is assumed until something has been noted."""
        self._mean_s, self._deviation_s = first_s, 0.0
        self._is_new = True

    @property
    def mean_s(self) -> float:
        """Return the mean, seconds."""
        return self._mean_s

    def note(self, seconds: float) -> None:
        """Note how long it took."""
        if self._is_new:
            self._mean_s, self._deviation_s, self._is_new = seconds, 0.0, False
            return
        off = seconds - self._mean_s
        self._mean_s += _NEWEST_SHARE * off
        self._deviation_s += _NEWEST_SHARE * (abs(off) - self._deviation_s)

    def most_s(self, times: int = 1) -> float:
        """Return the time that so many, one after another, will hardly ever exceed, seconds."""
        return times * self._mean_s + _DEVIATIONS * math.sqrt(times) * self._deviation_s


__all__ = ["Estimate"]
