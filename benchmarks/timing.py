"""Times several things in turn, so that other load on the machine affects all of them equally."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

ROUNDS = 5
"""Rounds that a published median has at least."""

Action = Callable[[], object]


def interleaved(
    sides: Mapping[str, Action],
    rounds: int = ROUNDS,
    *,
    warm_ups: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the seconds that each side took in each round: A B A B ..., after `warm_ups` rounds that do not count.

    Every second round goes through the sides backwards, so that none always runs in another's wake.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for index in range(warm_ups + rounds):
        names = list(sides) if index % 2 == 0 else list(sides)[::-1]
        for name in names:
            began = clock()
            sides[name]()
            if index >= warm_ups:
                seconds[name].append(clock() - began)
    return seconds


def ratios(above: list[float], below: list[float]) -> list[float]:
    """Round by round, `above` over `below`: what disturbs a whole round cancels."""
    return [a / b for a, b in zip(above, below, strict=True)]


__all__ = ["ROUNDS", "Action", "interleaved", "ratios"]
