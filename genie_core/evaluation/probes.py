"""Linear and MLP probes: how much of the truth can be read off a representation. Pure fitting, no Genie model here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from genie_core.evaluation.metrics import Array

Probe = Callable[[Array], Array]
"""From features (N, F) to predictions (N, K)."""

RIDGE = 1e-3
"""Penalty of the linear probe on standardised features, a share of the number of rows."""
HIDDEN = 128
STEPS = 1500
_CHECK_EVERY = 25
_LEAST_SCALE = 1e-8


@dataclass(frozen=True)
class Scale:
    """Standardises columns by their mean and standard deviation; those that never vary become 0."""

    mean: Array
    deviation: Array

    @staticmethod
    def of(x_NF: Array) -> Scale:
        """The scale of these rows."""
        deviation = x_NF.std(axis=0)
        return Scale(x_NF.mean(axis=0), np.where(deviation > _LEAST_SCALE, deviation, np.inf))

    def apply(self, x_NF: Array) -> Array:
        """Rows as they are, to rows of mean 0 and deviation 1."""
        scaled: Array = (x_NF - self.mean) / self.deviation
        return scaled

    def undo(self, x_NF: Array) -> Array:
        """The way back."""
        return x_NF * np.where(np.isinf(self.deviation), 0, self.deviation) + self.mean


def fit_linear(x_NF: Array, y_NK: Array) -> Probe:
    """Ridge regression with an intercept."""
    inputs, outputs = Scale.of(x_NF), Scale.of(y_NK)
    x, y = inputs.apply(x_NF), outputs.apply(y_NK)
    weights_FK = np.linalg.solve(x.T @ x + RIDGE * len(x) * np.eye(x.shape[1]), x.T @ y)
    return lambda features: outputs.undo(inputs.apply(features) @ weights_FK)


def fit_mlp(x_NF: Array, y_NK: Array, seed: int) -> Probe:
    """A network of two hidden layers, trained on all rows at once.

    The last fifth of the rows is set aside to choose the step at which training should have stopped: rows come in the
    order of their episodes, so that these are (nearly all) of other episodes.

    Args:
        x_NF: features.
        y_NK: what to predict.
        seed: of the first weights; torch's own random state is left as it is.

    """
    inputs, outputs = Scale.of(x_NF), Scale.of(y_NK)
    x, y = (torch.from_numpy(s.apply(v)).float() for s, v in ((inputs, x_NF), (outputs, y_NK)))
    kept = max(1, len(x) - len(x) // 5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Linear(x.shape[1], HIDDEN),
            nn.GELU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.GELU(),
            nn.Linear(HIDDEN, y.shape[1]),
        )
    _train(network, x, y, kept)

    def predict(features: Array) -> Array:
        with torch.inference_mode():
            return outputs.undo(network(torch.from_numpy(inputs.apply(features)).float()).double().numpy())

    return predict


def _train(network: nn.Sequential, x_NF: torch.Tensor, y_NK: torch.Tensor, kept: int) -> None:
    """Train on the first `kept` rows; leave the weights that did best on the others."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    best, weights = float("inf"), network.state_dict()
    check = slice(kept, None) if kept < len(x_NF) else slice(None)
    for step in range(STEPS + 1):
        if step % _CHECK_EVERY == 0:
            with torch.no_grad():
                error = float(F.mse_loss(network(x_NF[check]), y_NK[check]))
            if error < best:
                best, weights = error, {k: v.clone() for k, v in network.state_dict().items()}
        loss = F.mse_loss(network(x_NF[:kept]), y_NK[:kept])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    network.load_state_dict(weights)


__all__ = ["Probe", "Scale", "fit_linear", "fit_mlp"]
