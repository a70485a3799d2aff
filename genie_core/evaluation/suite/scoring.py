"""Scores features by cross-validated probes of the truth, as error over variance.

Folds are whole episodes; each is scored by a probe fitted on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.evaluation.baselines import BASELINES
from genie_core.evaluation.suite.networks import fit_inverse_dynamics, fit_lary
from genie_core.evaluation.suite.rows import SUMMED, EpisodeTransitions
from genie_core.statistics.metrics import Array
from genie_core.statistics.probes import Probe, Scale, fit_mlp
from genie_core.statistics.ridge import fit_ridge

FOLDS = 5
LEAST_EPISODES = 2

Fit = Callable[[Array, Array, NDArray[np.int64]], Probe]
"""Fits a probe to features, truth and the episode of each row."""

MLP_BATCH, MLP_STEPS = 256, 300


@dataclass(frozen=True)
class Way:
    """One method of predicting the truth of a transition: features, by name, and a kind of probe."""

    features: str
    probe: str

    @property
    def name(self) -> str:
        """Name of the method in tables and files: ``latent_linear``."""
        return f"{self.features}_{self.probe}"


LABELS = ("code", "fine_code", "latent", "feature")
LINEAR = tuple(Way(features, "linear") for features in (*LABELS, SUMMED, *BASELINES, "random_encoder"))
NETWORKS = tuple(Way(f, "mlp") for f in ("latent", "feature", "flow_8x8"))
SHUFFLED = Way("latent", "shuffled")
WAYS = (*LINEAR, *NETWORKS, SHUFFLED)

SUPERVISED = "supervised"
MANY_EPISODES = 20
"""Number of episodes from which slow methods (supervised inverse dynamics, LARY's probe) are scored on one fold."""
LARY_FEATURES = ("latent", "flow_8x8")


@dataclass(frozen=True)
class Scores:
    """Predictions of the probes of one set.

    Attributes:
        predicted: by method, (S, K) per episode; NaN where not scored.
        truth: (S, K) per episode.

    """

    predicted: Mapping[str, Sequence[Array]]
    truth: Sequence[Array]

    def errors_E2(
        self, way: str, columns: Sequence[int] | None = None, keep: Sequence[NDArray[np.bool_]] | None = None
    ) -> Array:
        """Return the sum over each episode's transitions of squared error over variance, and their number, (E, 2).

        The error of a transition is averaged over the components that vary. The variance is that of all transitions,
        so that resampling does not change it: a few resampled episodes may hardly vary.

        Args:
            way: the method.
            columns: columns of the truth; None: all.
            keep: (S,) per episode, which transitions count; None: all.

        """

        def chosen(x_SK: Array, place: int) -> Array:
            kept_SK = x_SK if keep is None else x_SK[keep[place]]
            return kept_SK if columns is None else kept_SK[:, list(columns)]

        truth = [chosen(t, place) for place, t in enumerate(self.truth)]
        predicted = [chosen(p, place) for place, p in enumerate(self.predicted[way])]
        every_NK = np.concatenate(truth)
        variance_K = every_NK.var(axis=0)
        varies_K = variance_K > 1e-12 * np.maximum(np.square(every_NK).mean(axis=0), 1e-300)
        if not varies_K.any():
            return np.stack([np.array([np.nan, len(t)]) for t in truth])
        shares = [
            (np.square(t - p)[:, varies_K] / variance_K[varies_K]).mean(axis=1)
            for t, p in zip(truth, predicted, strict=True)
        ]
        return np.stack([np.array([np.nansum(share_S), np.isfinite(share_S).sum()]) for share_S in shares])


def folds_of(episodes: int, seed: int) -> list[tuple[int, ...]]:
    """Draw the episodes of each fold, in sizes equal within one."""
    order = np.random.default_rng([seed, 2]).permutation(episodes).tolist()
    return [tuple(sorted(order[fold::FOLDS])) for fold in range(min(FOLDS, episodes))]


def score(
    rows: Sequence[EpisodeTransitions],
    codes: int,
    seed: int,
    progress: Callable[[int, int], None],
    ways: Sequence[Way] = WAYS,
) -> Scores:
    """Fit and apply every method, on at least `LEAST_EPISODES` episodes, each with its truth.

    Args:
        rows: episodes of one set.
        codes: number of codes in the codebook.
        seed: seed of folds, initial weights and shuffling.
        progress: called with the numbers of methods done and in all.
        ways: methods to score, where the rows have their features.

    """
    truth = [r.truth_SK for r in rows if r.truth_SK is not None]
    assert len(truth) == len(rows) >= LEAST_EPISODES
    predicted: dict[str, list[Array]] = {}
    folds = folds_of(len(rows), seed)
    there = [w for w in ways if w.features == "code" or w.features in rows[0].features]
    for done, way in enumerate(there):
        progress(done, len(there))
        features = [_features(r, way.features, codes) for r in rows]
        out: list[Array] = [np.zeros_like(t) for t in truth]
        for fold in folds:
            fit = [i for i in range(len(rows)) if i not in fold]
            episode_N = np.concatenate([np.full(len(rows[i]), i) for i in fit])
            probe = _fit(way.probe, seed)(
                np.concatenate([features[i] for i in fit]), np.concatenate([truth[i] for i in fit]), episode_N
            )
            for i in fold:
                out[i] = probe(features[i])
        predicted[way.name] = out
    return Scores(predicted, truth)


def supervised_predictions(rows: Sequence[EpisodeTransitions], seed: int) -> list[Array] | None:
    """Return the predictions of supervised inverse dynamics for each episode, NaN where not scored.

    None if it is no bound: its validation error was still falling when its steps ran out, or there are too few episodes
    for validation.
    """
    truth = [r.truth_SK for r in rows if r.truth_SK is not None]
    out = [np.full_like(t, np.nan) for t in truth]
    for fold in _scored_folds(len(rows), seed):
        fit = [i for i in range(len(rows)) if i not in fold]
        if len(fit) < LEAST_EPISODES:
            return None
        fitted = fit_inverse_dynamics(
            [rows[i].picture_SCHW for i in fit], [truth[i] for i in fit], [rows[i].picture_SCHW for i in fold], seed
        )
        if not fitted.settled:
            return None
        for i, predicted_SK in zip(fold, fitted.predicted, strict=True):
            out[i] = predicted_SK
    return out


def lary_scores(rows: Sequence[EpisodeTransitions], seed: int) -> dict[str, Array]:
    """Return errors (E, 2) of LARY's probe, as of `Scores.errors_E2`, by features and target.

    ``absolute``: all poses of the chunk, (k * A,). ``relative``: the last minus the first, (A,), for chunks of at least
    two poses.
    """
    chunks = [r.chunk_SCA for r in rows if r.chunk_SCA is not None]
    if len(chunks) < len(rows) or len(rows) <= LEAST_EPISODES:
        return {}
    targets = {"absolute": [c.reshape(len(c), -1) for c in chunks]}
    if chunks[0].shape[1] > 1:
        targets["relative"] = [c[:, -1] - c[:, 0] for c in chunks]
    scores: dict[str, Array] = {}
    for kind, target in targets.items():
        scale = Scale.of(np.concatenate(target))
        truth = [scale.apply(t) for t in target]
        for name in LARY_FEATURES:
            out = [np.full_like(t, np.nan) for t in truth]
            for fold in _scored_folds(len(rows), seed):
                fit = [i for i in range(len(rows)) if i not in fold]
                fitted = fit_lary(
                    [rows[i].features[name] for i in fit],
                    [truth[i] for i in fit],
                    [rows[i].features[name] for i in fold],
                    seed,
                )
                for i, predicted_SK in zip(fold, fitted.predicted, strict=True):
                    out[i] = predicted_SK
            scores[f"lary_{name}_{kind}"] = Scores({name: out}, truth).errors_E2(name)
    return scores


def _scored_folds(episodes: int, seed: int) -> list[tuple[int, ...]]:
    folds = folds_of(episodes, seed)
    return folds[:1] if episodes >= MANY_EPISODES else folds


def _features(rows: EpisodeTransitions, name: str, codes: int) -> Array:
    return np.eye(codes)[rows.code_S] if name == "code" else rows.features[name]


def _fit(probe: str, seed: int) -> Fit:
    if probe == "linear":
        return fit_ridge
    if probe == "shuffled":
        return lambda x, y, e: fit_ridge(x, np.random.default_rng([seed, 3]).permutation(y), e)
    return lambda x, y, e: fit_mlp(x, y, seed, batch=MLP_BATCH, steps=MLP_STEPS)


__all__ = [
    "FOLDS",
    "LEAST_EPISODES",
    "LINEAR",
    "SUPERVISED",
    "WAYS",
    "Scores",
    "Way",
    "folds_of",
    "lary_scores",
    "score",
    "supervised_predictions",
]
