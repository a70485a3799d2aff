"""The Fréchet distance against what is known of it, and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from genie_core.evaluation.frechet import Gaussian, estimate_distance, frechet_distance
from genie_core.evaluation.metrics import Metric, Missing

Floats = NDArray[np.float64]

seeds, numbers = st.integers(0, 2**32 - 1), st.integers(1, 8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def clips(seed: int, rows: int, dim: int) -> Floats:
    """Correlated features."""
    draw = rng(seed)
    return draw.normal(size=(rows, dim)) @ draw.normal(size=(dim, dim)) + draw.normal(size=dim)


def fitted(seed: int, dim: int, rows: int = 20) -> Gaussian:
    return Gaussian.fit(clips(seed, rows, dim))


@given(seeds, numbers, st.integers(2, 30), st.booleans())
def test_a_set_is_at_no_distance_from_itself(seed: int, dim: int, rows: int, shrink: bool) -> None:
    """Singular covariances, of fewer rows than numbers, included."""
    a = Gaussian.fit(clips(seed, rows, dim), shrink=shrink)
    scale = np.trace(a.covariance_DD)
    assert 0 <= frechet_distance(a, a) <= 1e-6 * scale


@given(seeds, seeds, numbers)
def test_it_is_symmetric_and_never_negative(seed: int, other: int, dim: int) -> None:
    a, b = fitted(seed, dim), fitted(other, dim, rows=3)
    scale = np.trace(a.covariance_DD) + np.trace(b.covariance_DD)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), abs=1e-6 * scale)
    assert frechet_distance(a, b) >= 0


@given(seeds, numbers)
def test_diagonal_gaussians_by_hand(seed: int, dim: int) -> None:
    draw = rng(seed)
    mean_a, mean_b, sd_a, sd_b = draw.normal(size=dim), draw.normal(size=dim), draw.random(dim), draw.random(dim)
    found = frechet_distance(Gaussian(mean_a, np.diag(sd_a**2)), Gaussian(mean_b, np.diag(sd_b**2)))
    assert found == pytest.approx(np.square(mean_a - mean_b).sum() + np.square(sd_a - sd_b).sum(), abs=1e-6)


@given(seeds, seeds, numbers)
def test_a_shift_of_both_means_adds_its_square(seed: int, other: int, dim: int) -> None:
    a, b = fitted(seed, dim), fitted(other, dim)
    b = Gaussian(a.mean_D, b.covariance_DD)
    shift = rng(seed + 1).normal(size=dim)
    moved = Gaussian(b.mean_D + shift, b.covariance_DD)
    wanted = frechet_distance(a, b) + np.square(shift).sum()
    assert frechet_distance(a, moved) == pytest.approx(wanted, rel=1e-6, abs=1e-6 * np.trace(a.covariance_DD))


@given(seeds, seeds, numbers)
def test_turning_both_changes_nothing(seed: int, other: int, dim: int) -> None:
    turn, _ = np.linalg.qr(rng(seed).normal(size=(dim, dim)))
    a, b = clips(seed, 20, dim), clips(other, 20, dim)
    straight, turned = ((Gaussian.fit(a @ t), Gaussian.fit(b @ t)) for t in (np.eye(dim), turn))
    scale = np.trace(straight[0].covariance_DD + straight[1].covariance_DD)
    assert frechet_distance(*turned) == pytest.approx(frechet_distance(*straight), rel=1e-6, abs=1e-6 * scale)


def test_covariances_that_do_not_commute_by_the_matrix_root() -> None:
    """Against the root of A B from its eigenvectors, which exists: A B is similar to a symmetric matrix."""
    a, b = fitted(1, 5), fitted(2, 5)
    value, vector = np.linalg.eig(a.covariance_DD @ b.covariance_DD)
    root = (vector * np.sqrt(value)) @ np.linalg.inv(vector)
    wanted = np.square(a.mean_D - b.mean_D).sum() + np.trace(a.covariance_DD + b.covariance_DD - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(float(wanted))


def test_shrinking_keeps_the_diagonal() -> None:
    rows = clips(0, 12, 4)
    plain, shrunk = Gaussian.fit(rows), Gaussian.fit(rows, shrink=True)
    np.testing.assert_allclose(plain.covariance_DD, np.cov(rows.T))
    np.testing.assert_allclose(shrunk.covariance_DD.diagonal(), plain.covariance_DD.diagonal())
    away = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(shrunk.covariance_DD[away], 0.75 * plain.covariance_DD[away])


@pytest.mark.parametrize("shrink", [False, True])
def test_more_numbers_than_clips_are_no_trouble(shrink: bool) -> None:
    """However few the clips, the distance is that of the features as they are."""
    real, other = clips(3, 6, 50), clips(4, 6, 50)
    found = estimate_distance(np.split(real, 3), np.split(other, 3), rng(), shrink=shrink)
    assert isinstance(found, Metric)
    whole = frechet_distance(Gaussian.fit(real, shrink=shrink), Gaussian.fit(other, shrink=shrink))
    assert found.value == pytest.approx(whole)
    assert (found.n, found.episodes) == (6, 3)


def test_the_interval_covers_what_as_many_clips_give_on_average() -> None:
    """Not the distance of endless clips: that is lower, by a bias that no interval shows."""
    draw, dim, episodes, values, intervals = rng(7), 4, 25, [], []
    for _ in range(60):
        real = [draw.normal(size=(2, dim)) + draw.normal(size=dim) for _ in range(episodes)]
        other = [r + 0.5 + 0.5 * draw.normal(size=(2, dim)) for r in real]
        found = estimate_distance(real, other, draw)
        assert isinstance(found, Metric)
        assert found.ci95 is not None
        values.append(found.value)
        intervals.append(found.ci95)
    mean = np.mean(values)
    assert np.mean([low <= mean <= high for low, high in intervals]) >= 0.85


def test_one_clip_is_no_distribution_and_one_episode_has_no_interval() -> None:
    lone = estimate_distance([clips(0, 1, 3)], [clips(1, 1, 3)], rng())
    assert isinstance(lone, Missing)
    assert "2 clips" in lone.reason
    found = estimate_distance([clips(0, 5, 3)], [clips(1, 5, 3)], rng())
    assert isinstance(found, Metric)
    assert found.ci95 is None
