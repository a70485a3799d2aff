"""Ridge regression whose penalty is chosen on whole episodes left out."""

from __future__ import annotations

import numpy as np
import pytest

from genie_core.statistics.metrics import Array, r2_mean, residual_sums
from genie_core.statistics.ridge import fit_ridge, fold_of


def draw(rows: int, columns: int, seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=(rows, columns))


def episodes(rows: int, count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.arange(rows) * count // rows


def test_a_linear_truth_is_found() -> None:
    weights = draw(4, 2, 9)
    probe = fit_ridge(draw(300, 4, 0), draw(300, 4, 0) @ weights + [3, -1], episodes(300, 6))
    np.testing.assert_allclose(probe(draw(50, 4, 1)), draw(50, 4, 1) @ weights + [3, -1], atol=0.05)


def test_a_code_gives_its_mean() -> None:
    code = np.tile([0, 0, 1, 1, 2, 2, 2, 2], 40)
    truth = np.tile([1.0, 3, 5, 5, 0, 0, 4, 4], 40)[:, None]
    probe = fit_ridge(np.eye(4)[code], truth, episodes(320, 4))
    np.testing.assert_allclose(probe(np.eye(4)[[0, 1, 2]])[:, 0], [2, 5, 2], atol=0.05)


def test_more_columns_than_rows_of_noise_say_nothing_and_claim_nothing() -> None:
    probe = fit_ridge(draw(60, 150, 0), draw(60, 3, 1), episodes(60, 6))
    assert r2_mean(residual_sums(draw(400, 3, 2), probe(draw(400, 150, 3)))) > -0.1


def test_the_penalty_is_chosen_across_episodes_not_within() -> None:
    """Features and truth are each one draw an episode: rows left out at random would say that all can be known."""
    which = episodes(240, 24)
    spread = []
    for seed in range(5):
        x, truth = draw(24, 14, seed)[which], draw(24, 1, seed + 50)[which]
        rows_alone = np.random.default_rng(0).permutation(which)
        spread.append([fit_ridge(x, truth, of)(draw(300, 14, 99)).std() for of in (which, rows_alone)])
    careful, careless = np.mean(spread, axis=0)
    assert careful < 0.5 * careless


def test_what_hardly_moved_in_training_cannot_spoil_the_score() -> None:
    x = draw(200, 5, 0)
    x[:, 4] *= 1e-7
    probe = fit_ridge(x, x[:, :1], episodes(200, 5))
    wild = draw(200, 5, 1)
    assert r2_mean(residual_sums(wild[:, :1], probe(wild))) > 0.9


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_one_episode_of_few_rows_is_fitted(rows: int) -> None:
    x = draw(rows, 3, 0)
    assert np.isfinite(fit_ridge(x, x, np.zeros(rows, np.int64))(x)).all()


def test_folds_hold_whole_episodes() -> None:
    episode_N = np.array([7, 7, 2, 2, 9, 4, 4, 4])
    part_N = fold_of(episode_N, 3)
    assert len({(e, p) for e, p in zip(episode_N.tolist(), part_N.tolist(), strict=True)}) == 4
    assert sorted(set(part_N.tolist())) == [0, 1, 2]
