"""Measures labels from the labels alone: use of codes, motion, continuity, what was left out. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Labels
from genie_core.data.labelled.exclusion import REASONS
from genie_core.evaluation.metrics import Measured, Metric, Missing, estimate, mean_of, of_means, ratio
from genie_core.statistics.metrics import Array, perplexity

STATIC = 0.25
"""Length of a latent, as a share of the median length of the codebook's, below which nothing moves in a transition: of
the shipped `motion` a tenth of the usual latent, since codes are the centres of many."""

_ALIKE = 1e-3
"""Spread of the lengths of codes, as a share of their mean, below which they all have the same."""


@dataclass(frozen=True)
class CheckedEpisode:
    """The labels of one episode.

    Attributes:
        name: its name in the labelled file.
        frames: number of its frames.
        step: frames from one frame of a transition to the other.
        frame_S: (S,) frame at which each of the S labelled transitions starts.
        code_S: (S,) int64.
        latent_SD: (S, D) float64.
        confidence_S: (S,).
        moving_S: (S,) whether something moves; all True if the latents do not show it.
        excluded: number of transitions without a label, by reason.

    """

    name: str
    frames: int
    step: int
    frame_S: NDArray[np.int64]
    code_S: NDArray[np.int64]
    latent_SD: Array
    confidence_S: Array
    moving_S: NDArray[np.bool_]
    excluded: Mapping[str, int]

    @staticmethod
    def of(name: str, labels: Labels, step: int, codebook: NDArray[np.float32]) -> CheckedEpisode:
        """Take what is checked from the labels of a whole episode; `codebook` is that of their model, (codes, D)."""
        frame_S = np.flatnonzero(labels.valid).astype(np.int64)
        latent_SD = labels.latent[frame_S].astype(np.float64)
        least = STATIC * usual_length(codebook) if keeps_length(codebook) else -1.0
        counts = {} if labels.reason is None else {r: int((labels.reason == c).sum()) for c, r in REASONS.items()}
        return CheckedEpisode(
            name,
            len(labels),
            step,
            frame_S,
            labels.code[frame_S].astype(np.int64),
            latent_SD,
            labels.confidence[frame_S].astype(np.float64),
            np.linalg.norm(latent_SD, axis=1) >= least,
            {reason: count for reason, count in counts.items() if count},
        )

    @property
    def excluded_total(self) -> int:
        """Transitions without a label for what their pictures or times show."""
        return sum(self.excluded.values())


def keeps_length(codebook: NDArray[np.float32]) -> bool:
    """Return whether the length of this model's latents follows the size of the motion, rather than being constant."""
    length_K = np.linalg.norm(codebook.astype(np.float64), axis=1)
    return bool(length_K.std() > _ALIKE * length_K.mean())


def usual_length(codebook: NDArray[np.float32]) -> float:
    """Return the median length of the codes."""
    return float(np.median(np.linalg.norm(codebook.astype(np.float64), axis=1)))


def label_metrics(
    episodes: Sequence[CheckedEpisode], codebook: NDArray[np.float32], rng: np.random.Generator
) -> dict[str, Measured]:
    """Measure labels without their frames; `RULES` explains each number.

    Args:
        episodes: at least one.
        codebook: (codes, D) that of their model.
        rng: draws the resamples of intervals.

    """
    codes = len(codebook)
    moving_EK = np.stack([np.bincount(e.code_S[e.moving_S], minlength=codes) for e in episodes]).astype(np.float64)
    moving = int(moving_EK.sum())
    with_label = [e for e in episodes if len(e.code_S)]
    of_all_E2 = np.array([[e.excluded_total, e.excluded_total + len(e.code_S)] for e in episodes], np.float64)
    confidence = np.concatenate([e.confidence_S for e in episodes])
    return {
        "moving_transitions": Metric(value=moving, ci95=None, n=moving, episodes=len(episodes)),
        "top_code_share_moving": estimate(moving_EK, _top_share, moving, rng),
        "code_perplexity_moving": estimate(moving_EK, perplexity, moving, rng),
        "code_agreement": code_agreement(episodes, codebook, rng),
        "confidence_median": Metric(
            value=float(np.median(confidence)), ci95=None, n=len(confidence), episodes=len(with_label)
        )
        if len(confidence)
        else Missing("no transition has a label"),
        "continuity": continuity(episodes, rng),
        "static_share": mean_of([(~e.moving_S).astype(np.float64) for e in with_label], rng),
        "excluded_share": estimate(of_all_E2, ratio, int(of_all_E2[:, 1].sum()), rng),
    }


def code_agreement(
    episodes: Sequence[CheckedEpisode], codebook: NDArray[np.float32], rng: np.random.Generator
) -> Measured:
    """Agreement of moving transitions' codes with those whose place in the codebook is nearest, as Cohen's kappa.

    Lengths are shortened first, so that beyond the usual one direction counts, about as models do that keep them. How
    long is usual to a model the file does not say, so that a few codes near a border differ; it has the median code's.
    """
    codes = len(codebook)
    usual = max(usual_length(codebook), 1e-12)

    def shortened(x_ND: Array) -> Array:
        short: Array = x_ND / (usual + np.linalg.norm(x_ND, axis=1, keepdims=True))
        return short

    place_KD = shortened(codebook.astype(np.float64))
    joint = []
    for e in episodes:
        short_SD = shortened(e.latent_SD[e.moving_S])
        near_S = (short_SD @ place_KD.T - np.square(place_KD).sum(axis=1) / 2).argmax(axis=1)
        joint.append(np.bincount(e.code_S[e.moving_S] * codes + near_S, minlength=codes**2).reshape(codes, codes))
    joint_EKK = np.stack(joint).astype(np.float64)
    return estimate(joint_EKK, _kappa, int(joint_EKK.sum()), rng)


def _kappa(joint_RKK: Array) -> Array:
    share_RKK = joint_RKK / np.maximum(joint_RKK.sum(axis=(1, 2), keepdims=True), 1)
    chance_R = (share_RKK.sum(axis=1) * share_RKK.sum(axis=2)).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        kappa: Array = (np.trace(share_RKK, axis1=1, axis2=2) - chance_R) / (1 - chance_R)
    return kappa


def continuity(episodes: Sequence[CheckedEpisode], rng: np.random.Generator) -> Measured:
    """Return the correlation of moving latents with those of the next labelled frame, about the mean of all.

    Robots move on as they moved, and two overlapping transitions have frames between them in common, so that it is
    well above 0; latents that are noise are uncorrelated.
    """
    mean_D = np.concatenate([e.latent_SD for e in episodes]).mean(axis=0)
    groups = []
    for e in episodes:
        spread_SD = e.latent_SD - mean_D
        apart = np.diff(e.frame_S)
        next_to = (apart == min(apart, default=1)) & e.moving_S[:-1] & e.moving_S[1:]
        both_S3 = np.stack(
            [
                (spread_SD[:-1] * spread_SD[1:]).sum(axis=1),
                np.square(spread_SD[:-1]).sum(axis=1),
                np.square(spread_SD[1:]).sum(axis=1),
            ],
            axis=1,
        )
        groups.append(both_S3[next_to])
    return of_means(groups, lambda m_R3: m_R3[:, 0] / np.sqrt(m_R3[:, 1] * m_R3[:, 2]), rng)


def _top_share(count_RK: Array) -> Array:
    return ratio(np.stack((count_RK.max(axis=1), count_RK.sum(axis=1)), axis=1))


__all__ = ["STATIC", "CheckedEpisode", "code_agreement", "continuity", "keeps_length", "label_metrics", "usual_length"]
