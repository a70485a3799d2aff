"""The two supervised networks of a suite: inverse dynamics from images, as a bound, and LARY's probe of latents.

Both are trained on part of the training episodes, with early stopping on the rest; scored episodes are never seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from genie_core.statistics.metrics import Array
from genie_core.statistics.probes import Scale

Pictures = NDArray[np.float16]
"""(S, 8, 16, 16)."""

CHECK_EVERY = 10
"""Training steps between validations."""
PATIENCE = 6
"""Validations in a row without improvement after which the error counts as settled."""
SUPERVISED_STEPS, SUPERVISED_BATCH, SUPERVISED_RATE = 400, 64, 2e-3
LARY_STEPS, LARY_BATCH, LARY_RATE, LARY_DECAY = 300, 256, 1e-3, 1e-4
LARY_WIDTH = 256
"""LARY's own network is 4,096 wide, for hundreds of thousands of rows on a GPU."""


@dataclass(frozen=True)
class Fitted:
    """A trained network's predictions.

    Attributes:
        predicted: (S, K) for each scored episode.
        settled: whether the validation error stopped falling before the steps ran out.

    """

    predicted: Sequence[Array]
    settled: bool


class InverseDynamics(nn.Module):
    """Predicts K numbers from (N, 8, 16, 16): first frame, change and optical flow, on a grid of 16 x 16."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(8, 24, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(24, 48, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(48, 48, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(48 * 16, 96),
            nn.GELU(),
            nn.Linear(96, outputs),
        )

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """(N, 8, 16, 16) -> (N, K)."""
        y_NK: Tensor = self.layers(x_NCHW)
        return y_NK


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU())

    def forward(self, x_NF: Tensor) -> Tensor:
        y_NF: Tensor = x_NF + self.layers(x_NF)
        return y_NF


def lary_network(inputs: int, outputs: int) -> nn.Module:
    """LARY's regression probe (arXiv 2604.11689): input layer, two residual layers, output layer, with layer norms."""
    width = LARY_WIDTH
    return nn.Sequential(
        nn.LayerNorm(inputs),
        nn.Linear(inputs, width),
        nn.ReLU(),
        _Residual(width),
        _Residual(width),
        nn.LayerNorm(width),
        nn.Linear(width, outputs),
    )


def fit_inverse_dynamics(
    pictures: Sequence[Pictures], truth: Sequence[Array], scored: Sequence[Pictures], seed: int
) -> Fitted:
    """Train supervised inverse dynamics until the error on a fifth of the episodes stops falling.

    Args:
        pictures: (S, 8, 16, 16) for each training episode; at least two.
        truth: (S, K) for each of them.
        scored: inputs of the episodes to predict.
        seed: seed of weights and batches; torch's global random state is left unchanged.

    """
    scale = Scale.of(np.concatenate(truth))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = InverseDynamics(truth[0].shape[1])
        optimizer = torch.optim.AdamW(network.parameters(), lr=SUPERVISED_RATE, weight_decay=0.01)
        settled = _train(
            network,
            optimizer,
            pictures,
            [scale.apply(t) for t in truth],
            SUPERVISED_BATCH,
            SUPERVISED_STEPS,
            F.mse_loss,
        )
    return Fitted([scale.undo(_predict(network, x)) for x in scored], settled)


def fit_lary(features: Sequence[Array], poses: Sequence[Array], scored: Sequence[Array], seed: int) -> Fitted:
    """Train LARY's probe on poses scaled to variance 1, in which its error is measured.

    Args:
        features: (S, F) for each training episode; at least two.
        poses: (S, K) for each of them, already scaled.
        scored: features of the episodes to predict.
        seed: seed of weights and batches.

    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = lary_network(features[0].shape[1], poses[0].shape[1])
        optimizer = torch.optim.AdamW(network.parameters(), lr=LARY_RATE, weight_decay=LARY_DECAY)
        settled = _train(network, optimizer, features, poses, LARY_BATCH, LARY_STEPS, F.huber_loss)
    return Fitted([_predict(network, x) for x in scored], settled)


def _train(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Sequence[Array] | Sequence[Pictures],
    outputs: Sequence[Array],
    batch: int,
    steps: int,
    loss_of: Callable[[Tensor, Tensor], Tensor],
) -> bool:
    """Train on four fifths of the episodes and keep the weights best on the rest; returns whether it settled."""
    aside = max(1, len(inputs) // 5)
    x_N, y_NK = (_tensor(np.concatenate(some[aside:])) for some in (inputs, outputs))
    seen_N, seen_NK = (_tensor(np.concatenate(some[:aside])) for some in (inputs, outputs))
    best, best_weights, worse = float("inf"), {k: v.clone() for k, v in network.state_dict().items()}, 0
    for step in range(steps):
        network.train()
        drawn_B = torch.randint(len(x_N), (min(batch, len(x_N)),))
        loss = loss_of(network(x_N[drawn_B]), y_NK[drawn_B])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (step + 1) % CHECK_EVERY:
            continue
        network.eval()
        with torch.no_grad():
            error = float(F.mse_loss(network(seen_N), seen_NK))
        worse = 0 if error < best else worse + 1
        if error < best:
            best, best_weights = error, {k: v.clone() for k, v in network.state_dict().items()}
        if worse == PATIENCE:
            break
    network.load_state_dict(best_weights)
    return worse == PATIENCE


@torch.no_grad()
def _predict(network: nn.Module, x: Array | Pictures) -> Array:
    network.eval()
    predicted: Array = network(_tensor(x)).double().numpy()
    return predicted


def _tensor(x: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(x)).float()


__all__ = ["Fitted", "InverseDynamics", "fit_inverse_dynamics", "fit_lary", "lary_network"]
