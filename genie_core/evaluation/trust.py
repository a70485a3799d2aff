"""Calibrates the confidence of simulated frames against what really followed, and measures the calibration.

A frame is *right* if it is nearer to the real frame of its time than the start frame is. The probability of that comes
from `genie_core.inference.confidence`; each is judged by a regression that has not seen its episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from genie_core.evaluation.metrics import Findings, Measured, Missing, mean_of, of_means
from genie_core.inference.confidence import Calibration, features
from genie_core.statistics.logistic import fit_logistic
from genie_core.statistics.metrics import Array

TRUSTED = 0.8
"""Confidence from which a frame is trusted; those of a rollout up to the first with less."""
BINS = 10
FOLDS = 5
LEAST_EPISODES = 2

CURVES = ("dynamics.confidence_by_horizon", "dynamics.right_by_horizon")


@dataclass(frozen=True)
class Trial:
    """One rollout compared with what happened.

    Attributes:
        take: number of the episode that it starts in.
        agreement_H: agreement of what was read back with what was asked for, by frame.
        right_H: whether each frame is nearer to the real one than the start frame is.

    """

    take: int
    agreement_H: Array
    right_H: NDArray[np.bool_]

    @property
    def feature_HF(self) -> Array:
        """Inputs of the probability of each frame."""
        return np.stack([features(self.agreement_H[: h + 1].tolist()) for h in range(len(self.agreement_H))])


def calibrate(trials: Sequence[Trial], bundle_id: str) -> Calibration:
    """Fit the probability of being right on all trials, at least one; whose data they are of is left open."""
    intercept, weights = _fit(trials)
    return Calibration(
        bundle_id=bundle_id,
        intercept=intercept,
        weights=tuple(weights.tolist()),
        data="",
        rollouts=len(trials),
        episodes=len({trial.take for trial in trials}),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def trust_findings(trials: Sequence[Trial], rng: np.random.Generator) -> Findings:
    """Measure ``dynamics.confidence_*`` and ``dynamics.trusted_*``, each trial judged without its own episode."""
    names = (
        "dynamics.confidence_calibration_error",
        "dynamics.confidence_brier_skill",
        "dynamics.trusted_frames",
        "dynamics.trusted_right",
    )
    takes = sorted({trial.take for trial in trials})
    if len(takes) < LEAST_EPISODES:
        return Findings(dict.fromkeys(names, Missing(f"it takes rollouts in {LEAST_EPISODES} episodes")))
    confidence = _held_out(trials, takes)
    groups = [[i for i, trial in enumerate(trials) if trial.take == take] for take in takes]

    def by_take(values: Sequence[Array]) -> list[Array]:
        return [np.concatenate([values[i] for i in group]) for group in groups]

    right = [trial.right_H.astype(np.float64) for trial in trials]
    trusted = [_leading(of >= TRUSTED) for of in confidence]
    base = float(np.concatenate(right).mean())
    squares = [
        np.stack([np.square(c - r), np.square(base - r)], axis=1) for c, r in zip(confidence, right, strict=True)
    ]
    metrics: dict[str, Measured] = {
        names[0]: of_means(
            by_take([_binned(c, r) for c, r in zip(confidence, right, strict=True)]), _calibration_error, rng
        ),
        names[1]: of_means(by_take(squares), lambda m_R2: 1 - m_R2[:, 0] / m_R2[:, 1], rng),
        names[2]: mean_of(by_take([np.array([of.sum()], np.float64) for of in trusted]), rng),
        names[3]: mean_of(by_take([r[of] for r, of in zip(right, trusted, strict=True)]), rng),
    }
    curves: dict[str, list[Measured]] = {name: [] for name in CURVES}
    for h in range(max(len(of) for of in right)):
        for name, values in zip(CURVES, (confidence, right), strict=True):
            curves[name].append(mean_of(by_take([of[h : h + 1] for of in values]), rng))
    return Findings(metrics, curves)


def _fit(trials: Sequence[Trial]) -> tuple[float, Array]:
    feature_NF = np.concatenate([trial.feature_HF for trial in trials])
    right_N = np.concatenate([trial.right_H for trial in trials]).astype(np.float64)
    return fit_logistic(feature_NF, right_N)


def _held_out(trials: Sequence[Trial], takes: Sequence[int]) -> list[Array]:
    """Return the confidence of each frame of each trial, by a regression fitted on other episodes."""
    fold_of = {take: place % FOLDS for place, take in enumerate(takes)}
    confidence: list[Array] = [np.zeros(0)] * len(trials)
    for fold in sorted(set(fold_of.values())):
        intercept, weights = _fit([trial for trial in trials if fold_of[trial.take] != fold])
        for i, trial in enumerate(trials):
            if fold_of[trial.take] == fold:
                odds_H = np.clip(intercept + trial.feature_HF @ weights, -30, 30)
                confidence[i] = 1 / (1 + np.exp(-odds_H))
    return confidence


def _leading(flag_H: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask that is True up to the first False."""
    return np.logical_and.accumulate(flag_H)


def _binned(confidence_H: Array, right_H: Array) -> Array:
    """Return rows (H, BINS, 2): confidence less truth in its bin, and whether it is in that bin."""
    rows_HB2 = np.zeros((len(confidence_H), BINS, 2))
    place_H = np.minimum((confidence_H * BINS).astype(int), BINS - 1)
    rows_HB2[np.arange(len(place_H)), place_H] = np.stack([confidence_H - right_H, np.ones_like(right_H)], axis=1)
    return rows_HB2


def _calibration_error(mean_RB2: Array) -> Array:
    """Return the mean over bins of how far confidence is from the share that is right, weighed by their size."""
    error: Array = np.abs(mean_RB2[:, :, 0]).sum(axis=1)
    return error


__all__ = ["CURVES", "TRUSTED", "Trial", "calibrate", "trust_findings"]
