"""Probes by folds, on rows made by hand whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from genie_core.evaluation.metrics import Metric, ratio
from genie_core.evaluation.suite.means import mean_over
from genie_core.evaluation.suite.rows import EpisodeTransitions
from genie_core.evaluation.suite.run import error_metrics
from genie_core.evaluation.suite.scoring import (
    FOLDS,
    Scores,
    Way,
    folds_of,
    lary_scores,
    score,
    supervised_predictions,
)
from genie_core.statistics.metrics import Array

CODES = 4


def rows(episodes: int = 10, transitions: int = 30, *, noise: float = 0.0) -> list[EpisodeTransitions]:
    """Codes are signs of two numbers; ``latent`` is they, ``flow_8x8`` they with noise, ``frame`` the episode's."""
    made = []
    for index in range(episodes):
        rng = np.random.default_rng(index)
        truth_SK = rng.normal(size=(transitions, 2))
        code_S = (truth_SK[:, 0] > 0) * 2 + (truth_SK[:, 1] > 0)
        picture = np.zeros((transitions, 8, 16, 16), np.float16)
        picture[:, 6:8] = truth_SK[:, :, None, None]
        features = {
            "latent": truth_SK + noise * rng.normal(size=truth_SK.shape),
            "latent_beside_a_scale": np.column_stack((truth_SK, np.tile([3.0, -3, 3, -3], (transitions, 1)))),
            "flow_8x8": truth_SK + rng.normal(size=truth_SK.shape),
            "frame": np.full((transitions, 1), float(index)),
        }
        chunk_SCA = np.cumsum(np.repeat(truth_SK[:, None], 3, axis=1), axis=1)
        made.append(
            EpisodeTransitions(f"e{index}", code_S.astype(np.int64), features, picture, truth_SK, {}, chunk_SCA)
        )
    return made


def error(scores: Scores, way: str, **part: object) -> float:
    return float(ratio(scores.errors_E2(way, **part).sum(axis=0)))  # type: ignore[arg-type]


def silent(done: int, total: int) -> None:
    pass


def test_each_way_tells_what_it_can() -> None:
    scores = score(rows(), CODES, 0, silent)
    assert error(scores, "latent_linear") < 1e-3
    assert error(scores, "latent_mlp") < 0.1
    # A sign of a normal number leaves 1 - 2 / pi of its variance; noise as large as the signal leaves half.
    assert error(scores, "code_linear") == pytest.approx(1 - 2 / np.pi, abs=0.05)
    assert error(scores, "flow_8x8_linear") == pytest.approx(0.5, abs=0.1)
    # What names the episode, and what has lost its order, tell nothing of another episode.
    assert error(scores, "frame_linear") > 0.97
    assert error(scores, "latent_shuffled") == pytest.approx(1, abs=0.05)


def test_every_episode_is_scored_once_and_by_a_probe_that_has_not_seen_it() -> None:
    assert sorted(i for fold in folds_of(13, 0) for i in fold) == list(range(13))
    assert [len(f) for f in folds_of(13, 0)] == [3, 3, 3, 2, 2]
    assert len(folds_of(3, 0)) == 3
    # One-hot names of the episodes would tell everything to a probe that had seen them.
    named = rows(FOLDS)
    for index, r in enumerate(named):
        r.truth_SK[:] = index  # type: ignore[index]
        r.features["latent"][:] = np.eye(FOLDS)[index][: r.features["latent"].shape[1]]
    assert error(score(named, CODES, 0, silent, [Way("latent", "linear")]), "latent_linear") > 0.9


def test_errors_of_parts_are_of_their_own_variance() -> None:
    scores = score(rows(noise=0.5), CODES, 0, silent, [Way("latent", "linear")])
    slow = [np.abs(t[:, 0]) < 0.5 for t in scores.truth]
    assert error(scores, "latent_linear", columns=[0]) == pytest.approx(error(scores, "latent_linear"), abs=0.05)
    assert error(scores, "latent_linear", columns=[0], keep=slow) > 1.5 * error(scores, "latent_linear", columns=[0])
    counted = scores.errors_E2("latent_linear", keep=slow)[:, 1]
    np.testing.assert_array_equal(counted, [s.sum() for s in slow])


def test_numbers_that_never_vary_are_left_out() -> None:
    truth: list[Array] = [np.column_stack([np.arange(5.0), np.full(5, 3.0)]) for _ in range(2)]
    assert error(Scores({"mean": [np.full((5, 2), 2.0)] * 2}, truth), "mean") == pytest.approx(1)
    flat = Scores({"mean": [np.ones((5, 1))] * 2}, [np.ones((5, 1))] * 2)
    assert np.isnan(error(flat, "mean"))


def test_supervised_inverse_dynamics_reads_pictures_or_claims_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    some = rows(3, 60)
    read = supervised_predictions(some, 0)
    assert read is not None
    scores = Scores({"supervised": read}, [r.truth_SK for r in some if r.truth_SK is not None])
    assert error(scores, "supervised") < 0.5
    assert supervised_predictions(some[:2], 0) is None  # nothing to set aside
    monkeypatch.setattr("genie_core.evaluation.suite.networks.SUPERVISED_STEPS", 15)
    assert supervised_predictions(some, 0) is None  # still falling


def test_many_episodes_are_scored_on_one_fold_by_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genie_core.evaluation.suite.networks.LARY_STEPS", 5)
    errors = lary_scores(rows(20, 8), 0)
    assert set(errors) == {f"lary_{f}_{kind}" for f in ("latent", "flow_8x8") for kind in ("absolute", "relative")}
    scored = [i in folds_of(20, 0)[0] for i in range(20)]
    np.testing.assert_array_equal(errors["lary_latent_absolute"][:, 1] > 0, scored)


def test_larys_probe_reads_chunks_of_what_has_a_scale_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first layer norm takes the length of a latent away: of two numbers alone little more than signs are left."""
    monkeypatch.setattr("genie_core.evaluation.suite.networks.LARY_STEPS", 120)
    monkeypatch.setattr("genie_core.evaluation.suite.scoring.LARY_FEATURES", ("latent", "latent_beside_a_scale"))
    errors = {key: float(ratio(e.sum(axis=0))) for key, e in lary_scores(rows(3, 60), 0).items()}
    for kind in ("absolute", "relative"):
        assert errors[f"lary_latent_beside_a_scale_{kind}"] < 0.35 < errors[f"lary_latent_{kind}"]
    assert lary_scores(rows(2), 0) == {}


def test_comparisons_are_paired_and_means_count_sets_alike() -> None:
    rng = np.random.default_rng(0)
    hard = rng.uniform(0, 10, 30)  # episodes differ much, the two ways by little, but always
    errors = {
        "latent_linear": np.stack((hard * 20, np.full(30, 20.0)), axis=1),
        "flow_8x8_linear": np.stack((hard * 20 + 2, np.full(30, 20.0)), axis=1),
    }
    found = error_metrics(errors, rng)["latent_linear_minus_flow_8x8_linear"]
    assert isinstance(found, Metric)
    assert found.ci95 is not None
    assert found.value == pytest.approx(-0.1)
    assert -0.11 < found.ci95[0] <= found.ci95[1] < -0.09
    other = {way: e[:3] * [0, 1] for way, e in errors.items()}
    means = mean_over([errors, other], "latent_linear", ["flow_8x8_linear"], 0)
    latent, difference = means["latent_linear"], means["latent_linear_minus_flow_8x8_linear"]
    assert isinstance(latent, Metric)
    assert isinstance(difference, Metric)
    assert latent.value == pytest.approx(hard.mean() / 2)
    assert difference.ci95 is not None
    assert difference.ci95[1] < 0
