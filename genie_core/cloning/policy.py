"""The policy, a small network from the last frames to a target, and its training. Knows no actions and no robot.

Targets are rows of numbers or codes from any source: one function trains both the oracle, on actions, and the policy
that never sees actions, on labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from genie_core.data import Frames

Kind = Literal["numbers", "codes"]
Array = NDArray[np.float64]

_WARM_UP = 50
"""Steps of learning rate warm-up."""
_MOMENTS = 256
"""Moments that are predicted together."""
_GRID = 8
"""Side of the final feature map: what the convolutions make of 64 x 64 pixels."""


class PolicyConfig(BaseModel):
    """Network and training of policies: the same for all that are compared."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int = Field(2, ge=1, le=16, description="number of last frames that a policy sees")
    steps: int = Field(1000, ge=1, description="training steps")
    batch: int = Field(64, ge=1, description="transitions per step, or all if there are fewer")
    rate: float = Field(2e-3, gt=0, description="highest learning rate; decays to zero along a cosine")
    weight_decay: float = Field(0.05, ge=0)
    shift: int = Field(2, ge=0, description="training augmentation: largest shift of pictures, pixels")


class PolicyNetwork(nn.Module):
    """Convolutions and three linear layers.

    All convolutions are normalised: without normalisation, training takes three times as long, and without that of the
    last one some seeds die at the start (all its outputs are negative).
    """

    def __init__(self, frames: int, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for into, out, kernel, stride in ((3 * frames, 16, 5, 2), (16, 32, 3, 2), (32, 32, 3, 2), (32, 32, 3, 1)):
            layers += [
                nn.Conv2d(into, out, kernel, stride, padding=kernel // 2),
                nn.GroupNorm(8, out),
                nn.ReLU(),
            ]
        layers += [nn.AdaptiveAvgPool2d(_GRID), nn.Flatten()]
        self.convolutions = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(32 * _GRID**2, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, outputs)
        )

    def forward(self, seen_BCHW: Tensor) -> Tensor:
        """Map frames stacked along the channels, (B, 3 F, H, W) in [-0.5, 0.5], to (B, outputs)."""
        out: Tensor = self.head(self.convolutions(seen_BCHW))
        return out


@dataclass(frozen=True)
class Moments:
    """Observations that a policy learns from.

    Attributes:
        frames_NHWC: frames of all videos in sequence, (N, H, W, 3) uint8.
        seen_MF: (M, F) indices of the last F frames at each moment, the current one last.

    """

    frames_NHWC: Frames
    seen_MF: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.seen_MF)

    def take(self, rows_N: NDArray[np.int64]) -> Moments:
        """Return those moments, with only the frames that they use."""
        used, place = np.unique(self.seen_MF[rows_N], return_inverse=True)
        return Moments(self.frames_NHWC[used], place.reshape(len(rows_N), -1))


def moments(videos: Sequence[Frames], frames: int) -> Moments:
    """Return all moments of some videos except each one's last, which no action follows.

    At the start of a video its first frame is repeated.
    """
    seen, first = [], 0
    for video_THWC in videos:
        now_T1 = np.arange(len(video_THWC) - 1)[:, None]
        seen.append(first + np.maximum(0, now_T1 - np.arange(frames)[::-1]))
        first += len(video_THWC)
    return Moments(np.concatenate(videos), np.concatenate(seen))


def transitions(videos: Sequence[Frames]) -> Moments:
    """Return the two frames of every transition of some videos: what an inverse dynamics network sees."""
    first, seen = 0, []
    for video_THWC in videos:
        before_S = first + np.arange(len(video_THWC) - 1)
        seen.append(np.stack((before_S, before_S + 1), axis=1))
        first += len(video_THWC)
    return Moments(np.concatenate(videos), np.concatenate(seen))


class Policy:
    """A trained network and the scale of its targets."""

    def __init__(self, network: PolicyNetwork, kind: Kind, frames: int, mean_K: Array, deviation_K: Array) -> None:
        self.network, self.kind, self.frames = network.eval(), kind, frames
        self.mean_K, self.deviation_K = mean_K, deviation_K

    @torch.inference_mode()
    def predict(self, last_FHWC: Frames) -> Array:
        """Map the last F frames (F, H, W, 3) to K numbers, or to the probabilities of K codes."""
        said_K: Array = self._say(last_FHWC[None])[0]
        return said_K

    @torch.inference_mode()
    def predict_all(self, seen: Moments) -> Array:
        """Predict for all M moments: (M, K)."""
        parts = [seen.seen_MF[first : first + _MOMENTS] for first in range(0, len(seen), _MOMENTS)]
        return np.concatenate([self._say(seen.frames_NHWC[part]) for part in parts])

    def _say(self, shown_BFHWC: Frames) -> Array:
        out_BK = self.network(_stack(shown_BFHWC)).double()
        if self.kind == "codes":
            share_BK: Array = out_BK.softmax(dim=1).numpy()
            return share_BK
        number_BK: Array = out_BK.numpy() * self.deviation_K + self.mean_K
        return number_BK


def train_policy(
    seen: Moments,
    targets: NDArray[np.float64] | NDArray[np.int64],
    kind: Kind,
    outputs: int,
    config: PolicyConfig,
    seed: int,
) -> Policy:
    """Train on moments and their targets.

    Args:
        seen: M moments.
        targets: (M, K) numbers, or (M,) codes below K.
        kind: numbers or codes.
        outputs: K.
        config: network and training.
        seed: of the initial weights and all draws; torch's global random state is left unchanged.

    """
    if len(seen) != len(targets):
        raise ValueError(f"got {len(seen)} moments and {len(targets)} targets, expected one each")
    if kind == "codes":
        mean_K, deviation_K = np.zeros(outputs), np.ones(outputs)
        target = torch.from_numpy(targets)
    else:
        mean_K, deviation_K = targets.mean(axis=0), np.maximum(targets.std(axis=0), 1e-6)
        target = torch.from_numpy((targets - mean_K) / deviation_K).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PolicyNetwork(seen.seen_MF.shape[1], outputs)
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=config.weight_decay)
    for step in range(config.steps):
        falling = 0.5 * (1 + np.cos(np.pi * step / config.steps))
        optimizer.param_groups[0]["lr"] = config.rate * min(falling, (step + 1) / _WARM_UP)
        rows = rng.permutation(len(seen))[: config.batch]
        shown = _shifted(seen.frames_NHWC[seen.seen_MF[rows]], config.shift, rng)
        out = network(_stack(shown))
        loss = F.cross_entropy(out, target[rows]) if kind == "codes" else F.mse_loss(out, target[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    return Policy(network, kind, seen.seen_MF.shape[1], mean_K, deviation_K)


def _stack(frames_BFHWC: Frames) -> Tensor:
    """Stack frames: (B, F, H, W, 3) uint8 -> (B, 3 F, H, W) in [-0.5, 0.5]."""
    x = torch.from_numpy(np.ascontiguousarray(frames_BFHWC.transpose(0, 1, 4, 2, 3)))
    return x.flatten(1, 2).float() / 255 - 0.5


def _shifted(frames_BFHWC: Frames, by: int, rng: np.random.Generator) -> Frames:
    """Shift each row's frames together by up to `by` pixels, repeating edges."""
    if by == 0:
        return frames_BFHWC
    height, width = frames_BFHWC.shape[2:4]
    moves = rng.integers(-by, by + 1, (len(frames_BFHWC), 2))
    rows = np.clip(np.arange(height) + moves[:, :1], 0, height - 1)
    columns = np.clip(np.arange(width) + moves[:, 1:], 0, width - 1)
    batch = np.arange(len(frames_BFHWC))[:, None, None]
    moved: Frames = frames_BFHWC.transpose(0, 2, 3, 1, 4)[batch, rows[:, :, None], columns[:, None, :]]
    return moved.transpose(0, 3, 1, 2, 4)


__all__ = [
    "Kind",
    "Moments",
    "Policy",
    "PolicyConfig",
    "PolicyNetwork",
    "moments",
    "train_policy",
    "transitions",
]
