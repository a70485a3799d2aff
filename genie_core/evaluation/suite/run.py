"""Runs a suite: reads, probes and disturbs each set, then averages over sets. Writes nothing."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core import __version__
from genie_core.data import Episode, Frames
from genie_core.data.storage.location import SourcePath, source_path
from genie_core.errors import DatasetError
from genie_core.evaluation.disturbances import DISTURBANCES
from genie_core.evaluation.metrics import Measured, Missing, estimate, ratio
from genie_core.evaluation.suite.bound import bound_metrics
from genie_core.evaluation.suite.config import Suite, SuiteSet
from genie_core.evaluation.suite.labels import (
    DISTURBED_EPISODES,
    DISTURBED_FRAMES,
    Frozen,
    code_metrics,
    disturbance_metrics,
    frozen_metrics,
)
from genie_core.evaluation.suite.means import mean_over
from genie_core.evaluation.suite.rows import (
    EpisodeTransitions,
    Reading,
    choose_episodes,
    model_frames,
    read_rows,
    step_of,
)
from genie_core.evaluation.suite.scoring import (
    LEAST_EPISODES,
    LINEAR,
    SUPERVISED,
    WAYS,
    Scores,
    lary_scores,
    score,
    supervised_predictions,
)
from genie_core.models.bundle import Bundle
from genie_core.progress import Progress, silent
from genie_core.statistics.metrics import Array

RIVALS = ("flow_8x8_summed_linear", "flow_8x8_linear", "flow_4x4_linear")
"""Methods that the latents' linear probe is compared with, paired by episode."""
ONE = "latent_linear"
"""The method whose mean error over the sets is the suite's headline number."""

SPEEDS = ("slow third", "middle third", "fast third")


@dataclass(frozen=True)
class SetResult:
    """Results on one set.

    Attributes:
        entry: the set.
        episodes, transitions: numbers of those read.
        steps: transition lengths in frames (one, unless frame rates differ).
        fps: frame rates of its episodes.
        metrics: by name: error over variance of each method (``latent_linear``), differences to `RIVALS`
            (``latent_linear_minus_flow_8x8_linear``), metrics of codes and disturbances.
        parts: the same errors by method, by kind and name of a part (``slices``: columns; ``motion``: transitions).
        errors: by method, (E, 2), see `Scores.errors_E2`.

    """

    entry: SuiteSet
    episodes: int
    transitions: int
    steps: tuple[int, ...]
    fps: tuple[float, ...]
    metrics: Mapping[str, Measured]
    parts: Mapping[str, Mapping[str, Mapping[str, Measured]]]
    errors: Mapping[str, Array]
    frozen: Frozen


@dataclass(frozen=True)
class SuiteResult:
    """Results of a whole run.

    Attributes:
        facts: what was run, on what.
        sets: in the suite's order.
        means: mean error over variance of its sets, by name of the mean and by method.
        bounds: by set or mean, see `bound_metrics`.
        frozen: metrics of frozen frames, by set; `still_code` is the code they get most often.

    """

    facts: Mapping[str, object]
    sets: Sequence[SetResult]
    means: Mapping[str, Mapping[str, Measured]]
    bounds: Mapping[str, Mapping[str, Measured]]
    still_code: int
    frozen: Mapping[str, Mapping[str, float]]


def run_suite(
    bundle: Bundle,
    suite: Suite,
    data_root: str | SourcePath,
    *,
    episodes: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> SuiteResult:
    """Evaluate a bundle on every set of a suite.

    The same bundle, data and arguments give the same results on the same machine.

    Args:
        bundle: the bundle to evaluate.
        suite: the sets.
        data_root: folder that their paths are relative to.
        episodes: maximum per set, besides the suite's own; None: the suite's own only.
        seed: seed of all random draws.
        progress: called with the current set and the fraction of it done.

    Raises:
        DatasetError: a set cannot be read as the suite says; nothing has been computed on it then.

    """
    began = time.monotonic()
    root = source_path(data_root)
    missing = [entry.path for entry in suite.sets if not (root / entry.path).exists()]
    if missing:
        raise DatasetError(
            f"data root: got {root}, which lacks {len(missing)} of the {len(suite.sets)} sets of {suite.name}, "
            f"expected the folder that their paths are relative to (--data-root): {', '.join(missing)}"
        )
    chosen = [(entry, choose_episodes(entry, root / entry.path, seed, episodes)) for entry in suite.sets]
    labels_alone = suite.probes == "labels"
    reading = Reading.of(bundle, seed, labels_alone=labels_alone)
    sets = []
    for place, (entry, some) in enumerate(chosen):
        sets.append(run_set(reading, entry, some, f"{entry.name} ({place + 1} of {len(chosen)})", progress))
    return gather(bundle, suite, sets, episodes, seed, time.monotonic() - began)


def gather(
    bundle: Bundle, suite: Suite, sets: Sequence[SetResult], episodes: int | None, seed: int, seconds: float
) -> SuiteResult:
    """Return facts about the whole run; arguments as of `run_suite`, and how long it took."""
    still_code, frozen = frozen_metrics({s.entry.name: s.frozen for s in sets})
    facts = {
        "suite": suite.name,
        "genie_version": __version__,
        "bundle": bundle.name,
        "bundle_id": bundle.bundle_id,
        "codes": bundle.config.lam.quantizer.codes,
        "latent_dim": bundle.config.lam.quantizer.dim,
        "frame": f"{bundle.config.height} x {bundle.config.width}",
        "most_episodes": episodes,
        "seed": seed,
        "device": str(bundle.device),
        "seconds": seconds,
    }
    members = _members(suite, sets)
    bounds = bound_metrics({s.entry.name: s.errors for s in sets}, members, seed)
    return SuiteResult(facts, sets, _means(members, sets, seed), bounds, still_code, frozen)


def run_set(
    reading: Reading, entry: SuiteSet, episodes: Sequence[Episode], name: str, progress: Progress = silent
) -> SetResult:
    """Read, probe and disturb one set; `name` goes to `progress`. Raises DatasetError as `read_rows`."""
    bundle, seed = reading.labeller.bundle, reading.seed
    rng = np.random.default_rng([seed, zlib.crc32(entry.name.encode())])
    codes, width = bundle.config.lam.quantizer.codes, bundle.config.width
    rows = read_rows(reading, entry, episodes, lambda done, total: progress(f"{name}: labels", done, total))
    films = _films(reading, entry, episodes[:DISTURBED_EPISODES])
    progress(f"{name}: disturbances", 0, 1)
    labels_alone = reading.untrained is None
    disturbances = {} if labels_alone else DISTURBANCES
    disturbed, frozen = disturbance_metrics(reading.labeller, films, rng, disturbances)
    metrics: dict[str, Measured] = {**code_metrics(rows, codes, width, rng), **disturbed}
    parts: dict[str, dict[str, dict[str, Measured]]] = {}
    errors: dict[str, Array] = {}
    if entry.target is not None and len(rows) >= LEAST_EPISODES:
        ways = LINEAR if labels_alone else WAYS
        scores = score(rows, codes, seed, lambda done, total: progress(f"{name}: probes", done, total), ways)
        if not labels_alone:
            scores = _with_bound(scores, rows, seed, metrics, lambda: progress(f"{name}: supervised", 0, 1))
        errors = {way: scores.errors_E2(way) for way in scores.predicted}
        metrics |= error_metrics(errors, rng)
        parts = _parts(entry, rows, scores, rng)
    if not labels_alone:
        metrics |= {key: _error(errors_E2, rng) for key, errors_E2 in lary_scores(rows, seed).items()}
    rates = {e.fps for e in episodes if e.fps is not None}
    return SetResult(
        entry,
        len(rows),
        sum(map(len, rows)),
        tuple(sorted({step_of(entry, e) for e in episodes})),
        tuple(sorted(rates)),
        metrics,
        parts,
        errors,
        frozen,
    )


def _with_bound(
    scores: Scores,
    rows: Sequence[EpisodeTransitions],
    seed: int,
    metrics: dict[str, Measured],
    begin: Callable[[], None],
) -> Scores:
    """Add supervised inverse dynamics to the scores, or say in `metrics` why there is none."""
    begin()
    bound = supervised_predictions(rows, seed)
    if bound is None:
        metrics[SUPERVISED] = Missing("no claim of a bound: its held-out error was still falling, or few episodes")
        return scores
    return Scores({**scores.predicted, SUPERVISED: bound}, scores.truth)


def _films(reading: Reading, entry: SuiteSet, episodes: Sequence[Episode]) -> list[Frames]:
    """Return the first frames of each episode, at the model's size and rate."""
    films = []
    for episode in episodes:
        step = step_of(entry, episode)
        most = min(entry.frames, (DISTURBED_FRAMES - 1) * step + 1)
        short = entry.model_copy(update={"frames": most})
        films.append(model_frames(reading.labeller, short, episode, step))
    return films


def error_metrics(errors: Mapping[str, Array], rng: np.random.Generator) -> dict[str, Measured]:
    """Return the error over variance of each method, and how the latents' linear probe differs from its rivals."""
    metrics = {way: _error(errors_E2, rng) for way, errors_E2 in errors.items()}
    for rival in RIVALS:
        if rival in errors and ONE in errors:
            metrics[f"{ONE}_minus_{rival}"] = _error(errors[ONE] - errors[rival] * [1, 0], rng)
    return metrics


def _error(errors_E2: Array, rng: np.random.Generator) -> Measured:
    return estimate(errors_E2, ratio, int(errors_E2[:, 1].sum()), rng)


def _parts(
    entry: SuiteSet, rows: Sequence[EpisodeTransitions], scores: Scores, rng: np.random.Generator
) -> dict[str, dict[str, dict[str, Measured]]]:
    """Return the errors by group of columns, by slice of the set, and by speed."""
    assert entry.target is not None
    width = scores.truth[0].shape[1]
    columns = list(range(width)) if entry.target.columns is None else list(entry.target.columns)
    parts: dict[str, dict[str, dict[str, Measured]]] = {}
    for name, group in entry.target.groups.items():
        places = [columns.index(c) for c in group]
        parts.setdefault("columns", {})[name] = {w: _error(scores.errors_E2(w, places), rng) for w in scores.predicted}
    kinds = {kind: [r.slices[kind] for r in rows] for kind in entry.slices} | {"speed": _speeds(scores.truth)}
    for kind, names in kinds.items():
        for name in sorted({str(n) for of in names for n in of} - {""}):
            keep = [of == name for of in names]
            parts.setdefault(kind, {})[name] = {
                w: _error(scores.errors_E2(w, keep=keep), rng) for w in scores.predicted
            }
    return parts


def _speeds(truth: Sequence[Array]) -> list[NDArray[np.str_]]:
    """Assign each transition to a third of the set by the length of its standardised truth."""
    every_NK = np.concatenate(truth)
    spread_K = every_NK.std(axis=0)
    spread_K[spread_K == 0] = np.inf
    length = [np.linalg.norm(t / spread_K, axis=1) for t in truth]
    edges = np.quantile(np.concatenate(length), (1 / 3, 2 / 3))
    return [np.array(SPEEDS)[np.searchsorted(edges, of)] for of in length]


def _members(suite: Suite, sets: Sequence[SetResult]) -> dict[str, list[str]]:
    """Return the sets to average over: all probed, those that the suite names, and by robot, source, pose and role."""
    probed = [s for s in sets if s.errors]
    members = {"all": [s.entry.name for s in probed], **{name: list(some) for name, some in suite.means.items()}}
    for field in ("role", "source", "robot", "camera_pose"):
        for word in dict.fromkeys(getattr(s.entry, field) for s in probed):
            if word is not None:
                members[f"{field}: {word}"] = [s.entry.name for s in probed if getattr(s.entry, field) == word]
    return members


def _means(
    members: Mapping[str, Sequence[str]], sets: Sequence[SetResult], seed: int
) -> dict[str, dict[str, Measured]]:
    """Average errors over the sets of each mean."""
    probed = [s for s in sets if s.errors]
    by_name = {s.entry.name: s for s in probed}
    means: dict[str, dict[str, Measured]] = {}
    for name, some in members.items():
        absent = [member for member in some if member not in by_name]
        if absent:
            reason = Missing(f"no probe of {', '.join(absent)}: too few episodes")
            means[name] = {ONE: reason}
        elif some:
            means[name] = mean_over([by_name[member].errors for member in some], ONE, RIVALS, seed)
    return means


__all__ = [
    "ONE",
    "RIVALS",
    "SPEEDS",
    "Progress",
    "SetResult",
    "SuiteResult",
    "error_metrics",
    "gather",
    "run_set",
    "run_suite",
]
