from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from genie_core.statistics.assignment import assign


@pytest.mark.parametrize("size", [0, 1, 2, 5, 6])
def test_no_permutation_costs_less(size: int) -> None:
    rng = np.random.default_rng(size)
    for cost in (rng.normal(size=(size, size)), rng.integers(0, 3, (size, size)).astype(float)):
        found = assign(cost)
        assert sorted(found.tolist()) == list(range(size))
        least = min(sum(cost[i, p[i]] for i in range(size)) for p in permutations(range(size)))
        assert cost[np.arange(size), found].sum() == pytest.approx(least)


def test_a_hidden_permutation_of_many_is_found() -> None:
    rng = np.random.default_rng(0)
    points, order = rng.normal(size=(40, 8)), rng.permutation(40)
    cost = np.square(points[:, None] - points[order][None] - 0.01).sum(-1)
    np.testing.assert_array_equal(order[assign(cost)], np.arange(40))


def test_costs_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="square matrix of finite"):
        assign(np.full((2, 2), np.inf))
    with pytest.raises(ValueError, match="square"):
        assign(np.zeros((2, 3)))
