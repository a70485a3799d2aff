"""The way back: from a robot's own action, and the frame, to the latent action that does as much in a simulation.

Fitted on the same labelled transitions as the way from latent to action. Knows in which range these actions were: an
action beyond it is encoded as it is, and reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.alignment.regressor import (
    LINEAR,
    OBSERVATION_ALONE,
    Array,
    Inputs,
    Kernel,
    Regressor,
    fit_regressor,
)

_SMOOTH = tuple(Kernel(kind="smooth", latent_scale=s) for s in (0.35, 0.7, 1.4))
WITHOUT_FRAME = (LINEAR, *_SMOOTH)
WITH_FRAME = (
    *WITHOUT_FRAME,
    *OBSERVATION_ALONE,
    *(Kernel(kind="smooth", latent_scale=k.latent_scale, observation_scale=o) for k in _SMOOTH for o in (0.5, 2.0)),
)
"""What the regressor chooses from. Its kernels' ``latent`` is the standardised action here."""

_LEAST_SCALE = 1e-8


@dataclass(frozen=True)
class Scale:
    """Actions as the regressor sees them, and the range in which they were.

    Attributes:
        mean_A, deviation_A: of the actions that it was fitted on, in their units.
        low_A, high_A: the smallest and the largest of each component.

    """

    mean_A: Array
    deviation_A: Array
    low_A: Array
    high_A: Array

    @staticmethod
    def of(action_NA: Array) -> Scale:
        """Measure N >= 1 actions."""
        return Scale(action_NA.mean(axis=0), action_NA.std(axis=0), action_NA.min(axis=0), action_NA.max(axis=0))

    def standardised(self, action_NA: Array) -> Array:
        """Scale actions to variance 1, so that kernels fit any units; 0 where a component never varied."""
        varies_A = self.deviation_A > _LEAST_SCALE
        unit_A = np.where(varies_A, self.deviation_A, 1) * np.sqrt(max(1, int(varies_A.sum())))
        standard_NA: Array = np.where(varies_A, (action_NA - self.mean_A) / unit_A, 0)
        return standard_NA

    def outside(self, action_NA: Array) -> NDArray[np.bool_]:
        """Return which components lie beyond the range, to the rounding of float32, (N, A)."""
        slack_A = 1e-6 * np.maximum(np.abs(self.low_A), np.abs(self.high_A)) + 1e-6 * (self.high_A - self.low_A)
        beyond_NA: NDArray[np.bool_] = (action_NA < self.low_A - slack_A) | (action_NA > self.high_A + slack_A)
        return beyond_NA


@dataclass(frozen=True)
class WayBack:
    """From action to latent."""

    scale: Scale
    regressor: Regressor

    @property
    def needs_frames(self) -> bool:
        """Whether it also reads the frame in which the action begins."""
        return self.regressor.needs_observation

    def predict(self, action_NA: Array, observation_NP: Array | None) -> Array:
        """Return latents (N, D) of actions (N, A) in the units of the data, whatever their range."""
        return self.regressor.predict(self._inputs(action_NA, observation_NP))

    def _inputs(self, action_NA: Array, observation_NP: Array | None) -> Inputs:
        return as_inputs(self.scale, action_NA, observation_NP)


def as_inputs(scale: Scale, action_NA: Array, observation_NP: Array | None) -> Inputs:
    """Return actions as the regressor's inputs, where latents are otherwise; there is no code."""
    return Inputs(np.zeros(len(action_NA), np.int64), scale.standardised(action_NA), observation_NP)


def fit_way_back(
    action_NA: Array,
    observation_NP: Array | None,
    latent_ND: Array,
    episode_N: NDArray[np.int64],
    seed: int,
    kernels: Sequence[Kernel] | None = None,
) -> WayBack:
    """Fit on N >= 1 labelled transitions.

    Args:
        action_NA: the robot's action over each.
        observation_NP: features of the frame in which each begins; None: it is not to be read.
        latent_ND: their latents.
        episode_N: episode of each, for cross-validation.
        seed: of the folds and the centres.
        kernels: to choose from, for each number of the latent; None: all.

    """
    scale = Scale.of(action_NA)
    inputs = as_inputs(scale, action_NA, observation_NP)
    choice = kernels or (WITHOUT_FRAME if observation_NP is None else WITH_FRAME)
    return WayBack(scale, fit_regressor(inputs, latent_ND, episode_N, choice, seed))


__all__ = ["WITHOUT_FRAME", "WITH_FRAME", "Scale", "WayBack", "as_inputs", "fit_way_back"]
