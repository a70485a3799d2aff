"""Success rates with 95% intervals, of S seeds that were tried on the same E starts. Pure numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Success = NDArray[np.bool_]

RESAMPLES = 4000
_Z95 = 1.959964


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
    low, high = np.quantile(_resampled_means(success_SE.astype(np.float64), seed), (0.025, 0.975))
    return Rate(value, float(low), float(high))


def difference(a_SE: Success, b_SE: Success, seed: int) -> Rate:
    """Success of `a` minus that of `b`, paired by seed and start; the interval is as in `success_rate`."""
    paired_SE = a_SE.astype(np.float64) - b_SE
    low, high = np.quantile(_resampled_means(paired_SE, seed), (0.025, 0.975))
    return Rate(float(paired_SE.mean()), float(low), float(high))


def _resampled_means(value_SE: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    seeds, starts = value_SE.shape
    weight_RS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES) / seeds
    weight_RE = rng.multinomial(starts, np.full(starts, 1 / starts), RESAMPLES) / starts
    means: NDArray[np.float64] = np.einsum("rs,se,re->r", weight_RS, value_SE, weight_RE, optimize=True)
    return means


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share."""
    share, z2 = successes / trials, _Z95**2 / trials
    middle = (share + z2 / 2) / (1 + z2)
    half = _Z95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials)) / (1 + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


__all__ = ["Rate", "Success", "difference", "success_rate", "wilson"]
