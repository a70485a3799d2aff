"""Means of errors over several sets, equally weighted, with intervals that resample every set's episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from genie_core.evaluation.metrics import Measured, Metric, Missing, ratio
from genie_core.statistics.intervals import percentile_interval, resample
from genie_core.statistics.metrics import Array


def mean_over(errors: Sequence[Mapping[str, Array]], one: str, rivals: Sequence[str], seed: int) -> dict[str, Measured]:
    """Return the mean error over variance over sets, by method, and of `one` minus each of `rivals`.

    Args:
        errors: for each set, by method, (E, 2) sum and count per episode, in the same order for all methods.
        one: a method.
        rivals: other methods.
        seed: seed of the resamples, which are the same for all methods, so that differences are paired.

    """
    rng = np.random.default_rng([seed, 4])
    times = [resample(len(next(iter(of_set.values()))), rng) for of_set in errors]
    ways = [way for way in errors[0] if all(way in of_set for of_set in errors)]
    value = {way: float(np.mean([ratio(of_set[way].sum(axis=0)) for of_set in errors])) for way in ways}
    drawn = {
        way: np.mean([ratio(times_RE @ of_set[way]) for times_RE, of_set in zip(times, errors, strict=True)], axis=0)
        for way in ways
    }
    for rival in rivals:
        if rival in value and one in value:
            value[f"{one}_minus_{rival}"] = value[one] - value[rival]
            drawn[f"{one}_minus_{rival}"] = drawn[one] - drawn[rival]
    episodes = sum(len(of_set[ways[0]]) for of_set in errors)
    rows = int(sum(of_set[ways[0]][:, 1].sum() for of_set in errors))
    return {way: _figure(value[way], drawn[way], rows, episodes) for way in value}


def _figure(value: float, drawn_R: Array, rows: int, episodes: int) -> Measured:
    if not np.isfinite(value):
        return Missing("undefined on one of the sets: its target does not vary")
    return Metric(value=value, ci95=percentile_interval(drawn_R), n=rows, episodes=episodes)


__all__ = ["mean_over"]
