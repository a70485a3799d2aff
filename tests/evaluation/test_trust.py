"""Confidence of simulated frames is calibrated where it can be, and says so where it says nothing."""

from __future__ import annotations

import numpy as np
import pytest

from genie_core.evaluation.metrics import Metric, Missing
from genie_core.evaluation.trust import Trial, calibrate, trust_findings
from genie_core.inference.confidence import features

HORIZON = 8


def trials(tells: float, episodes: int = 20, each: int = 8) -> list[Trial]:
    """Rollouts whose frames are right by chance, the likelier the better what was asked for is read back."""
    rng = np.random.default_rng(0)
    made = []
    for take in range(episodes):
        for _ in range(each):
            agreement_H = rng.uniform(0, 1, HORIZON)
            odds_H = tells * (agreement_H - 0.5) - 0.2 * np.log(np.arange(1, HORIZON + 1))
            made.append(Trial(take, agreement_H, rng.random(HORIZON) < 1 / (1 + np.exp(-odds_H))))
    return made


def value(metric: object) -> float:
    assert isinstance(metric, Metric)
    return metric.value


def test_confidence_that_can_tell_is_calibrated_on_episodes_it_has_not_seen() -> None:
    found = trust_findings(trials(tells=8), np.random.default_rng(0))
    assert value(found.metrics["dynamics.confidence_calibration_error"]) < 0.05
    assert value(found.metrics["dynamics.confidence_brier_skill"]) > 0.25
    assert value(found.metrics["dynamics.trusted_right"]) > 0.8
    assert 0 < value(found.metrics["dynamics.trusted_frames"]) < HORIZON
    for told, is_so in zip(*found.curves.values(), strict=True):
        assert value(told) == pytest.approx(value(is_so), abs=0.1)


def test_confidence_that_cannot_tell_says_that_it_cannot() -> None:
    found = trust_findings(trials(tells=0), np.random.default_rng(0))
    assert abs(value(found.metrics["dynamics.confidence_brier_skill"])) < 0.03
    assert value(found.metrics["dynamics.trusted_frames"]) == 0
    assert isinstance(found.metrics["dynamics.trusted_right"], Missing)


def test_one_episode_is_not_enough_to_judge_by() -> None:
    found = trust_findings(trials(tells=8, episodes=1), np.random.default_rng(0))
    assert all(isinstance(metric, Missing) for metric in found.metrics.values())


def test_what_is_fitted_gives_more_to_what_agrees() -> None:
    calibration = calibrate(trials(tells=8), "ab" * 32)
    assert (calibration.rollouts, calibration.episodes) == (160, 20)
    low, high = calibration.probability(np.stack([features([0.5, 0.1]), features([0.5, 0.9])]))
    assert low < 0.3
    assert high > 0.7
