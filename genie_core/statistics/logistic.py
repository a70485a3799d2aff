"""Logistic regression by Newton's method, with a small penalty so that it always ends."""

from __future__ import annotations

import numpy as np

from genie_core.statistics.metrics import Array

_PENALTY = 1e-2
_ROUNDS = 50
_ENOUGH = 1e-9


def fit_logistic(feature_NF: Array, right_N: Array) -> tuple[float, Array]:
    """Return intercept and weights (F,) of the log odds that something is so.

    Features are standardised for the penalty, and the weights are those of the features as given.

    Args:
        feature_NF: (N, F) numbers of N >= 1 cases.
        right_N: (N,) 1 where it is so, else 0.

    """
    mean_F, deviation_F = feature_NF.mean(axis=0), feature_NF.std(axis=0)
    deviation_F = np.where(deviation_F > 1e-12, deviation_F, 1)
    x_NF = np.concatenate([np.ones((len(feature_NF), 1)), (feature_NF - mean_F) / deviation_F], axis=1)
    penalty_FF = _PENALTY * np.eye(x_NF.shape[1])
    weight_F = np.zeros(x_NF.shape[1])
    for _ in range(_ROUNDS):
        share_N = 1 / (1 + np.exp(-np.clip(x_NF @ weight_F, -30, 30)))
        slope_F = x_NF.T @ (share_N - right_N) + penalty_FF @ weight_F
        bend_FF = (x_NF * (share_N * (1 - share_N))[:, None]).T @ x_NF + penalty_FF
        change_F = np.linalg.solve(bend_FF, slope_F)
        weight_F = weight_F - np.clip(change_F, -2, 2)
        if float(np.abs(change_F).max()) < _ENOUGH:
            break
    own_F = weight_F[1:] / deviation_F
    return float(weight_F[0] - own_F @ mean_F), own_F


__all__ = ["fit_logistic"]
