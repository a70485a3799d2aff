"""Rank policies by their success in simulated rollouts, and compare with their success in the world itself.

python examples/rank_policies.py [--starts N] [--steps N]

The world is a toy: a square that a policy shall bring to a mark, pushed by at most 3 pixels a step, with noise. Genie
sees random video of it, a few labelled transitions say what actions are (`genie align`), and eight policies, from one
that goes straight to the mark to one that goes away from it, are then run in rollouts that never touch the world.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
from toy import FASTEST, SIZE, Array, World, anywhere, record_actions, seen

from genie_client.embedded import embedded_server
from genie_core.alignment.fit import Plan, align
from genie_core.alignment.store import alignment_path, save_alignment
from genie_core.alignment.study import StudyOptions
from genie_core.alignment.transitions import Wanted
from genie_core.bundles import shipped
from genie_core.data import LabelModel, LabelWriter, open_dataset, open_labelled
from genie_core.inference import Labeller
from genie_core.models.bundle import load_bundle
from genie_core.progress import silent

NEAR = 5.0
"""Pixels from the mark at which a policy has succeeded."""
Policy = Callable[[Array, Array, np.random.Generator], Array]


def policy(quality: float) -> Policy:
    """1 goes straight to the mark, 0 anywhere, below 0 away from it."""

    def act(place: Array, mark: Array, rng: np.random.Generator) -> Array:
        straight = np.clip((mark - place) / 2, -FASTEST, FASTEST)
        return np.asarray(np.clip(quality * straight + (1 - abs(quality)) * rng.normal(0, 2, 2), -FASTEST, FASTEST))

    return act


def learn_actions(models: Path, labels: int) -> float:
    """Label the video and align a few labelled transitions; return the error of the way back."""
    folder = models / "motion"
    bundle, data = load_bundle(folder), models.parent / "toy.hdf5"
    record_actions(data, episodes=10, frames=30, act=anywhere)
    info, labeller = bundle.info, Labeller(bundle)
    model = LabelModel(
        info.bundle_id, info.name, info.config.fps, info.codebook, bundle.computation, info.fine_codebook
    )
    with LabelWriter(data.with_suffix(".labelled.hdf5"), open_dataset(data), model, step=1) as writer:
        for episode in writer.pending():
            writer.add(episode, labeller.label(episode.frames(), 1))
        path = writer.finish()
    plan = Plan(Wanted(None, SIZE, SIZE), labels, 0.25, StudyOptions(budgets=(), mlp=False), 0)
    found, _ = align(open_labelled(path), bundle, plan, silent)
    save_alignment(alignment_path(folder, "toy"), found)
    error = found.info.held_out["way_back"].nmse
    return float("nan") if error is None else error


def in_the_world(act: Policy, starts: int, steps: int) -> Array:
    """Success from each start, 0 or 1, in the world."""
    found = []
    for start in range(starts):
        world, rng = World(start), np.random.default_rng([start, 5])
        mark = world.mark
        for _ in range(steps):
            world.push(act(seen(world.look()), mark, rng))
        found.append(float(np.linalg.norm(world.place - mark) < NEAR))
    return np.array(found)


def in_rollouts(act: Policy, address: str, starts: int, steps: int, at_once: int = 4) -> Array:
    """The same in rollouts: the policy sees simulated frames alone."""
    found: list[float] = []
    env = gymnasium.make_vec(
        "genie_client.gym:Genie-v0", num_envs=at_once, address=address, alignment="toy", max_steps=None
    )
    for first in range(0, starts, at_once):
        those = [min(first + i, starts - 1) for i in range(at_once)]
        frames, _ = env.reset(options=[{"prompt": World(start).look()} for start in those])
        rngs = [np.random.default_rng([start, 5]) for start in those]
        for _ in range(steps):
            moves = [act(seen(f), World(s).mark, rng) for f, s, rng in zip(frames, those, rngs, strict=True)]
            frames, *_ = env.step(np.array(moves, np.float32))
        found += [float(np.linalg.norm(seen(f) - World(s).mark) < NEAR) for f, s in zip(frames, those, strict=True)]
    env.close()
    return np.array(found[:starts])


def rank_correlation(a: Array, b: Array) -> float:
    """Spearman's, ties sharing their mean rank; nan where one side is all ties."""
    ranks = [np.array([((x < y).sum() + (x <= y).sum() - 1) / 2 for y in x]) for x in (a, b)]
    if any(r.std() == 0 for r in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def main() -> None:
    """Print both success rates of each policy, and how their ranks agree."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--starts", type=int, default=24)
    words.add_argument("--steps", type=int, default=12)
    words.add_argument("--labels", type=int, default=100)
    chosen = words.parse_args()
    qualities = [1.0, 0.8, 0.6, 0.4, 0.2, 0.0, -0.4, -0.8]
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        shutil.copytree(shipped("motion"), models / "motion")
        print(f"way back from action to latent, error on held-out episodes: {learn_actions(models, chosen.labels):.2f}")
        with embedded_server(models) as address:
            pairs = [
                (
                    in_the_world(policy(q), chosen.starts, chosen.steps),
                    in_rollouts(policy(q), address, chosen.starts, chosen.steps),
                )
                for q in qualities
            ]
    world, rollouts = (np.stack(side) for side in zip(*pairs, strict=True))
    for q, w, r in zip(qualities, world.mean(axis=1), rollouts.mean(axis=1), strict=True):
        print(f"policy {q:+.1f}: success in the world {w:.0%}, in rollouts {r:.0%}")
    rng = np.random.default_rng(0)
    drawn = [
        rank_correlation(world[:, rows].mean(axis=1), rollouts[:, rows].mean(axis=1))
        for rows in rng.integers(chosen.starts, size=(1000, chosen.starts))
    ]
    told = [value for value in drawn if np.isfinite(value)] or [float("nan")]
    low, high = np.percentile(told, [2.5, 97.5])
    found = rank_correlation(world.mean(axis=1), rollouts.mean(axis=1))
    print(f"rank correlation: {found:.2f} (95% over starts: {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
