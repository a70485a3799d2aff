"""The MLP probe: how much of the truth can be read off a representation. Linear probes are `ridge`'s work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genie_core.statistics.metrics import Array

Probe = Callable[[Array], Array]
"""From features (N, F) to predictions (N, K)."""

HIDDEN = 128
STEPS = 1500
OUTLIER = 5.0
"""The MLP sees features no further from their mean than this many standard deviations."""
_CHECK_EVERY, _PATIENCE = 10, 200
"""Steps between looks at the rows set aside, and without a better look after which training ends."""
_LEAST_SCALE = 1e-8


@dataclass(frozen=True)
class Scale:
    """Standardises columns by their mean and standard deviation; those that never vary become 0."""

    mean: Array
    deviation: Array

    @staticmethod
    def of(x_NF: Array, floor: float = 0.0) -> Scale:
        """The scale of these rows; a column that varies less than `floor`, but does, is scaled by that."""
        deviation = x_NF.std(axis=0)
        scale = np.where(deviation > _LEAST_SCALE, np.maximum(deviation, floor), np.inf)
        return Scale(x_NF.mean(axis=0), scale)

    def apply(self, x_NF: Array) -> Array:
        """Rows as they are, to rows of mean 0 and deviation 1."""
        scaled: Array = (x_NF - self.mean) / self.deviation
        return scaled

    def undo(self, x_NF: Array) -> Array:
        """The way back."""
        return x_NF * np.where(np.isinf(self.deviation), 0, self.deviation) + self.mean


def fit_mlp(x_NF: Array, y_NK: Array, seed: int, *, batch: int | None = None, steps: int = STEPS) -> Probe:
    """A network of two hidden layers.

    How long is found first, by training on the first four fifths of the rows and looking at the last fifth: rows come
    in the order of their episodes, so that these are (nearly all) of other episodes.

    Args:
        x_NF: features.
        y_NK: what to predict.
        seed: of the first weights and of the batches; torch's own random state is left as it is.
        batch: rows of a training step, drawn at random; None: all.
        steps: most of training.

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
    """How a network is trained: see `fit_mlp`."""

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
    """After how many steps on the first `kept` rows the others are predicted best; all steps where there are none."""
    if kept == len(x_NF):
        return course.steps
    best, best_steps = float("inf"), 0

    def look(steps: int) -> bool:
        """Note the error after so many steps; whether to go on."""
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
    """Train for so many steps, or until `go_on`, asked before each, says no."""
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
