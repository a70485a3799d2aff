"""Clone a policy's latent actions from a labelled file in robomimic's layout, with nothing but h5py and torch.

python examples/robomimic_policy.py LABELLED [--key latent_actions/latent] [--filter genie_keep] [--steps N]

LABELLED is what `genie label` wrote of robomimic's, LIBERO's or any data whose frames it keeps. Read is what a training
script reads: demos under ``data/``, pictures under ``obs/``, labels under ``latent_actions/``, filter keys under
``mask/``. Every fourth demo is held out. Any number a transition can be cloned: ``latent_actions/latent`` (the default;
no robot action is needed), ``latent_actions/action`` where an alignment decoded it, or the robot's own ``actions``.
robomimic itself is given the same key as `train.action_keys`; conformance/check_robomimic.py does so.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

SIZE = 32
"""Pictures are shrunk to so many pixels a side, by the mean of what lies under each."""
MAPS = 12


@dataclass(frozen=True)
class Demo:
    """One demo's labelled transitions: pictures (N, h, w, 3) uint8, and what to clone (N, A)."""

    picture: NDArray[np.uint8]
    wanted: NDArray[np.float32]


def read(path: Path, key: str, camera: str | None, kept: str | None) -> list[Demo]:
    """Read the demos of a filter key, or all, with the transitions that have a label."""
    with h5py.File(path) as file:
        names = sorted(file["data"], key=lambda name: int(name.removeprefix("demo_")))
        if kept is not None:
            if f"mask/{kept}" not in file:
                raise SystemExit(f"{path}: has no filter key {kept}: `genie check {path} --mask` writes genie_keep")
            chosen = {name.decode() for name in file[f"mask/{kept}"]}
            names = [name for name in names if name in chosen]
        found = []
        for name in names:
            demo = file[f"data/{name}"]
            cameras = [of for of in demo.get("obs", {}) if demo[f"obs/{of}"].ndim == 4]
            if key not in demo or not cameras:
                what = key if key not in demo else "pictures: label with --keep-frames model, or copy"
                raise SystemExit(f"{path}: {name} has no {what}")
            if camera not in (None, *cameras):
                raise SystemExit(f"--camera: got {camera}, expected one of {name}'s: {', '.join(cameras)}")
            valid, wanted = demo["latent_actions/valid"][()], demo[key][()].astype(np.float32)
            if len(wanted) < len(valid):  # a frame more than actions: the last has none
                valid = valid[: len(wanted)]
            pictures = demo[f"obs/{camera or cameras[0]}"][: len(valid)]
            found.append(Demo(pictures[valid], wanted[: len(valid)][valid].reshape(valid.sum(), -1)))
    return [demo for demo in found if len(demo.wanted)]


class Policy(nn.Module):
    """From a picture to the mean of what the data did there: maps of it, the mean place in each, and a network.

    So does robomimic's own (`SpatialSoftmax`).
    """

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.AdaptiveAvgPool2d(SIZE),
            nn.Conv2d(3, 16, 5, 2, 2),
            nn.ReLU(),
            nn.Conv2d(16, 16, 5, 1, 2),
            nn.ReLU(),
            nn.Conv2d(16, MAPS, 1),
        )
        self.act = nn.Sequential(nn.Linear(2 * MAPS, 64), nn.ReLU(), nn.Linear(64, numbers))

    def forward(self, picture_BHWC: Tensor) -> Tensor:
        """What to do (B, A) in pictures (B, h, w, 3) uint8."""
        maps = self.maps(picture_BHWC.permute(0, 3, 1, 2).float() / 255 - 0.5)
        grid = torch.linspace(-1, 1, maps.shape[-1])
        weight = maps.flatten(2).softmax(-1).view_as(maps)
        places = torch.cat([(weight.sum(3) * grid).sum(2), (weight.sum(2) * grid).sum(2)], dim=1)
        wanted: Tensor = self.act(places)
        return wanted


def train(demos: list[Demo], steps: int) -> tuple[Policy, Tensor, Tensor]:
    """Fit a policy to standardized numbers by squared error; return it with their mean and deviation."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    picture = np.concatenate([demo.picture for demo in demos])
    wanted = torch.from_numpy(np.concatenate([demo.wanted for demo in demos]))
    mean, deviation = wanted.mean(dim=0), wanted.std(dim=0, unbiased=False) + 1e-6
    policy = Policy(wanted.shape[1])
    optimizer = torch.optim.AdamW(policy.parameters(), 1e-3, weight_decay=1e-2)
    for _ in range(steps):
        rows = rng.integers(len(picture), size=64)
        error = policy(torch.from_numpy(picture[rows])) - (wanted[rows] - mean) / deviation
        optimizer.zero_grad()
        error.square().mean().backward()
        optimizer.step()
    return policy, mean, deviation


@torch.no_grad()
def error(policy: Policy, mean: Tensor, deviation: Tensor, demos: list[Demo]) -> float:
    """Squared error as a share of the variance: 1 is no better than the mean of the training."""
    parts = []
    for demo in demos:
        standard = (torch.from_numpy(demo.wanted) - mean) / deviation
        parts.append(torch.stack([(policy(torch.from_numpy(demo.picture)) - standard).square().sum(dim=1),
                                  standard.square().sum(dim=1)]))  # fmt: skip
    left, all_of_it = torch.cat(parts, dim=1).sum(dim=1).tolist()
    return float(left / all_of_it)


def main() -> None:
    """Train on three demos in four, and print the error on the fourth beside that on the three."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("labelled", type=Path)
    words.add_argument("--key", default="latent_actions/latent")
    words.add_argument("--camera", help="of obs/ [default: the first]")
    words.add_argument("--filter", help="a filter key, such as genie_keep, which `genie check --mask` writes")
    words.add_argument("--steps", type=int, default=1000)
    asked = words.parse_args()
    torch.set_num_threads(1)
    demos = read(asked.labelled, asked.key, asked.camera, asked.filter)
    held_out = demos[::4]
    trained_on = [demo for number, demo in enumerate(demos) if number % 4]
    if not trained_on:
        raise SystemExit(f"{asked.labelled}: got {len(demos)} demos with labels, expected 2 or more")
    fitted = train(trained_on, asked.steps)
    numbers = demos[0].wanted.shape[1]
    print(f"{sum(len(demo.wanted) for demo in demos)} transitions of {len(demos)} demos, {numbers} numbers each")
    print(f"error, a share of the variance: {error(*fitted, held_out):.2f} on demos held out, "
          f"{error(*fitted, trained_on):.2f} on those trained on")  # fmt: skip


if __name__ == "__main__":
    main()
