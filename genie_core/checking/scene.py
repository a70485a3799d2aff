"""How well a linear classifier recognises the episode from held-out labels. Pure.

It is trained on the first half of each episode and asked of the second, with a gap between: what it knows then is what
stays the same in an episode, the scene, and not the motion of one moment.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from genie_core.checking.codes import CheckedEpisode
from genie_core.evaluation.metrics import Measured, Missing, of_means
from genie_core.statistics.metrics import Array
from genie_core.statistics.ridge import fit_ridge

MOST_EPISODES, MOST_ROWS = 20, 200
"""Episodes that are told apart, and transitions of each, at most."""
LEAST_ROWS = 8
"""Moving transitions that an episode must have to take part."""
_BLOCKS = 4
"""Stretches of each half that the penalty is chosen over, so that neighbours are not split."""


def scene_metrics(episodes: Sequence[CheckedEpisode], codes: int, rng: np.random.Generator) -> dict[str, Measured]:
    """Measure how well the episode is recognised: 0 for chance, 1 for always.

    ``scene_told_by_latent`` and, to compare with, ``scene_told_by_code``.

    Args:
        episodes: as labelled.
        codes: size of the codebook.
        rng: draws episodes and the resamples of intervals.

    """
    able = [e for e in episodes if e.moving_S.sum() >= LEAST_ROWS]
    drawn = rng.permutation(len(able))[:MOST_EPISODES]
    able = [able[i] for i in sorted(drawn.tolist())]
    if len(able) < 2:
        few = Missing(f"it takes 2 episodes with {LEAST_ROWS} moving transitions")
        return {"scene_told_by_latent": few, "scene_told_by_code": few}
    rows = [_spread_out(np.flatnonzero(e.moving_S)) for e in able]
    latent = [e.latent_SD[r] for e, r in zip(able, rows, strict=True)]
    one_hot = [np.eye(codes)[e.code_S[r]] for e, r in zip(able, rows, strict=True)]
    return {
        "scene_told_by_latent": _told(latent, rng),
        "scene_told_by_code": _told(one_hot, rng),
    }


def _spread_out(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(rows) <= MOST_ROWS:
        return rows
    return rows[np.linspace(0, len(rows) - 1, MOST_ROWS).round().astype(np.int64)]


def _told(features: Sequence[Array], rng: np.random.Generator) -> Measured:
    """Return the share of second halves recognised, above chance, from features (S, F) per episode."""
    fit_x, fit_y, block, ask = [], [], [], []
    for place, x_SF in enumerate(features):
        middle, gap = len(x_SF) // 2, max(1, len(x_SF) // 20)
        first = np.arange(max(1, middle - gap))
        fit_x.append(x_SF[first])
        fit_y.append(np.full(len(first), place))
        block.append(first * _BLOCKS // len(first))
        ask.append(x_SF[middle:])
    classes = len(features)
    probe = fit_ridge(np.concatenate(fit_x), np.eye(classes)[np.concatenate(fit_y)], np.concatenate(block))
    right = [(probe(x_SF).argmax(axis=1) == place).astype(np.float64) for place, x_SF in enumerate(ask)]
    return of_means(right, lambda share_R: (share_R - 1 / classes) / (1 - 1 / classes), rng)


__all__ = ["scene_metrics"]
