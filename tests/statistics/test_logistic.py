from __future__ import annotations

import numpy as np
import pytest

from genie_core.statistics.logistic import fit_logistic


def test_the_odds_that_made_the_cases_are_found_again() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal([3, -1], [2, 0.1], (20_000, 2))
    right = rng.random(len(x)) < 1 / (1 + np.exp(-(-7.4 + 0.8 * x[:, 0] - 5 * x[:, 1])))
    intercept, weights = fit_logistic(x, right.astype(float))
    assert weights == pytest.approx([0.8, -5], rel=0.1)
    assert intercept == pytest.approx(-7.4, rel=0.1)


@pytest.mark.parametrize("right", [np.ones(5), np.zeros(5), np.array([0, 0, 1, 1, 1.0])])
def test_it_ends_where_all_cases_are_alike_or_told_apart_perfectly(right: np.ndarray) -> None:
    intercept, weights = fit_logistic(np.arange(5.0)[:, None], right)
    share = 1 / (1 + np.exp(-(intercept + np.arange(5.0) * weights[0])))
    assert np.isfinite(share).all()
    assert (np.abs(share - right) < 0.3).all()
