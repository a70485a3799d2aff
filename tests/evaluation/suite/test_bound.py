"""Labels are set beside supervised inverse dynamics on the episodes that it was scored on, and on no others."""

from __future__ import annotations

import numpy as np
import pytest

from genie_core.evaluation.metrics import Metric
from genie_core.evaluation.suite.bound import bound_metrics

LATENT = np.array([[9.0, 10], [1.0, 10], [3.0, 10]])
SCORED = {"supervised": np.array([[0.0, 0], [4.0, 10], [4.0, 10]]), "latent_linear": LATENT}


def value(metric: object) -> float:
    assert isinstance(metric, Metric)
    return metric.value


def test_only_episodes_count_that_the_network_was_scored_on() -> None:
    found = bound_metrics({"a": SCORED, "b": {"latent_linear": LATENT}}, {"all": ["a", "b"]}, 0)
    assert list(found) == ["a"]  # no network on b, and so no mean
    assert value(found["a"]["supervised"]) == pytest.approx(0.4)
    assert value(found["a"]["latent_linear"]) == pytest.approx(0.2)  # with the first episode it would be 0.43
    assert value(found["a"]["latent_linear_minus_supervised"]) == pytest.approx(-0.2)
    assert found["a"]["supervised"].episodes == 2  # type: ignore[union-attr]


def test_sets_of_a_mean_count_alike() -> None:
    other = {"supervised": np.array([[1.0, 2]]), "latent_linear": np.array([[2.0, 2]])}
    found = bound_metrics({"a": SCORED, "c": other}, {"all": ["a", "c"], "robot: x": ["c"]}, 0)
    assert list(found) == ["a", "c", "all"]  # a mean over one set would be that set again
    assert value(found["all"]["supervised"]) == pytest.approx((0.4 + 0.5) / 2)
    assert value(found["all"]["latent_linear_minus_supervised"]) == pytest.approx((0.2 + 1) / 2 - 0.45)
