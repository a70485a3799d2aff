"""Train a policy on labelled video, and see how it does in the toy world of `toy.py`.

python examples/train_policy.py LABELLED [--steps N] [--starts N]

LABELLED has an action beside each label, decoded by an alignment: genie label VIDEOS --alignment NAME. The policy is
behaviour cloning: from a picture to the action that the video's robot took there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from toy import SIZE, World

from genie_core.data import open_labelled, resize_frames

NEAR = 5.0
"""Pixels from the mark at which the policy has succeeded."""


class Policy(nn.Module):
    """Where things are, told by eye: maps of the picture, the mean place in each, and what to do from those."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(3, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 16, 5, 1, 2), nn.ReLU(), nn.Conv2d(16, 12, 1)
        )
        self.act = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, numbers))

    def forward(self, frames_BHWC: Tensor) -> Tensor:
        """Actions (B, A) of pictures (B, H, W, 3) uint8."""
        maps = self.maps(frames_BHWC.permute(0, 3, 1, 2).float() / 255 - 0.5)
        grid = torch.linspace(-1, 1, maps.shape[-1])
        weight = maps.flatten(2).softmax(-1).view_as(maps)
        places = torch.cat([(weight.sum(3) * grid).sum(2), (weight.sum(2) * grid).sum(2)], dim=1)
        action: Tensor = self.act(places)
        return action


def read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Pictures and decoded actions of all transitions that have a label."""
    labelled = open_labelled(path)
    pictures, actions = [], []
    for name in labelled.episodes:
        labels, _ = labelled.labels(name)
        episode = labelled.episode(name)
        if labels.action is None or episode is None:
            raise SystemExit(f"{path}: has no frames or no actions: label with --alignment NAME")
        pictures.append(resize_frames(episode.frames(), SIZE, SIZE)[labels.valid])
        actions.append(labels.action[labels.valid])
    return np.concatenate(pictures), np.concatenate(actions)


def train(frames: NDArray[np.uint8], actions: NDArray[np.float32], steps: int) -> Policy:
    """Fit a policy by squared error."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    spread = torch.from_numpy(actions.std(axis=0) + 1e-6)
    policy = Policy(actions.shape[1])
    optimizer = torch.optim.Adam(policy.parameters(), 2e-3)
    for _ in range(steps):
        rows = rng.integers(len(frames), size=64)
        error = (policy(torch.from_numpy(frames[rows])) - torch.from_numpy(actions[rows])) / spread
        optimizer.zero_grad()
        error.square().mean().backward()
        optimizer.step()
    return policy


@torch.no_grad()
def success(policy: Policy, starts: int, steps: int = 20) -> float:
    """Share of new starts from which the policy brings the square to the mark."""
    worlds = [World(10_000 + start) for start in range(starts)]
    for _ in range(steps):
        actions = policy(torch.from_numpy(np.stack([world.look() for world in worlds]))).numpy()
        for world, action in zip(worlds, actions, strict=True):
            world.push(action.astype(np.float64))
    return float(np.mean([np.linalg.norm(world.place - world.mark) < NEAR for world in worlds]))


def main() -> None:
    """Train on the labels, and print success beside that of an untrained policy."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("labelled", type=Path)
    words.add_argument("--steps", type=int, default=1500)
    words.add_argument("--starts", type=int, default=100)
    chosen = words.parse_args()
    torch.set_num_threads(1)
    frames, actions = read(chosen.labelled)
    print(f"{len(frames)} transitions with decoded actions of {actions.shape[1]} numbers")
    before = success(train(frames, actions, 0), chosen.starts)
    after = success(train(frames, actions, chosen.steps), chosen.starts)
    print(f"success from {chosen.starts} new starts: {after:.0%} (untrained: {before:.0%})")


if __name__ == "__main__":
    main()
