"""Fréchet distance of two sets of features, each modelled as a Gaussian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genie_core.evaluation.metrics import Measured, Metric, Missing
from genie_core.statistics.intervals import SPREAD_RESAMPLES
from genie_core.statistics.metrics import Array


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution of D-dimensional features."""

    mean_D: Array
    covariance_DD: Array

    @staticmethod
    def fit(feature_ND: Array, *, shrink: bool = False) -> Gaussian:
        """Estimate mean and covariance from N >= 2 rows.

        Args:
            feature_ND: a row per observation.
            shrink: shrink the covariance towards its diagonal by D / (D + N): with few more rows than dimensions, its
                off-diagonal entries are mostly noise.

        """
        rows, numbers = feature_ND.shape
        centred_ND = feature_ND - feature_ND.mean(axis=0)
        covariance_DD = centred_ND.T @ centred_ND / (rows - 1)
        if shrink:
            kept = rows / (numbers + rows)
            covariance_DD = kept * covariance_DD + (1 - kept) * np.diag(covariance_DD.diagonal())
        return Gaussian(feature_ND.mean(axis=0), covariance_DD)


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """Return the squared 2-Wasserstein distance of two Gaussians of the same dimension, at least 0.

    |mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr((A^1/2 B A^1/2)^1/2). The matrix under the second root is symmetric, so
    that its eigenvalues are real, unlike the numerical ones of A B.
    """
    value_D, vector_DD = np.linalg.eigh(a.covariance_DD)
    root_DD = vector_DD * np.sqrt(value_D.clip(0)) @ vector_DD.T
    shared_D = np.linalg.eigvalsh(root_DD @ b.covariance_DD @ root_DD).clip(0)
    apart = np.square(a.mean_D - b.mean_D).sum() + np.trace(a.covariance_DD) + np.trace(b.covariance_DD)
    return max(0.0, float(apart - 2 * np.sqrt(shared_D).sum()))


def estimate_distance(
    real: Sequence[Array], other: Sequence[Array], rng: np.random.Generator, *, shrink: bool = False
) -> Measured:
    """Return the distance of two sets of clips' features with its 95% interval over episodes.

    The interval is value +- 1.96 standard deviations over bootstrap resamples of episodes, and at least 0. Percentiles
    of
    the resamples, as for other metrics, would be biased: a resample contains some clips twice, so that its covariance
    is narrower and the distance too high. For the same reason, fewer clips give higher distances, which no interval
    shows.

    Args:
        real: (N, D) features of real clips, one array per episode.
        other: features of the clips compared with them, likewise, from the same episodes in the same order.
        rng: draws the resamples.
        shrink: as of `Gaussian.fit`.

    Returns:
        Missing if there are fewer than two clips.

    """
    clips = sum(map(len, real))
    if clips < 2:
        return Missing(f"it compares distributions, which takes 2 clips at least, there is {clips or 'none'}")
    if not shrink:  # shrinkage depends on the basis: the diagonal changes with it
        real, other = _rotate_into_span(real, other)

    def distance(episodes: Sequence[int]) -> float:
        drawn = (np.concatenate([features[e] for e in episodes]) for features in (real, other))
        return frechet_distance(*(Gaussian.fit(feature_ND, shrink=shrink) for feature_ND in drawn))

    value = distance(range(len(real)))
    if len(real) == 1:
        return Metric(value=value, ci95=None, n=clips, episodes=1)
    drawn = rng.integers(len(real), size=(SPREAD_RESAMPLES, len(real)))
    reach = 1.96 * float(np.std([distance(episodes_E.tolist()) for episodes_E in drawn], ddof=1))
    return Metric(value=value, ci95=(max(0.0, value - reach), value + reach), n=clips, episodes=len(real))


def _rotate_into_span(real: Sequence[Array], other: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """Return the features in as many numbers as there are clips, where these are fewer; distances stay the same.

    I3D's 400 numbers of 20 clips span 40 dimensions; in 40 a distance takes a hundredth of the time.
    """
    every_ND = np.concatenate((*real, *other))
    if len(every_ND) >= every_ND.shape[1]:
        return list(real), list(other)
    centre_D = every_ND.mean(axis=0)
    _, _, axis_ND = np.linalg.svd(every_ND - centre_D, full_matrices=False)
    return [(f - centre_D) @ axis_ND.T for f in real], [(f - centre_D) @ axis_ND.T for f in other]


__all__ = ["Gaussian", "estimate_distance", "frechet_distance"]
