"""Ridge regression whose penalty is chosen inside the rows that it is fitted on, by whole episodes left out in turn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genie_core.statistics.metrics import Array
from genie_core.statistics.probes import OUTLIER, Probe, Scale

PENALTIES = tuple(10.0**power for power in range(-3, 5))
"""Tried, each a share of the number of rows, on standardised features."""

LEAST_SPREAD = 0.05
"""Columns that vary less than this share of what columns vary on average are not blown up to a deviation of 1: a part
of the picture where nothing moved in training may move elsewhere."""

FOLDS = 5
"""At most as many parts, of whole episodes, are left out in turn."""


def fold_of(episode_N: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """Which part each row belongs to, (N,) in 0 .. folds - 1: whole episodes, dealt out in their order.

    Fewer parts than `folds` where there are fewer episodes.
    """
    _, place_N = np.unique(episode_N, return_inverse=True)
    parts: NDArray[np.int64] = place_N % folds
    return parts


def fit_ridge(x_NF: Array, y_NK: Array, episode_N: NDArray[np.int64]) -> Probe:
    """Linear regression with an intercept and a squared penalty, the same for all K outputs.

    Features are all of one kind (flow of parts of the picture, a latent's numbers). They are standardised, with a
    floor, and cut off at `OUTLIER` deviations, so that one odd transition cannot spoil a whole score.

    The penalty is the one of `PENALTIES` that predicts left-out episodes best (error over variance, averaged over the
    outputs); with a single episode, whose rows are left out in `FOLDS` runs in turn instead.

    Args:
        x_NF: features.
        y_NK: what to predict.
        episode_N: of which episode each row is.

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
    """Weights (F, K) for each penalty, of one decomposition."""
    value_F, vector_FF = np.linalg.eigh(x_NF.T @ x_NF)
    along_FK = vector_FF.T @ (x_NF.T @ y_NK)
    rows = max(1, len(x_NF))
    return [vector_FF @ (along_FK / (value_F.clip(0) + share * rows)[:, None]) for share in PENALTIES]


__all__ = ["FOLDS", "PENALTIES", "fit_ridge", "fold_of"]
