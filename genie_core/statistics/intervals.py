"""Confidence intervals: the one bootstrap that all figures share, and success rates made with it. Pure numbers.

What is drawn again, with replacement, are whole units (episodes, starts, seeds), not frames: the frames of one episode
are far from independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Success = NDArray[np.bool_]

RESAMPLES = 2000
"""Of every percentile interval: its ends then vary by a few per cent of its width from seed to seed."""
SPREAD_RESAMPLES = 200
"""Where only a standard deviation is taken, and each resample is costly: it takes fewer than quantiles do."""
LEVELS = (0.025, 0.975)
_Z95 = 1.959964


def resample(units: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> Array:
    """How often each of so many units is drawn in each resample: (R, units), every row of sum `units`."""
    counts: Array = rng.multinomial(units, np.full(units, 1 / units), size=resamples).astype(np.float64)
    return counts


def percentile_interval(drawn_R: Array) -> tuple[float, float]:
    """The 95% percentile interval of a figure's resamples; those where it is undefined (NaN) do not count."""
    low, high = np.nanquantile(drawn_R, LEVELS).tolist()
    return low, high


@dataclass(frozen=True)
class Rate:
    """A share of successes and its 95% interval."""

    value: float
    low: float
    high: float


def success_rate(success_SE: Success, seed: int) -> Rate:
    """Share of (S, E) episodes that succeeded.

    The interval is a bootstrap that draws seeds and starts again, each with replacement: it answers for other policies
    and other starts. Where all episodes end alike there is nothing to draw from, and Wilson's of E starts stands in.
    """
    value = float(success_SE.mean())
    if value in (0.0, 1.0):
        low, high = wilson(round(value * success_SE.shape[1]), success_SE.shape[1])
        return Rate(value, low, high)
    return Rate(value, *percentile_interval(_resampled_means(success_SE.astype(np.float64), seed)))


def difference(a_SE: Success, b_SE: Success, seed: int) -> Rate:
    """Success of `a` minus that of `b`, paired by seed and start; the interval is as in `success_rate`."""
    paired_SE = a_SE.astype(np.float64) - b_SE
    return Rate(float(paired_SE.mean()), *percentile_interval(_resampled_means(paired_SE, seed)))


def _resampled_means(value_SE: Array, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    seeds, starts = value_SE.shape
    weight_RS, weight_RE = resample(seeds, rng) / seeds, resample(starts, rng) / starts
    means: Array = np.einsum("rs,se,re->r", weight_RS, value_SE, weight_RE, optimize=True)
    return means


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share."""
    share, z2 = successes / trials, _Z95**2 / trials
    middle = (share + z2 / 2) / (1 + z2)
    half = _Z95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials)) / (1 + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


__all__ = [
    "RESAMPLES",
    "SPREAD_RESAMPLES",
    "Rate",
    "Success",
    "difference",
    "percentile_interval",
    "resample",
    "success_rate",
    "wilson",
]
