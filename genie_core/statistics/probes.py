"""The MLP probe: how much of the ground truth a representation contains. Linear probes are in `ridge`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genie_core.statistics.metrics import Array

Probe = Callable[[Array], Array]
"""Maps features (N, F) to predictions (N, K)."""

HIDDEN = 128
STEPS = 1500
OUTLIER = 5.0
"""Features of the MLP are clipped to this many standard deviations from their mean."""
_CHECK_EVERY, _PATIENCE = 10, 200
"""Steps between validations, and without improvement before training ends."""
_LEAST_SCALE = 1e-8


@dataclass(frozen=True)
class Scale:
    """Standardises columns by their mean and standard deviation; constant columns become 0."""

    mean: Array
    deviation: Array

    @staticmethod
    def of(x_NF: Array, floor: float = 0.0) -> Scale:
        """Compute the scale of these rows; a column with a deviation below `floor`, but not 0, is scaled by `floor`."""
        deviation = x_NF.std(axis=0)
        scale = np.where(deviation > _LEAST_SCALE, np.maximum(deviation, floor), np.inf)
        return Scale(x_NF.mean(axis=0), scale)

    def apply(self, x_NF: Array) -> Array:
        """Standardise rows to mean 0 and deviation 1."""
        scaled: Array = (x_NF - self.mean) / self.deviation
        return scaled

    def undo(self, x_NF: Array) -> Array:
        """Invert `apply`."""
        return x_NF * np.where(np.isinf(self.deviation), 0, self.deviation) + self.mean


def fit_mlp(x_NF: Array, y_NK: Array, seed: int, *, batch: int | None = None, steps: int = STEPS) -> Probe:
    """Fit a network with two hidden layers.

    The number of steps is chosen first, by training on the first four fifths of the rows and validating on the last
    fifth: rows are in the order of their episodes, so that these are (nearly all) from other episodes.

    Args:
        x_NF: features.
        y_NK: targets.
        seed: of the initial weights and the batches; torch's global random state is left unchanged.
        batch: rows per training step, drawn at random; None: all.
        steps: maximum number of training steps.

    """
    inputs, outputs = Scale.of(x_NF), Scale.of(y_NK)

    def scaled(features: Array) -> Tensor:
        return torch.from_numpy(inputs.apply(features).clip(-OUTLIER, OUTLIER)).float()

    x, y = scaled(x_NF), torch.from_numpy(outputs.apply(y_NK)).float()
    kept = max(1, len(x) - len(x) // 5)
    course = _Course(seed, batch, steps)
    network = _network(x.shape[1], y.shape[1], seed)
    _train(network, x, y, course, _best_steps(_network(x.shape[1], y.shape[1], seed), x, y, kept, course))

    def predict(features: Array) -> Array:
        with torch.inference_mode():
            return outputs.undo(network(scaled(features)).double().numpy())

    return predict


@dataclass(frozen=True)
class _Course:
    """Training schedule of a network: see `fit_mlp`."""

    seed: int
    batch: int | None
    steps: int


def _network(inputs: int, outputs: int, seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(inputs, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, outputs)
        )


def _best_steps(network: nn.Sequential, x_NF: Tensor, y_NK: Tensor, kept: int, course: _Course) -> int:
    """Return the number of steps on the first `kept` rows that predicts the others best; all if there are none."""
    if kept == len(x_NF):
        return course.steps
    best, best_steps = float("inf"), 0

    def look(steps: int) -> bool:
        """Record the error after this many steps; return whether to continue."""
        nonlocal best, best_steps
        if steps % _CHECK_EVERY == 0:
            with torch.no_grad():
                error = float(F.mse_loss(network(x_NF[kept:]), y_NK[kept:]))
            if error < best:
                best, best_steps = error, steps
        return steps - best_steps < _PATIENCE

    _train(network, x_NF[:kept], y_NK[:kept], course, course.steps, look)
    return best_steps


def _train(
    network: nn.Sequential,
    x_NF: Tensor,
    y_NK: Tensor,
    course: _Course,
    steps: int,
    go_on: Callable[[int], bool] = lambda steps: True,
) -> None:
    """Train for that many steps, or until `go_on`, called before each, returns False."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    draws = torch.Generator().manual_seed(course.seed)
    for step in range(steps):
        if not go_on(step):
            break
        x_BF, y_BK = x_NF, y_NK
        if course.batch is not None and course.batch < len(x_NF):
            drawn_B = torch.randint(len(x_NF), (course.batch,), generator=draws)
            x_BF, y_BK = x_NF[drawn_B], y_NK[drawn_B]
        loss = F.mse_loss(network(x_BF), y_BK)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


__all__ = ["Probe", "Scale", "fit_mlp"]
