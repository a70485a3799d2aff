"""What `motion_ablation.py` probes, on which sets, and how it tabulates that; it trains and knows the rows."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from genie_core.data import source_path
from genie_core.evaluation.metrics import Metric
from genie_core.evaluation.suite.config import Suite
from genie_core.evaluation.suite.means import mean_over
from genie_core.evaluation.suite.rows import (
    EpisodeTransitions,
    Reading,
    choose_episodes,
    model_frames,
    read_rows,
    step_of,
)
from genie_core.evaluation.suite.scoring import Scores, Way, score
from genie_core.inference import Labeller
from genie_core.models.bundle import Bundle
from genie_core.models.motion import Pairs
from genie_core.models.motion_lam import MotionActionModel
from genie_core.models.patches import to_pixels
from genie_core.models.quantizer import VectorQuantizer
from genie_core.statistics.metrics import Array
from scripts.learnt_correlation import CorrelatingModel

CODES = 8
CODE, LATENT, FLOWS = (
    Way("code", "linear"),
    Way("latent", "linear"),
    (Way("flow_8x8", "linear"), Way("flow_4x4", "linear")),
)
_GROUP = ", "
"""Between the names of a set and of a group of its columns."""


@dataclass(frozen=True)
class ProbedSet:
    """A set: transitions with their truth, each episode's pairs of frames, as read and as they were, uint8.

    `groups`: columns of the truth that are scored by themselves too; `flows`: the errors of flow without an encoder.
    """

    name: str
    rows: list[EpisodeTransitions]
    pairs: list[Pairs]
    frames: list[tuple[Tensor, Tensor]]
    groups: Mapping[str, list[int]]
    flows: dict[str, dict[str, list[list[float]]]]


def probed_sets(suite: Suite, root: str, episodes: int, bundle: Bundle, names: Sequence[str]) -> Iterator[ProbedSet]:
    """Read every set that has a truth and one of `names`, or all, as `genie evaluate --suite` does."""
    labeller, lam = Labeller(bundle), bundle.genie.lam
    assert isinstance(lam, MotionActionModel)
    reading = Reading(labeller, None, 0)
    for entry in suite.sets:
        if entry.target is None or (names and entry.name not in names):
            continue
        chosen = choose_episodes(entry, source_path(root) / entry.path, 0, episodes)
        if len(chosen) < 4:
            continue
        pairs, frames = [], []
        for episode in chosen:
            step = step_of(entry, episode)
            apart = step if entry.density == "dense" else 1
            seen = torch.from_numpy(model_frames(labeller, entry, episode, 1 if entry.density == "dense" else step))
            frames.append((seen[:-apart], seen[apart:]))
            pairs.append(lam.see(*(to_pixels(x[None])[0] for x in frames[-1])))
        rows = read_rows(reading, entry, chosen, lambda *_: None)
        columns = entry.target.columns or range(rows[0].truth_SK.shape[1] if rows[0].truth_SK is not None else 0)
        groups = {name: [list(columns).index(c) for c in group] for name, group in entry.target.groups.items()}
        of = ProbedSet(entry.name, rows, pairs, frames, groups, {})
        print(f"{entry.name}: read", file=sys.stderr, flush=True)
        yield replace(of, flows=_errors(of, score(rows, CODES, 0, lambda *_: None, FLOWS), FLOWS))


def _errors(of: ProbedSet, scores: Scores, ways: Sequence[Way]) -> dict[str, dict[str, list[list[float]]]]:
    """Return the errors of some ways on a set and on each group of its columns, by name."""
    names = {of.name: None} | {of.name + _GROUP + group: columns for group, columns in of.groups.items()}
    return {name: {w.name: scores.errors_E2(w.name, columns).tolist() for w in ways} for name, columns in names.items()}


@torch.inference_mode()
def errors_of(
    lam: MotionActionModel, probed: Sequence[ProbedSet], books: Sequence[VectorQuantizer] = ()
) -> dict[str, dict[str, list[list[float]]]]:
    """Return the error over variance of linear probes, summed over each episode and counted, by set and way.

    Groups of a set's columns are sets of their own, named after both.
    """
    found = {}
    for of in probed:
        latents = []
        for pairs, frames in zip(of.pairs, of.frames, strict=True):
            if isinstance(lam, CorrelatingModel):
                before_NCHW, after_NCHW = (to_pixels(x[None])[0] for x in frames)
                pairs = replace(pairs, before_NCHW=before_NCHW, after_NCHW=after_NCHW)
            latents.append(lam.latents_of(lam.features_of(pairs)))
        rows = [replace(r, features={"latent": z.double().numpy()}) for r, z in zip(of.rows, latents, strict=True)]
        errors = _errors(of, score(rows, CODES, 0, lambda *_: None, [LATENT]), [LATENT])
        coded = []
        for book in books:
            rows = [replace(r, code_S=book.nearest(z).numpy()) for r, z in zip(rows, latents, strict=True)]
            coded.append(_errors(of, score(rows, CODES, 0, lambda *_: None, [CODE]), [CODE]))
        for name, of_set in errors.items():
            of_set |= of.flows[name]
            if coded:
                of_set[CODE.name] = np.sum([c[name][CODE.name] for c in coded], axis=0).tolist()
        found |= errors
    return found


Runs = Mapping[str, Mapping[str, dict[str, dict[str, list[list[float]]]]]]
"""Errors and counts of each episode, by row, seed, set and way."""


def table(runs: Runs, sets: Collection[str], way: str = LATENT.name) -> str:
    """Tabulate each row's mean over sets and seeds, its range over seeds, and its difference to the first row."""
    lines = ["| trained | error over variance | seeds | against as shipped |", "| -- | -: | -: | -: |"]
    shipped = next(iter(runs))
    first = _over_seeds(runs[shipped])
    for title, seeds in runs.items():
        errors = _over_seeds(seeds)
        probed = [name for name in errors if name in sets]
        if not probed or way not in errors[probed[0]]:
            continue
        alone = [_mean(_over_seeds({seed: of}), probed, way) for seed, of in seeds.items()]
        shared = [name for name in probed if name in first]
        against = "" if title == shipped else _apart(errors, first, shared, way)
        lines.append(
            f"| {title} | {_mean(errors, probed, way):.3f} | {min(alone):.3f} to {max(alone):.3f} | {against} |"
        )
    there = [name for name in first if name in sets]
    for flow in FLOWS:
        lines.append(f"| {flow.features.replace('_', ' ')}, no encoder | {_mean(first, there, flow.name):.3f} | | |")
    return "\n".join(lines)


def by_set(runs: Runs, way: str = LATENT.name) -> str:
    """The errors of each row on each set, over all seeds, and what they are more than the first row's, as Markdown."""
    first, *others = runs
    errors = {title: _over_seeds(seeds) for title, seeds in runs.items()}
    head = [f"{title}, against as shipped" for title in others]
    lines = [f"| set | flow 8x8 | {first} | {' | '.join(head)} |", "| -- | -: | -: " + "| -: " * len(others) + "|"]
    for name in errors[first]:
        words = [f"{_mean(errors[first], [name], w):.3f}" for w in (FLOWS[0].name, way)]
        for title in others:
            apart = _apart(errors[title], errors[first], [name], way)
            words.append(f"{_mean(errors[title], [name], way):.3f}, {apart}")
        lines.append(f"| {name} | {' | '.join(words)} |")
    return "\n".join(lines)


def _apart(
    one: Mapping[str, Mapping[str, Array]], other: Mapping[str, Mapping[str, Array]], sets: Sequence[str], way: str
) -> str:
    """Say by how much the mean error of one over these sets is above that of the other, with its interval."""
    beside = [{"this": one[name][way], "other": other[name][way]} for name in sets]
    apart = mean_over(beside, "this", ["other"], 0)["this_minus_other"]
    assert isinstance(apart, Metric)
    assert apart.ci95 is not None
    return f"{apart.value:+.3f} ({apart.ci95[0]:+.3f} to {apart.ci95[1]:+.3f})"


def _over_seeds(seeds: Mapping[str, dict[str, dict[str, list[list[float]]]]]) -> dict[str, dict[str, Array]]:
    """Return errors and counts of all seeds together, by set and way, (E, 2)."""
    runs = list(seeds.values())
    return {name: {way: np.sum([run[name][way] for run in runs], axis=0) for way in runs[0][name]} for name in runs[0]}


def _mean(errors: Mapping[str, Mapping[str, Array]], sets: Sequence[str], way: str) -> float:
    sums = [errors[name][way].sum(axis=0) for name in sets]
    return float(np.mean([error / count for error, count in sums]))
