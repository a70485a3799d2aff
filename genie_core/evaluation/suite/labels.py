"""Evaluates labels without ground truth: distribution of codes, robustness to disturbances, frozen video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Frames
from genie_core.evaluation.disturbances import CELLS, DISTURBANCES, Disturbance
from genie_core.evaluation.metrics import Measured, estimate, mean_of, ratio
from genie_core.evaluation.suite.rows import EpisodeTransitions
from genie_core.inference import Labeller
from genie_core.statistics.metrics import Array, perplexity

MOVING_CELLS = 0.5
"""Flow, in cells (pixels of 64), of the fastest of 8 x 8 image cells from which a transition counts as moving."""

DISTURBED_EPISODES, DISTURBED_FRAMES = 6, 32
"""Most episodes of a set whose labels are disturbed, and most frames of each."""
FROZEN_FRAMES = 4
"""Most frames of an episode that are shown beside themselves."""


@dataclass(frozen=True)
class Frozen:
    """Labels of frames beside themselves.

    Attributes:
        count_K: how often each code came.
        norm_N: length of each latent.
        usual_norm: the median length of the set's latents.

    """

    count_K: Array
    norm_N: Array
    usual_norm: float


def moving(rows: EpisodeTransitions, width: int) -> NDArray[np.bool_]:
    """Return whether something moves in each transition, (S,), by the baseline's flow of frames `width` pixels wide."""
    flow_SC2 = rows.features["flow_8x8"].reshape(len(rows), -1, 2)
    fastest_S = np.linalg.norm(flow_SC2, axis=2).max(axis=1, initial=0)
    moves_S: NDArray[np.bool_] = fastest_S * CELLS / width >= MOVING_CELLS
    return moves_S


def code_metrics(
    rows: Sequence[EpisodeTransitions], codes: int, width: int, rng: np.random.Generator
) -> dict[str, Measured]:
    """Return the share of transitions that move, and the distribution of their codes."""
    moves = [moving(r, width) for r in rows]
    count_EK = np.stack(
        [np.bincount(r.code_S[m], minlength=codes).astype(np.float64) for r, m in zip(rows, moves, strict=True)]
    )
    n = int(count_EK.sum())
    return {
        "moving_share": mean_of([m.astype(np.float64) for m in moves], rng),
        "top_code_share_moving": estimate(count_EK, _top_share, n, rng),
        "code_perplexity_moving": estimate(count_EK, perplexity, n, rng),
        "code_chance_agreement": estimate(
            np.stack([np.bincount(r.code_S, minlength=codes).astype(np.float64) for r in rows]),
            lambda count_RK: np.square(count_RK / count_RK.sum(axis=1, keepdims=True)).sum(axis=1),
            sum(map(len, rows)),
            rng,
        ),
    }


def _top_share(count_RK: Array) -> Array:
    return ratio(np.stack((count_RK.max(axis=1), count_RK.sum(axis=1)), axis=1))


def disturbance_metrics(
    labeller: Labeller,
    films: Sequence[Frames],
    rng: np.random.Generator,
    disturbances: Mapping[str, Disturbance] = DISTURBANCES,
) -> tuple[dict[str, Measured], Frozen]:
    """Return the share of codes that each disturbance leaves unchanged, and the labels of frozen frames.

    Args:
        labeller: the bundle's labeller.
        films: the first frames of some episodes, at the model's size and rate; at least two.
        rng: draws disturbances and resamples.
        disturbances: by name; none: frozen frames alone.

    """
    plain = [_read(labeller, film) for film in films]
    metrics: dict[str, Measured] = {}
    for name, disturb in disturbances.items():
        same = [_read(labeller, disturb(f, rng))[0] == code_S for f, (code_S, _) in zip(films, plain, strict=True)]
        metrics[f"unchanged_{name}"] = mean_of(same, rng)
    codes = labeller.bundle.config.lam.quantizer.codes
    still = [_read(labeller, np.stack((x, x))) for film in films for x in film[:: -(-len(film) // FROZEN_FRAMES)]]
    usual_norm = float(np.median(np.linalg.norm(np.concatenate([latent for _, latent in plain]), axis=1)))
    norm_N = np.linalg.norm(np.concatenate([latent for _, latent in still]), axis=1)
    count_K = np.bincount(np.concatenate([code for code, _ in still]), minlength=codes).astype(np.float64)
    return metrics, Frozen(count_K, norm_N.astype(np.float64), usual_norm)


def frozen_metrics(frozen: Mapping[str, Frozen]) -> tuple[int, dict[str, dict[str, float]]]:
    """Return the most frequent code of frozen frames over all sets and, by set, its share and the latents' length.

    `frozen_norm` is the median length of a frozen frame's latent over the median length of the set's own.
    """
    total_K = np.sum([f.count_K / f.count_K.sum() for f in frozen.values()], axis=0)
    still = int(total_K.argmax())
    return still, {
        name: {
            "frozen_still_share": float(f.count_K[still] / f.count_K.sum()),
            "frozen_norm": float(np.median(f.norm_N) / f.usual_norm) if f.usual_norm > 0 else float("nan"),
        }
        for name, f in frozen.items()
    }


def _read(labeller: Labeller, film_THWC: Frames) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    labels = labeller.label(film_THWC, 1)
    return labels.code[labels.valid], labels.latent[labels.valid]


__all__ = ["MOVING_CELLS", "Frozen", "code_metrics", "disturbance_metrics", "frozen_metrics", "moving"]
