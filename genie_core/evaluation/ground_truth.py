"""What labels say about the robot's true motion, where the data holds it: probes, their frame of reference, and NMI.

A probe is fitted on half of the episodes and scored on the other half. Labels never see the truth; only probes do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.data import resize_frames
from genie_core.evaluation.figures import Findings, Measured, Missing, estimate, mean_of
from genie_core.evaluation.material import Film, Progress, Take
from genie_core.evaluation.metrics import Array, normalised_mse, normalised_mutual_information, r2, residual_sums
from genie_core.evaluation.options import EvaluationOptions
from genie_core.evaluation.probes import Probe, fit_linear, fit_mlp
from genie_core.evaluation.supervised import supervised_predictions
from genie_core.models.bundle import Bundle

_DIFFERENCE_SIDE = 8
"""Pixels a side of the shrunken frames whose difference is the baseline."""

PROBES = ("code", "latent", "latent_linear", "frame_difference", "shuffled")


@dataclass(frozen=True)
class Halves:
    """Which episodes a probe is fitted on, and which it is scored on."""

    fit: tuple[int, ...]
    score: tuple[int, ...]

    @staticmethod
    def draw(episodes: int, rng: np.random.Generator) -> Halves:
        """Split at random; at least two episodes."""
        order = rng.permutation(episodes).tolist()
        return Halves(tuple(order[: (episodes + 1) // 2]), tuple(order[(episodes + 1) // 2 :]))


def ground_truth_findings(
    bundle: Bundle,
    takes: Sequence[Take],
    others: Sequence[Film],
    options: EvaluationOptions,
    rng: np.random.Generator,
    progress: Progress,
) -> Findings:
    """Figures ``probe.*``: displacement of the end effector, actions, and motion classes.

    Args:
        bundle: whose labels these are.
        takes: labelled episodes.
        others: episodes that are not scored, for the supervised bound alone.
        options: still threshold, steps of the supervised bound, seed.
        rng: draws the halves, the shuffling and the resamples.
        progress: told how it goes.

    """
    displacement = _all([t.film.displacement_SK for t in takes])
    action = _all([t.film.action_SA for t in takes])
    no_position = Missing(f"not every episode has the array `{options.position}`")
    no_action = Missing("not every episode has actions")
    figures: dict[str, Measured] = {}
    curves: dict[str, Sequence[Measured]] = {}
    halves = Halves.draw(len(takes), rng) if len(takes) > 1 else None
    targets = (("displacement", displacement, no_position), ("action", action, no_action))
    for target, truth, missing in targets:
        if truth is None or halves is None:
            reason = missing if truth is None else Missing("it takes 2 episodes: one to fit on, one to score")
            figures |= {f"probe.{name}_to_{target}_{kind}": reason for name in PROBES for kind in ("r2_mean", "nmse")}
            figures |= _without_bound(reason) if target == "displacement" else {}
            continue
        progress("probes", 0, 1)
        scores = probe_scores(bundle, takes, truth, halves, options.seed, rng)
        if target == "displacement":
            figures |= _bound(bundle, takes, truth, others, halves, options, scores, rng, progress)
        for name, sums_E4K in scores.items():
            figures |= _figures(f"probe.{name}_to_{target}", sums_E4K, rng)
            curves[f"probe.{name}_to_{target}_r2"] = _curve(sums_E4K, rng)
    figures |= _motion_figures(bundle, takes, displacement, options.still, rng, no_position)
    return Findings(figures, curves)


def probe_scores(
    bundle: Bundle, takes: Sequence[Take], truth: Sequence[Array], halves: Halves, seed: int, rng: np.random.Generator
) -> dict[str, Array]:
    """Sums (E, 4, K) of `residual_sums` over the scored episodes, for each of `PROBES`.

    A linear probe of a one-hot code predicts the code's mean: no other probe of a code alone can do better, so that
    there is no MLP for it. `shuffled` learns the latents with the truth in random order.
    """
    codes = np.eye(bundle.config.lam.quantizer.codes)
    code = [codes[t.code_S] for t in takes]
    latent = [t.latent_SD.astype(np.float64) for t in takes]
    difference = [frame_differences(t.film) for t in takes]

    def mlp(x_NF: Array, y_NK: Array) -> Probe:
        return fit_mlp(x_NF, y_NK, seed)

    def shuffled(x_NF: Array, y_NK: Array) -> Probe:
        return fit_mlp(x_NF, rng.permutation(y_NK), seed)

    plan: Mapping[str, tuple[Sequence[Array], Callable[[Array, Array], Probe]]] = {
        "code": (code, fit_linear),
        "latent": (latent, mlp),
        "latent_linear": (latent, fit_linear),
        "frame_difference": (difference, mlp),
        "shuffled": (latent, shuffled),
    }
    scores = {}
    for name, (features, fit) in plan.items():
        probe = fit(np.concatenate([features[i] for i in halves.fit]), np.concatenate([truth[i] for i in halves.fit]))
        scores[name] = np.stack([residual_sums(truth[i], probe(features[i])) for i in halves.score])
    return scores


def frame_differences(film: Film) -> Array:
    """The baseline's features, (S, 192): each frame's difference to the next, both shrunk to 8 x 8."""
    small_THWC = resize_frames(film.frames_THWC, _DIFFERENCE_SIDE, _DIFFERENCE_SIDE).astype(np.float64)
    return np.diff(small_THWC, axis=0).reshape(len(small_THWC) - 1, -1)


def motion_class(displacement_SK: Array, still: float) -> NDArray[np.int64]:
    """Class of each displacement of K numbers: 0 shorter than `still`, else 1 + 2 axis + (1 if it is positive)."""
    axis_S = np.abs(displacement_SK).argmax(axis=1)
    positive_S = np.take_along_axis(displacement_SK, axis_S[:, None], axis=1)[:, 0] > 0
    return np.where(np.linalg.norm(displacement_SK, axis=1) < still, 0, 1 + 2 * axis_S + positive_S)


def _motion_figures(
    bundle: Bundle,
    takes: Sequence[Take],
    displacement: Sequence[Array] | None,
    still: float,
    rng: np.random.Generator,
    missing: Missing,
) -> dict[str, Measured]:
    """How well codes and motion classes agree, and how long a motion lasts (beside ``lam.temporal_stability``)."""
    if displacement is None:
        return {"probe.nmi": missing, "probe.motion_stability": missing}
    shape = (bundle.config.lam.quantizer.codes, 1 + 2 * displacement[0].shape[1])
    classes = [motion_class(d, still) for d in displacement]
    joint_EKM = np.zeros((len(takes), *shape))
    for joint_KM, take, class_S in zip(joint_EKM, takes, classes, strict=True):
        np.add.at(joint_KM, (take.code_S, class_S), 1)
    return {
        "probe.nmi": estimate(joint_EKM, normalised_mutual_information, int(joint_EKM.sum()), rng),
        "probe.motion_stability": mean_of([c[1:] == c[:-1] for c in classes], rng),
    }


def _bound(
    bundle: Bundle,
    takes: Sequence[Take],
    truth: Sequence[Array],
    others: Sequence[Film],
    halves: Halves,
    options: EvaluationOptions,
    scores: Mapping[str, Array],
    rng: np.random.Generator,
    progress: Progress,
) -> dict[str, Measured]:
    """The supervised bound, and the share of it that the probe of the latents reaches."""
    if not options.supervised_steps:
        return _without_bound(Missing("it was left out: --supervised-steps 0"))
    train = [takes[i].film for i in halves.fit] + [f for f in others if f.position_TK is not None]
    test = [takes[i].film for i in halves.score]
    predictions = supervised_predictions(bundle, train, test, options.supervised_steps, options.seed, progress)
    pairs = zip(halves.score, predictions, strict=True)
    sums_E4K = np.stack([residual_sums(truth[i], predicted) for i, predicted in pairs])
    both_E24K = np.stack((scores["latent"], sums_E4K), axis=1)
    return {
        **_figures("probe.supervised_to_displacement", sums_E4K, rng),
        "probe.latent_share_of_supervised": estimate(
            both_E24K, lambda sums: r2_mean(sums[:, 0]) / r2_mean(sums[:, 1]), _rows(sums_E4K), rng
        ),
    }


def _without_bound(reason: Missing) -> dict[str, Measured]:
    names = ("supervised_to_displacement_r2_mean", "supervised_to_displacement_nmse", "latent_share_of_supervised")
    return {f"probe.{name}": reason for name in names}


def r2_mean(sums_X4K: Array) -> Array:
    """Mean of `r2` over the numbers that vary, (..., 4, K) -> (...); NaN where none does."""
    each = r2(sums_X4K)
    varies = np.isfinite(each)
    with np.errstate(invalid="ignore"):
        mean: Array = np.where(varies, each, 0).sum(axis=-1) / varies.sum(axis=-1)
    return mean


def _figures(name: str, sums_E4K: Array, rng: np.random.Generator) -> dict[str, Measured]:
    rows = _rows(sums_E4K)
    return {
        f"{name}_r2_mean": estimate(sums_E4K, r2_mean, rows, rng),
        f"{name}_nmse": estimate(sums_E4K, normalised_mse, rows, rng),
    }


def _curve(sums_E4K: Array, rng: np.random.Generator) -> list[Measured]:
    def one(k: int) -> Measured:
        return estimate(sums_E4K, lambda sums: r2(sums)[:, k], _rows(sums_E4K), rng)

    return [one(k) for k in range(sums_E4K.shape[2])]


def _rows(sums_E4K: Array) -> int:
    return int(sums_E4K[:, 0, 0].sum())


def _all(arrays: Sequence[Array | None]) -> list[Array] | None:
    """The arrays, if every episode has one and all are of the same width."""
    found = [a for a in arrays if a is not None]
    alike = len({a.shape[1] for a in found}) == 1
    return found if len(found) == len(arrays) and alike else None


__all__ = [
    "PROBES",
    "Halves",
    "frame_differences",
    "ground_truth_findings",
    "motion_class",
    "probe_scores",
    "r2_mean",
]
