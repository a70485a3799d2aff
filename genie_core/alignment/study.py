"""Alignment error by number of labelled transitions, on held-out episodes.

Every method is fitted on the same transitions, drawn anew for each seed; the bound is supervised inverse dynamics with
all labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from genie_core.alignment.dictionary import Dictionary
from genie_core.alignment.observation import Observation
from genie_core.alignment.regressor import (
    LINEAR,
    OBSERVATION_ALONE,
    WITH_OBSERVATION,
    WITHOUT_OBSERVATION,
    Array,
    Inputs,
    Kernel,
    Regressor,
    fit_regressor,
)
from genie_core.alignment.transitions import AlignedEpisode, AlignedSet
from genie_core.alignment.way_back import WayBack, fit_way_back
from genie_core.errors import DatasetError
from genie_core.progress import Progress
from genie_core.statistics.intervals import percentile_interval, resample
from genie_core.statistics.metrics import error_over_variance, residual_sums
from genie_core.statistics.probes import fit_mlp

BUDGETS = (10, 50, 200, 1000)

Draw = Literal["transitions", "episodes"]
"""How labelled transitions are drawn: ``transitions`` at random, or whole ``episodes`` until there are enough."""

Method = Callable[["Sample", int], Callable[[Inputs], Array]]
"""Fits labelled transitions with a seed; the result predicts actions (N, A) from inputs."""


class StudyOptions(BaseModel):
    """Plan of what to compare, and how often."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    budgets: tuple[int, ...] = Field(BUDGETS, description="labelled transitions; those beyond the data are left out")
    seeds: int = Field(5, gt=0, description="draws of the labelled transitions for each budget")
    draw: Draw = "transitions"
    mlp: bool = Field(True, description="whether to compare with a small network, which costs most of the time")
    seed: int = Field(0, ge=0)


@dataclass(frozen=True)
class Sample:
    """N labelled transitions."""

    inputs: Inputs
    action_NA: Array
    episode_N: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Sample:
        """Select rows."""
        return Sample(self.inputs.take(rows), self.action_NA[rows], self.episode_N[rows])


@dataclass(frozen=True)
class HeldOutSplit:
    """Episodes to fit on and episodes to score on; `observation` was fitted on frames of the former."""

    fit: Sequence[AlignedEpisode]
    held_out: Sequence[AlignedEpisode]
    observation: Observation | None
    codes: int

    def sample(self) -> Sample:
        """Return all labelled transitions of the training episodes."""
        return Sample(
            Inputs.concatenate([inputs_of(e, self.observation) for e in self.fit]),
            np.concatenate([e.action_SA for e in self.fit]),
            np.concatenate([np.full(len(e.frame_S), i) for i, e in enumerate(self.fit)]),
        )


@dataclass(frozen=True)
class Score:
    """Errors of one method on the held-out episodes: `residual_sums` by seed and episode, `sums_SE4A`."""

    sums_SE4A: Array

    @property
    def pooled_4A(self) -> Array:
        """Error over all episodes, averaged over seeds."""
        pooled: Array = self.sums_SE4A.sum(axis=1).mean(axis=0)
        return pooled


def split_episodes(material: AlignedSet, hold_out: float, codes: int, seed: int, size: tuple[int, int]) -> HeldOutSplit:
    """Hold out a share of the episodes, at least one if the share is above 0.

    Raises:
        DatasetError: there is only one episode, and it would be held out.

    """
    count = len(material.episodes)
    aside = min(count - 1, max(1, round(count * hold_out))) if hold_out else 0
    if hold_out and not aside:
        raise DatasetError(
            f"{material.labelled.path}: got 1 episode with labels and actions, expected at least 2 to hold one out for "
            "scoring; --hold-out 0 fits without scoring"
        )
    held = set(np.random.default_rng(seed).permutation(count)[:aside].tolist())
    fit = [e for i, e in enumerate(material.episodes) if i not in held]
    seen = [e.thumbnail_TF for e in fit if e.thumbnail_TF is not None]
    observation = Observation.find(np.concatenate(seen), *size) if len(seen) == len(fit) else None
    return HeldOutSplit(fit, [e for i, e in enumerate(material.episodes) if i in held], observation, codes)


def inputs_of(episode: AlignedEpisode, observation: Observation | None) -> Inputs:
    """Return the inputs from which actions are predicted, one per labelled transition of an episode."""
    seen = None
    if observation is not None and episode.thumbnail_TF is not None:
        seen = observation.project(episode.thumbnail_TF[episode.frame_S])
    return Inputs(episode.code_S, episode.latent_SD, seen)


def draw_rows(sample: Sample, budget: int, draw: Draw, seed: int) -> NDArray[np.int64]:
    """Draw which transitions are labelled; a larger budget contains the smaller ones of the same seed.

    Raises:
        DatasetError: there are fewer transitions than `budget`.

    """
    there = len(sample.inputs)
    if budget > there:
        raise DatasetError(
            f"budget: got {budget}, expected at most {there}, the labelled transitions with actions in the "
            f"{len(np.unique(sample.episode_N))} training episodes"
        )
    rng = np.random.default_rng([seed, 1])
    order = rng.permutation(there)
    if draw == "episodes":
        rank = rng.permutation(int(sample.episode_N.max()) + 1)
        order = np.argsort(rank[sample.episode_N], kind="stable")
    return np.sort(order[:budget])


def fit_both(split: HeldOutSplit, sample: Sample, seed: int) -> tuple[Dictionary, Regressor]:
    """Fit an alignment on all of `sample`."""
    dictionary = Dictionary.fill(sample.inputs.code_N, sample.action_NA, split.codes)
    kernels = WITHOUT_OBSERVATION if split.observation is None else WITH_OBSERVATION
    return dictionary, fit_regressor(sample.inputs, sample.action_NA, sample.episode_N, kernels, seed)


def fit_back(sample: Sample, seed: int, kernels: Sequence[Kernel] | None = None) -> WayBack:
    """Fit the way back on all of `sample`; `kernels`: to choose from, None: all."""
    inputs = sample.inputs
    return fit_way_back(sample.action_NA, inputs.observation_NP, inputs.latent_ND, sample.episode_N, seed, kernels)


def score_back(split: HeldOutSplit, back: WayBack) -> Array:
    """`residual_sums` (E, 4, D) of the latents of the held-out episodes, given their actions."""
    sums = []
    for episode in split.held_out:
        seen = inputs_of(episode, split.observation).observation_NP
        sums.append(residual_sums(episode.latent_SD, back.predict(episode.action_SA, seen)))
    return np.stack(sums)


def sweep_back(split: HeldOutSplit, options: StudyOptions) -> dict[int, dict[str, Score]]:
    """Score the way back by budget, on the same draws as `sweep`: linear in the action, and as it is saved."""
    everything, ways = split.sample(), {"linear": (LINEAR,), "regressor": None}
    scores: dict[int, dict[str, Score]] = {}
    for budget in sorted({b for b in options.budgets if b <= len(everything.inputs)}):
        sums: dict[str, list[Array]] = {name: [] for name in ways}
        for seed in range(options.seed, options.seed + options.seeds):
            sample = everything.take(draw_rows(everything, budget, options.draw, seed))
            for name, kernels in ways.items():
                sums[name].append(score_back(split, fit_back(sample, seed, kernels)))
        scores[budget] = {name: Score(np.stack(of)) for name, of in sums.items()}
    return scores


def methods(split: HeldOutSplit, mlp: bool) -> dict[str, Method]:
    """Return every way that is compared, by name."""

    def filled(sample: Sample) -> Dictionary:
        return Dictionary.fill(sample.inputs.code_N, sample.action_NA, split.codes)

    def ridge(kernels: Sequence[Kernel]) -> Method:
        return lambda s, seed: fit_regressor(s.inputs, s.action_NA, s.episode_N, kernels, seed).predict

    def network(sample: Sample, seed: int) -> Callable[[Inputs], Array]:
        probe = fit_mlp(_columns(sample.inputs, split.codes), sample.action_NA, seed)
        return lambda inputs: probe(_columns(inputs, split.codes))

    ways: dict[str, Method] = {
        "draw": lambda sample, seed: lambda inputs: filled(sample).draw(inputs.code_N, seed),
        "dictionary": lambda sample, _: lambda inputs: filled(sample).mean(inputs.code_N),
        "linear": ridge([LINEAR]),
    }
    if split.observation is not None:
        ways["observation_alone"] = ridge(OBSERVATION_ALONE)
    if mlp:
        ways["mlp"] = network
    ways["regressor"] = lambda sample, seed: fit_both(split, sample, seed)[1].predict
    return ways


def sweep(split: HeldOutSplit, options: StudyOptions, progress: Progress) -> dict[int, dict[str, Score]]:
    """Return scores by budget and method, for every budget with enough labels."""
    everything, ways = split.sample(), methods(split, options.mlp)
    budgets = sorted({b for b in options.budgets if b <= len(everything.inputs)})
    scores: dict[int, dict[str, Score]] = {}
    for done, budget in enumerate(budgets):
        sums: dict[str, list[Array]] = {name: [] for name in ways}
        for seed in range(options.seed, options.seed + options.seeds):
            drawn = done * options.seeds + seed - options.seed
            progress(f"{budget} labelled transitions", drawn, len(budgets) * options.seeds)
            sample = everything.take(draw_rows(everything, budget, options.draw, seed))
            for name, way in ways.items():
                sums[name].append(score(split, way(sample, seed)))
        scores[budget] = {name: Score(np.stack(of)) for name, of in sums.items()}
    return scores


def score(split: HeldOutSplit, read: Callable[[Inputs], Array]) -> Array:
    """`residual_sums` (E, 4, A) of the held-out episodes."""
    return np.stack([residual_sums(e.action_SA, read(inputs_of(e, split.observation))) for e in split.held_out])


def nmse_interval(score: Score, rng: np.random.Generator) -> tuple[float, float] | None:
    """95% percentile bootstrap interval over episodes and seeds; None if there is only one episode."""
    seeds, episodes = score.sums_SE4A.shape[:2]
    if episodes < 2:
        return None
    times_RE, times_RS = resample(episodes, rng), resample(seeds, rng)
    by_seed_RS = np.stack(
        [error_over_variance(np.einsum("re,eka->rka", times_RE, of_E4A)) for of_E4A in score.sums_SE4A], axis=1
    )
    return percentile_interval((by_seed_RS * times_RS).sum(axis=1) / seeds)


def _columns(inputs: Inputs, codes: int) -> Array:
    """Concatenate latent, code and observation as a network's input."""
    seen = [] if inputs.observation_NP is None else [inputs.observation_NP]
    return np.concatenate([inputs.latent_ND, np.eye(codes)[inputs.code_N], *seen], axis=1)


Scores = Mapping[int, Mapping[str, Score]]

__all__ = [
    "BUDGETS",
    "Draw",
    "HeldOutSplit",
    "Sample",
    "Score",
    "Scores",
    "StudyOptions",
    "draw_rows",
    "fit_back",
    "fit_both",
    "inputs_of",
    "methods",
    "nmse_interval",
    "score",
    "score_back",
    "split_episodes",
    "sweep",
    "sweep_back",
]
