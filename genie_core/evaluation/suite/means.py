"""Means of errors over several sets, each set counting alike, with an interval that draws every set's episodes anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from genie_core.evaluation.figures import RESAMPLES, Figure, Measured, Missing
from genie_core.statistics.metrics import Array, error_over_variance


def mean_over(sums: Sequence[Mapping[str, Array]], one: str, rivals: Sequence[str], seed: int) -> dict[str, Measured]:
    """By way, and of `one` minus each of `rivals`: the mean over sets of error over variance.

    Args:
        sums: a set each: by way, (E, 4, K) of `residual_sums`, episodes in the same order for all ways.
        one: a way.
        rivals: others.
        seed: of the resamples: the same draws for all ways, so that differences are paired.

    """
    value: dict[str, float] = {}
    drawn: dict[str, Array] = {}
    ways = [way for way in sums[0] if all(way in s for s in sums)]
    for way in ways:
        rng = np.random.default_rng([seed, 4])
        errors, resampled = [], []
        for of_set in sums:
            sums_E4K = of_set[way]
            episodes = len(sums_E4K)
            times_RE = rng.multinomial(episodes, np.full(episodes, 1 / episodes), size=RESAMPLES).astype(np.float64)
            errors.append(float(error_over_variance(sums_E4K.sum(axis=0)[None])[0]))
            resampled.append(error_over_variance(np.tensordot(times_RE, sums_E4K, axes=1)))
        value[way], drawn[way] = float(np.mean(errors)), np.mean(resampled, axis=0)
    for rival in rivals:
        if rival in value and one in value:
            value[f"{one}_minus_{rival}"] = value[one] - value[rival]
            drawn[f"{one}_minus_{rival}"] = drawn[one] - drawn[rival]
    episodes = sum(len(of_set[one]) for of_set in sums)
    rows = int(sum(of_set[one][:, 0, 0].sum() for of_set in sums))
    return {way: _figure(value[way], drawn[way], rows, episodes) for way in value}


def _figure(value: float, drawn_R: Array, rows: int, episodes: int) -> Measured:
    if not np.isfinite(value):
        return Missing("it is undefined on one of the sets: what is predicted does not vary")
    low, high = np.nanquantile(drawn_R, (0.025, 0.975)).tolist()
    return Figure(value=value, ci95=(low, high), n=rows, episodes=episodes)


__all__ = ["mean_over"]
