"""Kernel ridge regression from (latent action, observation) to the robot's action.

It has to work with ten labelled transitions as well as with a thousand, so kernel and penalty are chosen for each
component of the action by cross-validation within the labelled transitions. Works on arrays only; `transitions` reads
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Array = NDArray[np.float64]

FOLDS = 5
PENALTIES = tuple(float(p) for p in 10.0 ** np.arange(-3, 4))
"""Ridge penalties to choose from, from hardly any to nearly the mean alone."""
MAX_CENTRES = 1000
"""Largest number of centres; drawn at random from more labelled transitions, to bound time and file size."""
_JITTER = 1e-6
_LEAST_SCALE = 1e-8


class Kernel(BaseModel):
    """Similarity of two transitions.

    ``code``: 1 if they have the same code, else 0: ridge on it is the dictionary's mean, shrunk. ``linear``: dot
    product
    of the latents: ridge on the latent. ``smooth``: decreases with the latents' distance; with an `observation_scale`
    it also decreases, by half at most, with the distance of the observations, so that a latent may mean another action
    elsewhere. ``observation``: decreases with that distance alone and ignores the latent action.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["code", "linear", "smooth", "observation"]
    latent_scale: float = Field(1.0, gt=0, allow_inf_nan=False)
    observation_scale: float | None = Field(None, gt=0, allow_inf_nan=False)


LINEAR = Kernel(kind="linear")
WITHOUT_OBSERVATION = (
    Kernel(kind="code"),
    LINEAR,
    *(Kernel(kind="smooth", latent_scale=s) for s in (0.35, 0.7, 1.4)),
)
OBSERVATION_ALONE = tuple(Kernel(kind="observation", observation_scale=s) for s in (0.5, 2.0))
WITH_OBSERVATION = (
    *WITHOUT_OBSERVATION,
    *OBSERVATION_ALONE,
    *(Kernel(kind="smooth", latent_scale=s, observation_scale=o) for s in (0.35, 0.7, 1.4) for o in (0.5, 2.0)),
)


@dataclass(frozen=True)
class Inputs:
    """Inputs of the regressor for N transitions.

    Attributes:
        code_N: (N,) int64 codes.
        latent_ND: (N, D) latents before quantization.
        observation_NP: (N, P) features of the frame before each; None if there are no frames.

    """

    code_N: NDArray[np.int64]
    latent_ND: Array
    observation_NP: Array | None

    def __len__(self) -> int:
        return len(self.code_N)

    def take(self, rows: NDArray[np.int64]) -> Inputs:
        """Return those rows."""
        seen = None if self.observation_NP is None else self.observation_NP[rows]
        return Inputs(self.code_N[rows], self.latent_ND[rows], seen)

    @staticmethod
    def concatenate(parts: Sequence[Inputs]) -> Inputs:
        """Return all rows of at least one part; without observations if a part has none."""
        seen = [p.observation_NP for p in parts if p.observation_NP is not None]
        return Inputs(
            np.concatenate([p.code_N for p in parts]),
            np.concatenate([p.latent_ND for p in parts]),
            np.concatenate(seen) if len(seen) == len(parts) else None,
        )


@dataclass(frozen=True)
class Regressor:
    """A fitted regressor: action = mean + deviation x the sum over kernels of K(input, centres) @ weights.

    Attributes:
        kernels: those in use.
        centres: M transitions.
        weights_CMA: (kernels, M, A).
        mean_A: mean of the actions that it was fitted on, in their units.
        deviation_A: their standard deviation; 0 for components that never vary.

    """

    kernels: tuple[Kernel, ...]
    centres: Inputs
    weights_CMA: Array
    mean_A: Array
    deviation_A: Array

    @property
    def needs_observation(self) -> bool:
        """Whether it cannot predict without observations."""
        return any(kernel.observation_scale is not None for kernel in self.kernels)

    def predict(self, inputs: Inputs) -> Array:
        """Return actions (N, A) in their own units. Raises ValueError if observations are needed but missing."""
        scaled_NA: Array = np.zeros((len(inputs), len(self.mean_A)))
        for kernel, weights_MA in zip(self.kernels, self.weights_CMA, strict=True):
            scaled_NA += likeness(kernel, inputs, self.centres) @ weights_MA
        return self.mean_A + self.deviation_A * scaled_NA


def likeness(kernel: Kernel, a: Inputs, b: Inputs) -> Array:
    """Return the kernel's values (N, M) between N and M transitions. Raises ValueError if observations are missing."""
    if kernel.kind == "code":
        same_NM: Array = (a.code_N[:, None] == b.code_N).astype(np.float64)
        return same_NM
    if kernel.kind == "linear":
        product_NM: Array = a.latent_ND @ b.latent_ND.T
        return product_NM
    alike_NM = _bell(a.latent_ND, b.latent_ND, kernel.latent_scale)
    if kernel.observation_scale is None:
        return alike_NM
    if a.observation_NP is None or b.observation_NP is None:
        raise ValueError("observations: got none, expected them: this regressor reads them")
    seen_NM = _bell(a.observation_NP, b.observation_NP, kernel.observation_scale)
    return seen_NM if kernel.kind == "observation" else alike_NM * (1 + seen_NM) / 2


def _bell(a_NF: Array, b_MF: Array, scale: float) -> Array:
    square_NM = np.square(a_NF).sum(1)[:, None] + np.square(b_MF).sum(1) - 2 * a_NF @ b_MF.T
    bell: Array = np.exp(-np.maximum(square_NM, 0) / (2 * scale**2))
    return bell


def fit_regressor(
    inputs: Inputs, action_NA: Array, episode_N: NDArray[np.int64], kernels: Sequence[Kernel], seed: int
) -> Regressor:
    """Fit on N >= 1 labelled transitions.

    Args:
        inputs: of the transitions.
        action_NA: (N, A) the robot's action over each, in any units.
        episode_N: (N,) episode of each; cross-validation sets whole episodes aside if there are enough.
        kernels: to choose from, for each component of the action.
        seed: of the folds, and of the centres if there are more than `MAX_CENTRES` transitions.

    """
    rng = np.random.default_rng(seed)
    mean_A, deviation_A = action_NA.mean(axis=0), action_NA.std(axis=0)
    deviation_A = np.where(deviation_A > _LEAST_SCALE, deviation_A, 0)
    scaled_NA = (action_NA - mean_A) / np.where(deviation_A > 0, deviation_A, 1)
    group_N = _groups(episode_N)
    fold_N = (rng.permutation(group_N.max() + 1) % FOLDS)[group_N]
    centres = inputs.take(np.sort(rng.permutation(len(inputs))[:MAX_CENTRES]))
    # One kernel at a time, and those in use once more: all at once would fill the memory if there are many rows.
    gains_KPA = np.stack([_gains(_Space.of(k, inputs, centres).rows_NM, scaled_NA, group_N, fold_N) for k in kernels])
    best_A = gains_KPA.reshape(-1, scaled_NA.shape[1]).argmax(axis=0)
    kernel_A, penalty_A = np.unravel_index(best_A, gains_KPA.shape[:2])
    kernel_A = np.where(gains_KPA.max(axis=(0, 1)) > 0, kernel_A, -1)  # nothing beats the mean: predict the mean
    used = sorted(set(kernel_A.tolist()) - {-1}) or [0]
    weights_CMA = np.zeros((len(used), len(centres), scaled_NA.shape[1]))
    for place, k in enumerate(used):
        space = _Space.of(kernels[k], inputs, centres)
        solved_PMA = _ridge(space.rows_NM, scaled_NA)
        for a in np.flatnonzero(kernel_A == k):
            weights_CMA[place, :, a] = space.back_MM @ solved_PMA[penalty_A[a], :, a]
    return Regressor(tuple(kernels[k] for k in used), centres, weights_CMA, mean_A, deviation_A)


@dataclass(frozen=True)
class _Space:
    """Coordinates of a kernel: `rows_NM` of the transitions, and `back_MM` from weights there to the centres'."""

    rows_NM: Array
    back_MM: Array

    @staticmethod
    def of(kernel: Kernel, inputs: Inputs, centres: Inputs) -> _Space:
        """Return coordinates whose dot products are the kernel's values, exact for the centres (others: Nystroem)."""
        values, vectors_MM = np.linalg.eigh(likeness(kernel, centres, centres))
        kept = values > _JITTER * max(float(values[-1]), 1e-12)
        back_MM = vectors_MM[:, kept] / np.sqrt(values[kept])
        return _Space(likeness(kernel, inputs, centres) @ back_MM, back_MM)


def _ridge(rows_NM: Array, target_NA: Array) -> Array:
    """Return ridge weights (P, M, A) for each of `PENALTIES`."""
    values, vectors_MM = np.linalg.eigh(rows_NM.T @ rows_NM)
    turned_MA = vectors_MM.T @ (rows_NM.T @ target_NA)
    return np.stack([vectors_MM @ (turned_MA / (np.maximum(values, 0) + p)[:, None]) for p in PENALTIES])


def _gains(rows_NM: Array, target_NA: Array, group_N: NDArray[np.int64], fold_N: NDArray[np.int64]) -> Array:
    """Return by how much each penalty beats the mean for each component, (P, A), less one standard error.

    Judged on the rows set aside. The best of many choices looks good on pure noise; requiring a gain larger than its
    own spread over groups falls back to the mean there.
    """
    gain_PNA = np.zeros((len(PENALTIES), *target_NA.shape))
    for fold in np.unique(fold_N):
        aside_N = fold_N == fold
        if aside_N.all():  # a single transition: nothing to learn from
            continue
        mean_A = target_NA[~aside_N].mean(axis=0)
        weights_PMA = _ridge(rows_NM[~aside_N], target_NA[~aside_N] - mean_A)
        wanted_NA = target_NA[aside_N] - mean_A
        gain_PNA[:, aside_N] = np.square(wanted_NA) - np.square(rows_NM[aside_N] @ weights_PMA - wanted_NA)
    mean_PA = gain_PNA.mean(axis=1)
    sums_GPA = np.zeros((group_N.max() + 1, *mean_PA.shape))
    np.add.at(sums_GPA, group_N, (gain_PNA - mean_PA[:, None]).transpose(1, 0, 2))
    sure_PA: Array = mean_PA - np.sqrt(np.square(sums_GPA).sum(axis=0)) / len(target_NA)
    return sure_PA


def _groups(episode_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the groups for cross-validation: episodes, numbered from 0; single transitions if episodes are too few."""
    episodes, group_N = np.unique(episode_N, return_inverse=True)
    return np.arange(len(episode_N)) if len(episodes) < FOLDS else group_N.astype(np.int64)


__all__ = [
    "LINEAR",
    "OBSERVATION_ALONE",
    "WITHOUT_OBSERVATION",
    "WITH_OBSERVATION",
    "Array",
    "Inputs",
    "Kernel",
    "Regressor",
    "fit_regressor",
    "likeness",
]
