"""``python -m benchmarks.precision DATA...``: how far labels agree that are computed otherwise than by default.

Compares one precision or device with float32 on the CPU: the share of transitions with the same code, and the
confidence that float32 had where the codes differ.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genie_core.bundles import models_dir
from genie_core.data import open_dataset, resolve_step
from genie_core.inference import Labeller
from genie_core.models.bundle import load_bundle


@dataclass(frozen=True)
class Agreement:
    """Codes compared: transitions in all, those with the same code, and the confidence (n,) of the others."""

    transitions: int
    same: int
    confidence_where_not: NDArray[np.float32]

    @property
    def share(self) -> float:
        """Of transitions with the same code."""
        return self.same / self.transitions

    def __add__(self, other: Agreement) -> Agreement:
        apart = np.concatenate((self.confidence_where_not, other.confidence_where_not))
        return Agreement(self.transitions + other.transitions, self.same + other.same, apart)


def compare(reference: Labeller, other: Labeller, data: Path, fps: float | None, most: int) -> Agreement:
    """Label up to `most` episodes of a dataset with both."""
    found = Agreement(0, 0, np.zeros(0, np.float32))
    for episode in open_dataset(data, fps=fps).episodes[:most]:
        frames, step = episode.frames(), resolve_step(episode.fps, reference.bundle.config.fps, None).step
        a, b = reference.label(frames, step), other.label(frames, step)
        apart = a.valid & (a.code != b.code)
        transitions = int(a.valid.sum())
        found += Agreement(transitions, transitions - int(apart.sum()), a.confidence[apart])
    return found


def main() -> int:
    """Print the agreement on each dataset and in all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--bundle", type=Path, default=models_dir() / "tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--fps", type=float, help="frames a second of the data, where they do not say")
    parser.add_argument("--episodes", type=int, default=1_000_000, help="maximum number of episodes of each dataset")
    options = parser.parse_args()
    reference = Labeller(load_bundle(options.bundle))
    other = Labeller(load_bundle(options.bundle, options.device, options.precision))
    whole = Agreement(0, 0, np.zeros(0, np.float32))
    for data in options.data:
        found = compare(reference, other, data, options.fps, options.episodes)
        whole += found
        print(_words(str(data), found), flush=True)
    print(_words("all", whole))
    return 0


def _words(name: str, found: Agreement) -> str:
    apart = found.confidence_where_not
    most = f"; where not, confidence at most {apart.max():.4f}, median {np.median(apart):.4f}" if len(apart) else ""
    return f"{name}: {found.same:,} of {found.transitions:,} transitions with the same code, {found.share:.4%}{most}"


if __name__ == "__main__":
    sys.exit(main())
