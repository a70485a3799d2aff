"""Metrics: measured numbers with intervals, made by a bootstrap over episodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from genie_core.data import Frames
from genie_core.statistics.intervals import percentile_interval, resample
from genie_core.statistics.metrics import Array

if TYPE_CHECKING:
    from genie_core.inference.confidence import Calibration

Statistic = Callable[[Array], Array]
"""Maps sums with a leading axis of resamples, (R, ...), to metrics (R,)."""


class Metric(BaseModel):
    """One measured number."""

    model_config = ConfigDict(frozen=True)

    value: float
    ci95: tuple[float, float] | None = Field(description="95% interval over episodes; None if there is only one")
    n: int = Field(description="number of observations: frames, transitions or rollouts")
    episodes: int = Field(description="number of episodes that they come from")


@dataclass(frozen=True)
class Missing:
    """Why a metric cannot be measured here, in words for the user."""

    reason: str


Measured = Metric | Missing


@dataclass(frozen=True)
class ReportImage:
    """An image of the report: `name` is the file name without suffix, `image_HWC` is uint8."""

    name: str
    title: str
    caption: str
    image_HWC: Frames


@dataclass(frozen=True)
class Video:
    """Several videos of the same moment side by side: (T, h, w, 3) uint8 each, all of the same length, by name."""

    name: str
    tracks: Mapping[str, Frames]


@dataclass(frozen=True)
class Findings:
    """Findings of one part of an evaluation. Names are dotted: ``lam.code_perplexity``.

    Attributes:
        metrics: single numbers.
        curves: series of numbers: one per code, per horizon or per dimension.
        images: for the report.
        videos: likewise.
        calibration: of the confidence of simulated frames; None without rollouts.

    """

    metrics: Mapping[str, Measured] = field(default_factory=dict)
    curves: Mapping[str, Sequence[Measured]] = field(default_factory=dict)
    images: Sequence[ReportImage] = ()
    videos: Sequence[Video] = ()
    calibration: Calibration | None = None

    @staticmethod
    def merge(parts: Sequence[Findings]) -> Findings:
        """Merge the findings of all parts; for metrics of the same name, the later part counts."""
        metrics = {name: metric for part in parts for name, metric in part.metrics.items()}
        curves = {name: curve for part in parts for name, curve in part.curves.items()}
        images = [image for part in parts for image in part.images]
        videos = [video for part in parts for video in part.videos]
        calibration = next((part.calibration for part in parts if part.calibration is not None), None)
        return Findings(metrics, curves, images, videos, calibration)


def estimate(sums_E: Array, statistic: Statistic, n: int, rng: np.random.Generator) -> Measured:
    """Return a metric with its 95% percentile bootstrap interval over episodes.

    Episodes are resampled, not frames: the frames of one episode are far from independent.

    Args:
        sums_E: (E, ...) contribution of each episode to the sums that the statistic is a function of.
        statistic: from sums (R, ...) to metrics (R,); NaN where undefined.
        n: number of observations behind the sums.
        rng: draws the resamples.

    Returns:
        Missing if there is no episode or the metric is undefined.

    """
    episodes = len(sums_E)
    if not episodes or not n:
        return Missing("there is nothing to measure it on")
    value = float(statistic(sums_E.sum(axis=0)[None])[0])
    if not np.isfinite(value):
        return Missing("it is undefined on these episodes: what it compares with does not vary, or is nothing")
    if episodes == 1:
        return Metric(value=value, ci95=None, n=n, episodes=1)
    drawn_R = statistic(np.tensordot(resample(episodes, rng), sums_E, axes=1))
    return Metric(value=value, ci95=percentile_interval(drawn_R), n=n, episodes=episodes)


def ratio(sums_X2: Array) -> Array:
    """Return the statistic of a mean or a share: (..., 2) sum and count -> (...)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Array = sums_X2[..., 0] / sums_X2[..., 1]
    return mean


def of_means(groups: Sequence[Array], statistic: Statistic, rng: np.random.Generator) -> Measured:
    """Return a function of the means over all observations, with its interval.

    Args:
        groups: one (N, ...) array per episode, a row per observation; N may be 0.
        statistic: from means (R, ...) to metrics (R,).
        rng: draws the resamples.

    """
    counts_E = np.array([len(group) for group in groups], np.float64)
    if not counts_E.any():
        return estimate(np.zeros((0, 1)), ratio, 0, rng)
    shape = groups[0].shape[1:]
    sums_EK = np.stack([group.sum(axis=0, dtype=np.float64).ravel() for group in groups])
    packed_E = np.concatenate((sums_EK, counts_E[:, None]), axis=1)

    def from_sums(packed_R: Array) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            return statistic((packed_R[:, :-1] / packed_R[:, -1:]).reshape(-1, *shape))

    return estimate(packed_E, from_sums, int(counts_E.sum()), rng)


def mean_of(groups: Sequence[Array], rng: np.random.Generator) -> Measured:
    """Return the mean of all values (numbers or booleans), given as one (N,) array per episode."""
    return of_means(groups, lambda mean_R: mean_R, rng)


__all__ = [
    "Findings",
    "Measured",
    "Metric",
    "Missing",
    "ReportImage",
    "Statistic",
    "Video",
    "estimate",
    "mean_of",
    "of_means",
    "ratio",
]
