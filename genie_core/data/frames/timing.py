"""Transition length: the step in frames that follows from the frame rates of the data and the model; never guessed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.errors import DatasetError

GAP = 1.5
"""How many times the usual interval two frames must be apart to have a gap between them; likewise transitions."""

_ROUNDING = 0.05
"""Relative difference between average and usual interval that rounded times explain."""


@dataclass(frozen=True)
class Step:
    """Distance between the two frames of a transition.

    Attributes:
        step: frames from x_t to x_{t+step}, >= 1.
        effective_fps: frame rate at which the model sees the episode, frames a second; None if the data's is unknown.

    """

    step: int
    effective_fps: float | None

    def mismatch(self, model_fps: float) -> float | None:
        """Return how much faster (> 0) or slower (< 0) than `model_fps` the model sees the episode, as a fraction.

        0.25 means that frames arrive 25 % faster than those the model was trained on. None if the rate is unknown.
        """
        return None if self.effective_fps is None else self.effective_fps / model_fps - 1


def resolve_step(fps: float | None, model_fps: float, step: int | None = None) -> Step:
    """Return the transition length in frames.

    Args:
        fps: frame rate of the data, frames a second; None if unknown.
        model_fps: frame rate at which the model was trained, frames a second.
        step: the requested length, frames; None: the closest to the model's, max(1, round half up(fps / model_fps)).

    Raises:
        DatasetError: neither `fps` nor `step` is given, or one of the three is not positive.

    """
    for name, rate in (("fps", fps), ("model_fps", model_fps)):
        if rate is not None:
            check_rate(name, rate)
    if step is not None:
        if step < 1:
            raise DatasetError(f"step: got {step}, expected 1 or more frames")
        return Step(step, None if fps is None else fps / step)
    if fps is None:
        raise DatasetError("fps: got none, expected the data's frame rate (fps, frames a second), or a step in frames")
    nearest = max(1, math.floor(fps / model_fps + 0.5))
    return Step(nearest, fps / nearest)


def uneven_words(times_s: NDArray[np.float64] | None) -> str | None:
    """Describe how frames at `times_s`, (T,) seconds, are not evenly spaced in time; None if they are, or unknown."""
    if times_s is None or len(times_s) < 3:
        return None
    intervals_s = np.diff(times_s)
    usual_s = float(np.median(intervals_s))
    if usual_s <= 0:
        return None
    gaps = np.flatnonzero(intervals_s > GAP * usual_s)
    if len(gaps):
        longest = int(intervals_s.argmax())
        return (
            f"frames are not evenly spaced in time: {len(gaps)} gap{'s' if len(gaps) > 1 else ''}, the longest of "
            f"{intervals_s[longest]:.3g} s after frame {longest} (others are {usual_s:.3g} s apart); "
            "transitions across a gap are not labelled"
        )
    if intervals_s.min() < usual_s / GAP:
        return (
            f"frames are not evenly spaced in time: {intervals_s.min():.3g} to {intervals_s.max():.3g} s apart, "
            f"{usual_s:.3g} s as a rule: a step is a number of frames, not a time"
        )
    return None


def skipped_words(number_T: NDArray[np.int64]) -> str | None:
    """Describe where numbers of frames, (T,) in order, skip some; None if they do not."""
    steps = np.diff(number_T)
    usual = float(np.median(steps)) if len(steps) > 1 else 0.0
    gaps = np.flatnonzero(steps > GAP * usual)
    if usual <= 0 or not len(gaps):
        return None
    longest = int(steps.argmax())
    return (
        f"frames are missing, by the numbers in their names: {len(gaps)} gap{'s' if len(gaps) > 1 else ''}, the "
        f"longest from {number_T[longest]} to {number_T[longest + 1]} after frame {longest}; transitions across a gap "
        "are not labelled"
    )


def rate_of(times_s: NDArray[np.float64]) -> float | None:
    """Return the frame rate of frames at `times_s`, (T,) seconds; None if they are too few, or do not increase.

    It is that of the usual interval, the median, where gaps move the average more than 5 % away from it; otherwise the
    average, since times are often rounded.
    """
    if len(times_s) < 2 or not times_s[-1] > times_s[0]:
        return None
    average = float((len(times_s) - 1) / (times_s[-1] - times_s[0]))
    usual_s = float(np.median(np.diff(times_s)))
    if usual_s <= 0 or abs(average * usual_s - 1) <= _ROUNDING:
        return average
    return round(1 / usual_s, 6)


def is_rate(fps: float) -> bool:
    """Return whether `fps` can be a frame rate: finite and above 0."""
    return math.isfinite(fps) and fps > 0


def check_rate(name: str, fps: float) -> None:
    """Raise DatasetError about `name` if `fps` cannot be a frame rate."""
    if not is_rate(fps):
        raise DatasetError(f"{name}: got {fps:g}, expected a number of frames a second above 0")


__all__ = ["GAP", "Step", "check_rate", "is_rate", "rate_of", "resolve_step", "skipped_words", "uneven_words"]
