from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genie_core.evaluation.ground_truth import Halves, motion_class, probe_scores
from genie_core.evaluation.material import Film, Study, Take
from genie_core.evaluation.options import EvaluationOptions
from genie_core.inference import Labeller, Sampling
from genie_core.models.bundle import load_bundle
from genie_core.statistics.metrics import r2, r2_mean, residual_sums
from genie_core.statistics.probes import Scale, fit_mlp
from genie_core.statistics.ridge import fit_ridge
from tests.factories.bundles import make_nano_bundle


def features(rows: int = 400, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.random.default_rng(seed).normal(size=(rows, 3))


def test_the_mlp_finds_what_no_linear_probe_can() -> None:
    def product(x: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> np.ndarray:  # type: ignore[type-arg]
        return (x[:, :1] * x[:, 1:2]) * 0.01 + 7

    x, held_out = features(800), features(500, seed=1)
    linear, mlp = fit_ridge(x, product(x), np.arange(len(x)) // 80), fit_mlp(x, product(x), seed=0)
    assert r2(residual_sums(product(held_out), linear(held_out)))[0] < 0.1
    assert r2(residual_sums(product(held_out), mlp(held_out)))[0] > 0.8


def test_the_mlp_repeats_and_leaves_torchs_random_state() -> None:
    x = features(60)
    before = torch.get_rng_state()
    first = fit_mlp(x, x[:, :1], seed=5)(x)
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(first, fit_mlp(x, x[:, :1], seed=5)(x))


def test_the_mlp_does_not_learn_noise() -> None:
    """It stops where rows set aside say so: far better than the -1 that learning the noise by heart would give."""
    noise = np.random.default_rng(9).normal(size=(200, 1))
    unseen = np.random.default_rng(10).normal(size=(200, 1))
    assert r2(residual_sums(unseen, fit_mlp(features(200), noise, seed=0)(features(200, seed=2))))[0] > -0.3


def test_columns_that_never_vary_are_no_trouble() -> None:
    x = np.column_stack([np.full(50, 3.0), np.arange(50.0)])
    scale = Scale.of(x)
    np.testing.assert_allclose(scale.undo(scale.apply(x)), x)
    assert np.isfinite(fit_ridge(x, x, np.arange(50) // 10)(x)).all()
    assert np.isfinite(fit_mlp(x, x, seed=0)(x)).all()


def test_motion_classes() -> None:
    moves = np.array(
        [[0.0, 0, 0.01], [0.02, 0, 0.01], [-0.02, 0, 0], [0, 0.03, 0], [0, -0.03, 0], [0, 0, 1], [0, 0, -1]]
    )
    assert motion_class(moves, 0.015).tolist() == [0, 2, 1, 4, 3, 6, 5]


@pytest.mark.parametrize("episodes", [2, 3, 10])
def test_halves_are_apart_and_whole(episodes: int) -> None:
    halves = Halves.draw(episodes, np.random.default_rng(0))
    assert sorted(halves.fit + halves.score) == list(range(episodes))
    assert len(halves.score) == episodes // 2


def test_r2_means_leave_out_what_does_not_vary() -> None:
    truth = np.column_stack([np.zeros(4), np.arange(4.0)])
    assert r2_mean(residual_sums(truth, truth)) == pytest.approx(1)
    assert np.isnan(r2_mean(residual_sums(truth[:, :1], truth[:, :1])))


def test_probes_are_fitted_on_the_other_episodes_too(tmp_path: Path) -> None:
    """Two scored episodes show one code each; only the others say what the scored half's code means."""
    labeller = Labeller(load_bundle(make_nano_bundle(tmp_path / "nano")))

    def take(code: int, dx: float, frames: int = 9) -> Take:
        position_TK = np.arange(frames)[:, None] * np.array([[dx, 0.0]])
        film = Film("", np.zeros((frames, 32, 32, 3), np.uint8), position_TK, None)
        return Take(film, np.full(frames - 1, code), np.zeros((frames - 1, 8), np.float32))

    def study(others: list[Take]) -> Study:
        sampling = Sampling(1, 1.0)
        return Study(
            labeller,
            [take(0, 1), take(3, -1)],
            others,
            [],
            EvaluationOptions(),
            sampling,
            lambda part, done, total: None,
        )

    def error(others: list[Take]) -> float:
        truth = [t.film.displacement_SK for t in study(others).takes]
        kept = [t for t in truth if t is not None]
        rng = np.random.default_rng(0)
        scores = probe_scores(study(others), kept, lambda film: film.displacement_SK, Halves((0,), (1,)), rng)
        return float(scores["code"][0, 3].sum())

    assert error([take(3, -1)]) < 0.1 * error([])
