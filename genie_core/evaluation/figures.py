"""A measured figure with its interval, and the bootstrap over episodes that makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from genie_core.data import Frames
from genie_core.evaluation.metrics import Array

RESAMPLES = 2000

Statistic = Callable[[Array], Array]
"""From sums with a leading axis of resamples, (R, ...), to the figure of each, (R,)."""


class Figure(BaseModel):
    """One measured number."""

    model_config = ConfigDict(frozen=True)

    value: float
    ci95: tuple[float, float] | None = Field(description="95% interval over episodes; None where there is only one")
    n: int = Field(description="observations: frames, transitions or rollouts")
    episodes: int = Field(description="episodes that they come from")


@dataclass(frozen=True)
class Missing:
    """Why a figure cannot be measured here, in words for the user."""

    reason: str


Measured = Figure | Missing


@dataclass(frozen=True)
class Picture:
    """A picture of the report: `name` is its file's without suffix, `image_HWC` is uint8."""

    name: str
    title: str
    caption: str
    image_HWC: Frames


@dataclass(frozen=True)
class Findings:
    """What one part of an evaluation found. Names are dotted: ``lam.code_perplexity``.

    Attributes:
        figures: single numbers.
        curves: numbers in a row: one a code, one a horizon, one a dimension.
        pictures: to look at.

    """

    figures: Mapping[str, Measured] = field(default_factory=dict)
    curves: Mapping[str, Sequence[Measured]] = field(default_factory=dict)
    pictures: Sequence[Picture] = ()

    @staticmethod
    def merge(parts: Sequence[Findings]) -> Findings:
        """All parts' findings together; a later part's figure of the same name counts."""
        figures = {name: figure for part in parts for name, figure in part.figures.items()}
        curves = {name: curve for part in parts for name, curve in part.curves.items()}
        return Findings(figures, curves, [picture for part in parts for picture in part.pictures])


def estimate(
    sums_E: Array, statistic: Statistic, n: int, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Measured:
    """A figure and its 95% percentile bootstrap interval over episodes.

    Episodes, not frames, are drawn again: the frames of one episode are far from independent.

    Args:
        sums_E: (E, ...) what each episode adds to the sums that the statistic is a function of.
        statistic: from sums (R, ...) to figures (R,); NaN where it is undefined.
        n: observations behind the sums.
        rng: draws the resamples.
        resamples: how many.

    Returns:
        Missing where there is no episode or the figure is undefined.

    """
    episodes = len(sums_E)
    if not episodes or not n:
        return Missing("there is nothing to measure it on")
    value = float(statistic(sums_E.sum(axis=0)[None])[0])
    if not np.isfinite(value):
        return Missing("it is undefined on these episodes: what it compares with does not vary, or is nothing")
    if episodes == 1:
        return Figure(value=value, ci95=None, n=n, episodes=1)
    times_RE = rng.multinomial(episodes, np.full(episodes, 1 / episodes), size=resamples).astype(np.float64)
    drawn = statistic(np.tensordot(times_RE, sums_E, axes=1))
    low, high = np.nanquantile(drawn, (0.025, 0.975)).tolist()
    return Figure(value=value, ci95=(low, high), n=n, episodes=episodes)


def ratio(sums_X2: Array) -> Array:
    """The statistic of a mean or a share: (..., 2) sum and count -> (...)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Array = sums_X2[..., 0] / sums_X2[..., 1]
    return mean


def mean_of(values: Sequence[Array], rng: np.random.Generator) -> Measured:
    """The mean of all values, given as one 1-D array (of numbers or truth values) an episode."""
    sums_E2 = np.array([(np.sum(v), len(v)) for v in values], np.float64).reshape(-1, 2)
    return estimate(sums_E2, ratio, int(sums_E2[:, 1].sum()), rng)


__all__ = ["Figure", "Findings", "Measured", "Missing", "Picture", "Statistic", "estimate", "mean_of", "ratio"]
