from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_core.evaluation.metrics import Findings, Metric, Missing, estimate, mean_of, ratio
from genie_core.statistics.metrics import perplexity


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_interval_covers_the_truth_about_95_times_in_100() -> None:
    """Episodes of different means and lengths; the truth is the mean over all possible episodes."""
    draw, hits, trials = rng(1), 0, 300
    for _ in range(trials):
        episodes = [draw.normal(draw.normal(3, 1), 0.5, size=draw.integers(15, 25)) for _ in range(40)]
        metric = mean_of(episodes, draw)
        assert isinstance(metric, Metric)
        assert metric.ci95 is not None
        hits += metric.ci95[0] <= 3 <= metric.ci95[1]
    assert 0.90 <= hits / trials <= 0.98


def test_episodes_are_the_unit_not_frames() -> None:
    """Frames of one episode are alike here: the interval is as wide as the episodes' number says, not the frames'."""
    few = mean_of([np.full(1000, float(i)) for i in range(10)], rng())
    assert isinstance(few, Metric)
    assert few.ci95 is not None
    width = few.ci95[1] - few.ci95[0]
    assert width == pytest.approx(2 * 1.96 * np.arange(10).std() / np.sqrt(10), rel=0.15)
    assert (few.n, few.episodes) == (10_000, 10)


def test_the_value_weights_frames_alike() -> None:
    metric = mean_of([np.array([1.0]), np.array([4.0, 4.0, 4.0])], rng())
    assert isinstance(metric, Metric)
    assert metric.value == 3.25


def test_any_statistic_of_sums_can_be_estimated() -> None:
    counts = np.array([[4.0, 0], [0, 4], [4, 0], [0, 4]])
    metric = estimate(counts, perplexity, 16, rng())
    assert isinstance(metric, Metric)
    assert metric.value == pytest.approx(2)
    assert metric.ci95 is not None
    assert 1 <= metric.ci95[0] <= metric.ci95[1] <= 2 + 1e-9


def test_what_cannot_be_measured_says_why() -> None:
    assert isinstance(estimate(np.zeros((0, 2)), ratio, 0, rng()), Missing)
    undefined = estimate(np.zeros((3, 2)), ratio, 3, rng())
    assert isinstance(undefined, Missing)
    assert "undefined" in undefined.reason


def test_one_episode_has_no_interval() -> None:
    assert mean_of([np.array([1.0, 2.0])], rng()) == Metric(value=1.5, ci95=None, n=2, episodes=1)


@given(st.lists(st.lists(st.floats(-10, 10), min_size=1, max_size=5), min_size=2, max_size=6))
def test_intervals_lie_between_the_extremes_and_repeat(values: list[list[float]]) -> None:
    episodes = [np.array(v) for v in values]
    metric = mean_of(episodes, rng(3))
    assert isinstance(metric, Metric)
    assert metric.ci95 is not None
    means = [e.mean() for e in episodes]
    assert min(means) - 1e-9 <= metric.ci95[0] <= metric.ci95[1] <= max(means) + 1e-9
    assert metric == mean_of(episodes, rng(3))


def test_findings_merge() -> None:
    one, two = Findings({"a.b": Missing("no")}), Findings({"c.d": Missing("nor")}, {"e.f": []})
    merged = Findings.merge([one, two])
    assert set(merged.metrics) == {"a.b", "c.d"}
    assert set(merged.curves) == {"e.f"}
