"""Confidence intervals: the bootstrap that all metrics share, and success rates. Pure numbers.

Whole units (episodes, starts, seeds) are resampled with replacement, not frames: the frames of one episode are far from
independent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Success = NDArray[np.bool_]

RESAMPLES = 2000
"""Resamples of a percentile interval: its ends then vary by a few per cent of its width from seed to seed."""
SPREAD_RESAMPLES = 200
"""Resamples if only a standard deviation is needed and each is costly: it needs fewer than quantiles."""
LEVELS = (0.025, 0.975)
_Z95 = 1.959964


def resample(units: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> Array:
    """Return how often each unit is drawn in each resample: (R, units), every row sums to `units`."""
    counts: Array = rng.multinomial(units, np.full(units, 1 / units), size=resamples).astype(np.float64)
    return counts


def percentile_interval(drawn_R: Array) -> tuple[float, float]:
    """Return the 95% percentile interval of a metric's resamples, ignoring undefined ones (NaN)."""
    low, high = np.nanquantile(drawn_R, LEVELS).tolist()
    return low, high


@dataclass(frozen=True)
class Rate:
    """A success rate with its 95% interval."""

    value: float
    low: float
    high: float


def success_rate(success_SE: Success, seed: int) -> Rate:
    """Return the share of (S, E) episodes that succeeded.

    The bootstrap interval resamples seeds and starts, each with replacement: it covers other policies and other starts.
    If all episodes end alike, the bootstrap is degenerate and Wilson's interval for E starts is used.
    """
    value = float(success_SE.mean())
    if value in (0.0, 1.0):
        low, high = wilson(round(value * success_SE.shape[1]), success_SE.shape[1])
        return Rate(value, low, high)
    return Rate(value, *percentile_interval(_resampled_means(success_SE.astype(np.float64), seed)))


def difference(a_SE: Success, b_SE: Success, seed: int) -> Rate:
    """Return the success of `a` minus that of `b`, paired by seed and start; interval as in `success_rate`."""
    paired_SE = a_SE.astype(np.float64) - b_SE
    return Rate(float(paired_SE.mean()), *percentile_interval(_resampled_means(paired_SE, seed)))


def _resampled_means(value_SE: Array, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    seeds, starts = value_SE.shape
    weight_RS, weight_RE = resample(seeds, rng) / seeds, resample(starts, rng) / starts
    means: Array = np.einsum("rs,se,re->r", weight_RS, value_SE, weight_RE, optimize=True)
    return means


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return Wilson's 95% interval of a share."""
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
