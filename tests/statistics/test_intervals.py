"""The bootstrap: what it draws, and how often its intervals hold the truth."""

from __future__ import annotations

import numpy as np

from genie_core.evaluation.metrics import Metric, mean_of
from genie_core.statistics.intervals import RESAMPLES, percentile_interval, resample


def test_every_resample_draws_as_many_units_and_each_as_often_as_the_others() -> None:
    counts = resample(7, np.random.default_rng(0))
    assert counts.shape == (RESAMPLES, 7)
    np.testing.assert_array_equal(counts.sum(axis=1), 7)
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.1)
    np.testing.assert_allclose(counts.var(axis=0), 6 / 7, atol=0.12)


def test_the_interval_is_the_middle_95_per_cent_and_leaves_out_what_is_undefined() -> None:
    drawn = np.arange(1001.0)
    assert percentile_interval(drawn) == (25.0, 975.0)
    assert percentile_interval(np.append(drawn, [np.nan] * 500)) == (25.0, 975.0)


def test_95_per_cent_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Of frames that are alike within an episode: over frames the interval would be far too narrow."""
    held = []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        metric = mean_of([rng.normal(rng.normal(0, 2), 1, 20) for _ in range(40)], rng)
        assert isinstance(metric, Metric)
        assert metric.ci95 is not None
        held.append(metric.ci95[0] <= 0 <= metric.ci95[1])
    assert 0.88 <= np.mean(held) <= 0.99
