from __future__ import annotations

import numpy as np
import pytest

from genie_core.alignment import regressor as module
from genie_core.alignment.regressor import (
    LINEAR,
    WITH_OBSERVATION,
    WITHOUT_OBSERVATION,
    Array,
    Inputs,
    Kernel,
    fit_regressor,
    likeness,
)


def draw(count: int, seed: int, observations: int = 4) -> Inputs:
    rng = np.random.default_rng(seed)
    latent_ND = rng.normal(size=(count, 6))
    latent_ND /= np.linalg.norm(latent_ND, axis=1, keepdims=True)
    seen_NP = rng.normal(size=(count, observations)) / np.sqrt(observations)
    return Inputs(latent_ND.argmax(axis=1), latent_ND, seen_NP)


def error(truth: Array, read: Array) -> Array:
    """Share of the variance of each number that is missed."""
    missed: Array = np.square(truth - read).mean(axis=0) / truth.var(axis=0)
    return missed


def test_a_linear_map_is_found_from_few_transitions() -> None:
    weights = np.random.default_rng(0).normal(size=(6, 3))
    train, test = draw(40, 1), draw(500, 2)
    fitted = fit_regressor(train, train.latent_ND @ weights + 7, np.arange(40), WITHOUT_OBSERVATION, 0)
    assert error(test.latent_ND @ weights + 7, fitted.predict(test)).max() < 0.01


def test_each_number_is_held_back_as_it_needs() -> None:
    train, test = draw(60, 1), draw(2000, 2)
    noise = np.random.default_rng(3).normal(size=(60, 1))
    fitted = fit_regressor(
        train, np.hstack([100 * train.latent_ND[:, :1], noise]), np.arange(60), WITHOUT_OBSERVATION, 0
    )
    read = fitted.predict(test)
    assert error(100 * test.latent_ND[:, :1], read[:, :1]) < 0.02
    assert read[:, 1].std() < 0.35 * noise.std()  # noise says nothing: about its mean, whatever the latent


def test_a_code_that_says_all_is_learnt_as_by_a_dictionary() -> None:
    train, test = draw(200, 1), draw(500, 2)
    table = np.random.default_rng(0).normal(size=(6, 2))
    fitted = fit_regressor(train, table[train.code_N], np.arange(200), WITHOUT_OBSERVATION, 0)
    assert error(table[test.code_N], fitted.predict(test)).max() < 0.01


def test_the_observation_is_used_where_it_matters_and_only_there() -> None:
    train, test = draw(300, 1, 1), draw(600, 2, 1)

    def truth(inputs: Inputs) -> Array:
        assert inputs.observation_NP is not None
        there = np.sign(inputs.observation_NP[:, :1])
        return np.hstack([inputs.latent_ND[:, :1] * (1.5 + there), inputs.latent_ND[:, 1:2]])

    blind = fit_regressor(train, truth(train), np.arange(300), WITHOUT_OBSERVATION, 0)
    seeing = fit_regressor(train, truth(train), np.arange(300), WITH_OBSERVATION, 0)
    assert not blind.needs_observation
    assert seeing.needs_observation
    wrong, right = error(truth(test), blind.predict(test)), error(truth(test), seeing.predict(test))
    assert right[0] < 0.5 * wrong[0]
    assert right[1] == pytest.approx(wrong[1], abs=0.01)
    with pytest.raises(ValueError, match="got none"):
        seeing.predict(Inputs(test.code_N, test.latent_ND, None))


def test_ridge_on_the_latent_is_what_the_linear_kernel_gives() -> None:
    train, test = draw(30, 1), draw(10, 2)
    truth = train.latent_ND[:, :1] ** 2 + train.latent_ND[:, 1:2]
    fitted = fit_regressor(train, truth, np.arange(30), [LINEAR], 0)
    scaled = (truth - truth.mean()) / truth.std()
    solutions = [
        np.linalg.solve(train.latent_ND.T @ train.latent_ND + p * np.eye(6), train.latent_ND.T @ scaled)
        for p in module.PENALTIES
    ]
    reads = [truth.mean() + truth.std() * test.latent_ND @ weights for weights in solutions]
    assert any(np.allclose(fitted.predict(test), read, atol=1e-4) for read in reads)


def test_centres_are_few_where_transitions_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = draw(400, 1), draw(500, 2)
    truth = np.tanh(2 * train.latent_ND[:, :2])
    full = fit_regressor(train, truth, np.arange(400), WITHOUT_OBSERVATION, 0)
    monkeypatch.setattr(module, "MAX_CENTRES", 150)
    few = fit_regressor(train, truth, np.arange(400), WITHOUT_OBSERVATION, 0)
    assert (len(full.centres), len(few.centres)) == (400, 150)
    assert error(np.tanh(2 * test.latent_ND[:, :2]), few.predict(test)).max() < 0.02
    again = fit_regressor(train, truth, np.arange(400), WITHOUT_OBSERVATION, 0)
    np.testing.assert_array_equal(few.predict(test), again.predict(test))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_hardly_any_transitions_give_about_the_mean(count: int) -> None:
    train = draw(count, 1)
    truth = np.random.default_rng(0).normal(size=(count, 2))
    truth[:, 1] = 4  # never varies
    read = fit_regressor(train, truth, np.zeros(count, np.int64), WITH_OBSERVATION, 0).predict(draw(20, 2))
    assert np.isfinite(read).all()
    np.testing.assert_allclose(read[:, 1], 4)
    assert np.abs(read[:, 0] - truth[:, 0].mean()).max() <= 3 * np.ptp(truth[:, 0]) + 1e-9


def test_whole_episodes_are_set_aside() -> None:
    """Rows that repeat within their episode must not be judged by their own copies."""
    kernels, spread = [Kernel(kind="smooth", latent_scale=0.35)], []
    for seed in range(10):
        places = draw(12, seed)
        rows, truth_NA = np.repeat(np.arange(12), 10), np.random.default_rng(seed).normal(size=(12, 1))
        for episode_N in (rows, np.arange(120)):
            fitted = fit_regressor(places.take(rows), truth_NA[rows], episode_N, kernels, seed)
            spread.append(fitted.predict(draw(300, 99)).std())
    honest, fooled = np.reshape(spread, (10, 2)).mean(axis=0)
    assert honest < 0.5 * fooled


def test_likeness_of_itself_is_greatest() -> None:
    inputs = draw(30, 1)
    for kernel in WITH_OBSERVATION:
        alike = likeness(kernel, inputs, inputs)
        assert np.linalg.eigvalsh(alike).min() > -1e-9  # a kernel: nothing less can be solved for
        assert (np.diag(alike)[:, None] >= alike - 1e-12).all()
