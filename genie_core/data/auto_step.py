"""Transition length by motion: the shortest step at which motion looks to a model as large as in its training.

Pairs of frames from all over a dataset are encoded at several steps, and the median length of their latents is
compared with those of the model's training. Knows no model: the caller says how latents are made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.data.episode import Episode
from genie_core.data.frames.resize import Frames, resize_frames
from genie_core.data.frames.timing import Step
from genie_core.errors import DatasetError

SHORTEST_S, LONGEST_S = 0.1, 0.7
"""Transitions in the training of models that read motion, seconds. None that is longer is tried."""

_LONGEST, _LONGEST_UNKNOWN = 256, 30
"""Longest one in frames, and where the frame rate is unknown."""
_GROWTH = 1.25
"""About the ratio of one step that is tried to the next."""
_SPANS, _STARTS = 12, 4
"""Parts of the video that are read for a frame rate, and pairs of frames a step in each."""
_SAME_RATE = 1.05
"""Frame rates that differ by less share a step."""
_MOST_RATES = 8
"""Frame rates for which a step is looked for; others take the duration of the nearest of these."""
_ENOUGH, _STILL = 0.25, 0.05
"""Shares of the usual length: of a step that is long enough, about the shortest fifth of the training's latents
(shorter ones drown in noise, longer ones say less of the motion); and below which nothing moves at all."""
_READ_BYTES = 32 * 1024 * 1024

Latents = Callable[[Frames], NDArray[np.float32]]
"""Encodes frames (T, H, W, 3) uint8 of the model's size: (T - 1, D) latents, each of a frame and the next."""


@dataclass(frozen=True)
class FoundStep:
    """The transition length of the episodes of one frame rate.

    Attributes:
        fps: frames a second; None: unknown.
        step: frames from x_t to x_{t+step}.
        size: median length of the latents at that step; None: found in an earlier run.

    """

    fps: float | None
    step: int
    size: float | None = None

    @property
    def seconds(self) -> float | None:
        """Duration of a transition; None where the frame rate is unknown."""
        return None if self.fps is None else self.step / self.fps


@dataclass(frozen=True)
class AutoSteps:
    """The transition lengths found for a dataset, by frame rate; empty where nothing moves.

    Attributes:
        found: ordered by frame rate.

    """

    found: tuple[FoundStep, ...]

    @property
    def pairs(self) -> tuple[tuple[float | None, int], ...]:
        """Frame rates and steps."""
        return tuple((f.fps, f.step) for f in self.found)

    @staticmethod
    def of(pairs: Iterable[tuple[float | None, int]]) -> AutoSteps:
        """Return the transition lengths of an earlier run."""
        return AutoSteps(tuple(FoundStep(fps, step) for fps, step in pairs))

    def step(self, fps: float | None) -> Step | None:
        """Return the step of an episode of `fps` frames a second; None if none was found for such episodes."""
        known = [f for f in self.found if f.fps is not None]
        if fps is None or not known:
            return next((Step(f.step, None) for f in self.found if fps is None and f.fps is None), None)
        nearest = min(known, key=lambda f: abs(math.log(fps / (f.fps or fps))))
        assert nearest.seconds is not None
        step = nearest.step if _same_rate(fps, nearest.fps) else max(1, math.floor(nearest.seconds * fps + 0.5))
        return Step(step, fps / step)


def find_steps(episodes: Sequence[Episode], latents: Latents, usual: float, size: tuple[int, int]) -> AutoSteps:
    """Find the shortest step at which motion is as large as in training, for each frame rate of a dataset.

    Sizes grow with the step, so it is found by bisection, of steps from 1 frame to `LONGEST_S`. The same data and the
    same model give the same step. Episodes that cannot be read are passed over.

    Args:
        episodes: of one dataset.
        latents: encodes pairs of frames.
        usual: median length of the latents of the model's training.
        size: height and width of the model's frames.

    """
    groups = _by_rate(episodes)
    chosen = sorted(groups.items(), key=lambda group: -len(group[1]))[:_MOST_RATES]
    found = [_find_step(fps, some, latents, usual, size) for fps, some in chosen]
    return AutoSteps(tuple(sorted((f for f in found if f is not None), key=lambda f: f.fps or 0.0)))


def _by_rate(episodes: Sequence[Episode]) -> dict[float | None, list[Episode]]:
    """Return the episodes by frame rate, rates that are next to the same taken together under the lowest of them."""
    rates: dict[float | None, list[Episode]] = {}
    for episode in episodes:
        try:
            rates.setdefault(episode.fps, []).append(episode)
        except DatasetError:
            continue
    groups: dict[float | None, list[Episode]] = {}
    for fps in sorted(rates, key=lambda fps: fps or 0.0):
        last = next(reversed(groups), None)
        groups.setdefault(last if _same_rate(fps, last) else fps, []).extend(rates[fps])
    return groups


def _same_rate(fps: float | None, other: float | None) -> bool:
    if fps is None or other is None:
        return False
    return max(fps, other) < _SAME_RATE * min(fps, other)


def _find_step(
    fps: float | None, episodes: Sequence[Episode], latents: Latents, usual: float, size: tuple[int, int]
) -> FoundStep | None:
    longest = _LONGEST_UNKNOWN if fps is None else min(_LONGEST, max(1, math.floor(LONGEST_S * fps + 1e-6)))
    spans = _read_spans(episodes, longest, size)
    steps = [step for step in _tried(longest) if any(len(span) > step for span in spans)]
    if not steps:
        return None
    measured: dict[int, float] = {}

    def measure(place: int) -> float:
        if place not in measured:
            pairs_NTHWC = _pairs(spans, steps[place])
            latent_ND = latents(pairs_NTHWC)[::2]
            measured[place] = float(np.median(np.linalg.norm(latent_ND, axis=1)))
        return measured[place]

    low, high = 0, len(steps) - 1
    if measure(high) < _STILL * usual:
        return None
    enough = _ENOUGH * usual
    while low < high:  # the first step that is long enough, or the longest
        middle = (low + high) // 2
        low, high = (low, middle) if measure(middle) >= enough else (middle + 1, high)
    if low and enough / max(measure(low - 1), 1e-9) < measure(low) / enough:  # the one before is nearer
        low -= 1
    return FoundStep(fps, steps[low], measure(low))


def _tried(longest: int) -> list[int]:
    steps = [1]
    while steps[-1] < longest:
        steps.append(min(longest, max(steps[-1] + 1, round(steps[-1] * _GROWTH))))
    return steps


def _read_spans(episodes: Sequence[Episode], longest: int, size: tuple[int, int]) -> list[Frames]:
    """Return the parts of episodes from all over the dataset, and from all parts of an episode, at the model's size."""
    every = -(-len(episodes) // _SPANS)
    chosen = episodes[::every]
    per_episode = -(-_SPANS // len(chosen))
    spans = []
    for place, episode in enumerate(chosen):
        for part in range(per_episode):
            try:
                spans.append(_read_span(episode, (place + part * len(chosen) + 0.5), 3 * longest, size))
            except DatasetError:
                break
    return [span for span in spans if len(span) > 1]


def _read_span(episode: Episode, turn: float, wanted: int, size: tuple[int, int]) -> Frames:
    count = episode.num_frames
    length = min(count, max(wanted, _STARTS + 1))
    first = int((count - length) * ((turn * 0.618034) % 1))  # golden section: any number of turns spreads evenly
    at_once = max(1, _READ_BYTES // max(1, episode.height * episode.width * 3))
    pieces = [
        resize_frames(episode.frames(at, min(at + at_once, first + length)), *size)
        for at in range(first, first + length, at_once)
    ]
    return np.concatenate(pieces) if pieces else np.zeros((0, *size, 3), np.uint8)


def _pairs(spans: Sequence[Frames], step: int) -> Frames:
    """Return the pairs of frames `step` apart, one after another: (2 N, h, w, 3)."""
    rows = []
    for span in spans:
        last = len(span) - step - 1
        if last >= 0:
            for start in np.unique(np.linspace(0, last, _STARTS).astype(int)):
                rows += [span[start], span[start + step]]
    return np.stack(rows)


__all__ = ["LONGEST_S", "SHORTEST_S", "AutoSteps", "FoundStep", "Latents", "find_steps"]
