"""Ridge regression whose penalty is chosen on the training rows by cross-validation over whole episodes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genie_core.statistics.metrics import Array
from genie_core.statistics.probes import OUTLIER, Probe, Scale

PENALTIES = tuple(10.0**power for power in range(-3, 5))
"""Penalties tried, as multiples of the number of rows, for standardised features."""

LEAST_SPREAD = 0.05
"""Floor of a column's standard deviation, as a share of the columns' root mean square deviation, when standardising: a
part of the image where nothing moved in training may move elsewhere."""

FOLDS = 5
"""Number of folds of cross-validation, at most."""


def fold_of(episode_N: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """Assign each row to a fold, (N,) in 0 .. folds - 1: whole episodes, dealt out in order.

    There are fewer folds if there are fewer episodes.
    """
    _, place_N = np.unique(episode_N, return_inverse=True)
    parts: NDArray[np.int64] = place_N % folds
    return parts


def fit_ridge(x_NF: Array, y_NK: Array, episode_N: NDArray[np.int64]) -> Probe:
    """Fit a ridge regression with an intercept and one penalty for all K outputs.

    Features, all of one kind (flow of image cells, components of a latent), are standardised with a floor and clipped
    at `OUTLIER` standard deviations, so that one odd transition cannot spoil a whole score.

    The penalty is the one of `PENALTIES` with the lowest cross-validated error (relative to the variance, averaged over
    outputs). Folds are whole episodes; with a single episode, `FOLDS` consecutive runs of its rows.

    Args:
        x_NF: features.
        y_NK: targets.
        episode_N: episode of each row.

    """
    deviation_F = x_NF.std(axis=0)
    floor = LEAST_SPREAD * float(np.sqrt(np.square(deviation_F).mean()))
    inputs, outputs = Scale.of(x_NF, floor), Scale.of(y_NK)

    def scaled(features: Array) -> Array:
        return inputs.apply(features).clip(-OUTLIER, OUTLIER)

    x, y = scaled(x_NF), outputs.apply(y_NK)
    several = bool((episode_N != episode_N[0]).any())
    part_N = fold_of(episode_N, FOLDS) if several else np.arange(len(x)) * FOLDS // len(x)
    error_P = np.zeros(len(PENALTIES))
    for part in range(int(part_N.max()) + 1):
        out_N = part_N == part
        for place, weights_FK in enumerate(_solve(x[~out_N], y[~out_N])):
            error_P[place] += np.square(x[out_N] @ weights_FK - y[out_N]).sum()
    best = int(error_P.argmin())
    weights_FK = _solve(x, y)[best]
    return lambda features: outputs.undo(scaled(features) @ weights_FK)


def _solve(x_NF: Array, y_NK: Array) -> list[Array]:
    """Return weights (F, K) for each penalty, from one eigendecomposition."""
    value_F, vector_FF = np.linalg.eigh(x_NF.T @ x_NF)
    along_FK = vector_FF.T @ (x_NF.T @ y_NK)
    rows = max(1, len(x_NF))
    return [vector_FF @ (along_FK / (value_F.clip(0) + share * rows)[:, None]) for share in PENALTIES]


__all__ = ["FOLDS", "PENALTIES", "fit_ridge", "fold_of"]
