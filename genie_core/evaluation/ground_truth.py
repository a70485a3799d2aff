"""Evaluates labels against the robot's true motion, if the data has it: probes, their frame of reference, and NMI.

A probe is fitted on half of the episodes, and on what else the data set has, and scored on the other half. Labels never
see the truth; only probes do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.evaluation.baselines import FLOWS, baseline_features, random_encoder
from genie_core.evaluation.flow import optical_flow
from genie_core.evaluation.material import Film, Study, Take, read_film
from genie_core.evaluation.metrics import Findings, Measured, Missing, Statistic, estimate, mean_of, ratio
from genie_core.evaluation.supervised import Lesson, supervised_predictions
from genie_core.inference import Labeller
from genie_core.statistics.metrics import Array, normalised_mse, normalised_mutual_information, r2_mean, residual_sums
from genie_core.statistics.probes import Probe, fit_mlp
from genie_core.statistics.ridge import fit_ridge

LINEAR_BASELINES = (*FLOWS, "frame", "random_encoder")
PROBES = ("code", "latent", "latent_linear", "flow_8x8_mlp", "frame_difference", *LINEAR_BASELINES, "shuffled")
SUPERVISED = "supervised"
DISPLACEMENT = "displacement"
LEAST_BOUND = 0.05
"""A supervised bound with a smaller R2 bounds nothing."""

Truth = Sequence[Array] | Missing
"""Targets of the probes: one (S, K) array per episode."""

Read = Callable[[Film], Array | None]
"""Takes the truth from a film, (S, K)."""


@dataclass(frozen=True)
class Halves:
    """Episodes to fit probes on, and episodes to score them on."""

    fit: tuple[int, ...]
    score: tuple[int, ...]

    @staticmethod
    def draw(episodes: int, rng: np.random.Generator) -> Halves:
        """Split at random; at least two episodes."""
        order = rng.permutation(episodes).tolist()
        return Halves(tuple(order[: (episodes + 1) // 2]), tuple(order[(episodes + 1) // 2 :]))


def ground_truth_findings(study: Study, rng: np.random.Generator) -> Findings:
    """Return metrics ``probe.*``: displacement of the end effector, actions, and motion classes."""
    key = study.options.position
    displacement = _everywhere([_displacement(t.film) for t in study.takes], f"the array `{key}`")
    action = _everywhere([_action(t.film) for t in study.takes], "actions")
    halves = Halves.draw(len(study.takes), rng) if len(study.takes) > 1 else None
    return Findings.merge(
        [
            _probe_findings(study, DISPLACEMENT, displacement, _displacement, halves, rng),
            _probe_findings(study, "action", action, _action, halves, rng),
            _motion_findings(study, displacement, rng),
        ]
    )


def _displacement(film: Film) -> Array | None:
    return film.displacement_SK


def _action(film: Film) -> Array | None:
    return film.action_SA


def _probe_findings(
    study: Study, target: str, truth: Truth, read: Read, halves: Halves | None, rng: np.random.Generator
) -> Findings:
    """Return the metrics of all probes of one target; of displacement also of supervised inverse dynamics."""
    study.progress(f"probes of {target}", 0, 1)
    scores = _scores(study, target, truth, read, halves, rng)
    metrics: dict[str, Measured] = {}
    curves: dict[str, Sequence[Measured]] = {}
    for name, score in scores.items():
        metrics[f"probe.{name}_to_{target}_r2_mean"] = _estimate(score, r2_mean, rng)
        metrics[f"probe.{name}_to_{target}_nmse"] = _estimate(score, normalised_mse, rng)
        if not isinstance(score, Missing):
            numbers = range(score.shape[2])
            curves[f"probe.{name}_to_{target}_r2"] = [_estimate(score[:, :, k : k + 1], r2_mean, rng) for k in numbers]
    if SUPERVISED in scores:
        metrics["probe.latent_share_of_supervised"] = _share_of_bound(scores["latent"], scores[SUPERVISED], rng)
    return Findings(metrics, curves)


def _scores(
    study: Study, target: str, truth: Truth, read: Read, halves: Halves | None, rng: np.random.Generator
) -> dict[str, Array | Missing]:
    """Of every probe, sums (E, 4, K) of `residual_sums` over the scored episodes, or why there are none."""
    names = (*PROBES, SUPERVISED) if target == DISPLACEMENT else PROBES
    if isinstance(truth, Missing):
        return dict.fromkeys(names, truth)
    if halves is None:
        return dict.fromkeys(names, Missing("it takes 2 episodes: one to fit on, one to score"))
    scores: dict[str, Array | Missing] = {**probe_scores(study, truth, read, halves, rng)}
    if SUPERVISED in names:
        left_out = Missing("it was left out: --supervised-steps 0")
        scores[SUPERVISED] = _supervised_score(study, truth, halves) if study.options.supervised_steps else left_out
    return scores


def probe_scores(
    study: Study, truth: Sequence[Array], read: Read, halves: Halves, rng: np.random.Generator
) -> dict[str, Array]:
    """Return sums (E, 4, K) of `residual_sums` over the scored episodes, for each of `PROBES`.

    A linear probe of a one-hot code predicts the code's mean: no other probe of a code alone can do better, so that
    there is no MLP for it. `shuffled` learns the latents with the truth in random order. The penalty of linear probes
    is chosen inside the episodes that they are fitted on.
    """
    seed = study.options.seed
    codes = np.eye(study.bundle.config.lam.quantizer.codes)

    def mlp(x_NF: Array, y_NK: Array) -> Probe:
        return fit_mlp(x_NF, y_NK, seed)

    def shuffled(x_NF: Array, y_NK: Array) -> Probe:
        return fit_mlp(x_NF, rng.permutation(y_NK), seed)

    def latent(take: Take) -> Array:
        return take.latent_SD.astype(np.float64)

    fitted = [(study.takes[i], truth[i]) for i in halves.fit] + _others(study, read, truth[0].shape[1])
    untrained = Labeller(random_encoder(study.bundle, seed))
    looked_at = [*(take for take, _ in fitted), *(study.takes[i] for i in halves.score)]
    seen = {id(take): _features(take, untrained) for take in looked_at}
    target_NK = np.concatenate([target for _, target in fitted])
    episode_N = np.concatenate([np.full(len(target), i) for i, (_, target) in enumerate(fitted)])

    def linear(x_NF: Array, y_NK: Array) -> Probe:
        return fit_ridge(x_NF, y_NK, episode_N)

    def baseline(name: str) -> Callable[[Take], Array]:
        return lambda take: seen[id(take)][name]

    plan: Mapping[str, tuple[Callable[[Take], Array], Callable[[Array, Array], Probe]]] = {
        "code": (lambda take: codes[take.code_S], linear),
        "latent": (latent, mlp),
        "latent_linear": (latent, linear),
        "flow_8x8_mlp": (baseline("flow_8x8"), mlp),
        "frame_difference": (baseline("frame_difference"), mlp),
        **{name: (baseline(name), linear) for name in LINEAR_BASELINES},
        "shuffled": (latent, shuffled),
    }
    scores = {}
    for name, (features, fit) in plan.items():
        probe = fit(np.concatenate([features(take) for take, _ in fitted]), target_NK)
        scores[name] = np.stack([residual_sums(truth[i], probe(features(study.takes[i]))) for i in halves.score])
    return scores


def _features(take: Take, untrained: Labeller) -> dict[str, Array]:
    """Return further features of a take's frames, by name: the baselines, and the same encoder untrained."""
    frames_THWC = take.film.frames_THWC
    before, after = frames_THWC[:-1], frames_THWC[1:]
    found = baseline_features(before, after, optical_flow(before, after))
    return {**found, "random_encoder": read_film(untrained, take.film)[1].astype(np.float64)}


def _others(study: Study, read: Read, width: int) -> list[tuple[Take, Array]]:
    """Return the episodes that are not scored and their truth, where it is as wide."""
    found = [(take, read(take.film)) for take in study.others]
    return [(take, target) for take, target in found if target is not None and target.shape[1] == width]


def motion_class(displacement_SK: Array, still: float) -> NDArray[np.int64]:
    """Classify displacements of K numbers: 0 shorter than `still`, else 1 + 2 axis + (1 if it is positive)."""
    axis_S = np.abs(displacement_SK).argmax(axis=1)
    positive_S = np.take_along_axis(displacement_SK, axis_S[:, None], axis=1)[:, 0] > 0
    return np.where(np.linalg.norm(displacement_SK, axis=1) < still, 0, 1 + 2 * axis_S + positive_S)


def _motion_findings(study: Study, displacement: Truth, rng: np.random.Generator) -> Findings:
    """Measure agreement of codes and motion classes, and how long a motion lasts (``lam.temporal_stability``)."""
    if isinstance(displacement, Missing):
        return Findings({"probe.nmi": displacement, "probe.motion_stability": displacement})
    shape = (study.bundle.config.lam.quantizer.codes, 1 + 2 * displacement[0].shape[1])
    classes = [motion_class(d, study.options.still) for d in displacement]
    joint_EKM = np.zeros((len(classes), *shape))
    for joint_KM, take, class_S in zip(joint_EKM, study.takes, classes, strict=True):
        np.add.at(joint_KM, (take.code_S, class_S), 1)
    return Findings(
        {
            "probe.nmi": estimate(joint_EKM, normalised_mutual_information, int(joint_EKM.sum()), rng),
            "probe.motion_stability": mean_of([c[1:] == c[:-1] for c in classes], rng),
        },
        {"probe.code_purity": [_purity(joint_EKM[:, code], rng) for code in range(shape[0])]},
    )


def _purity(count_EM: Array, rng: np.random.Generator) -> Measured:
    """Return the share of one code's transitions that are of its most frequent motion class."""
    return estimate(count_EM, lambda sums: ratio(np.stack((sums.max(1), sums.sum(1)), 1)), int(count_EM.sum()), rng)


def _supervised_score(study: Study, truth: Sequence[Array], halves: Halves) -> Array | Missing:
    """Score supervised inverse dynamics, trained on the episodes that probes are fitted on."""
    others = [take.film for take, _ in _others(study, _displacement, truth[0].shape[1])]
    fitted = [study.takes[i].film for i in halves.fit] + others
    train = [Lesson(film.frames_THWC, film.displacement_SK) for film in fitted if film.displacement_SK is not None]
    test = [study.takes[i].film.frames_THWC for i in halves.score]
    options = study.options
    read = supervised_predictions(study.bundle, train, test, options.supervised_steps, options.seed, study.progress)
    if not read.settled:
        return Missing(
            f"its held-out error had not stopped falling after {read.steps} steps, so that it bounds nothing: give "
            "more --supervised-steps"
        )
    return np.stack([residual_sums(truth[i], r) for i, r in zip(halves.score, read.predicted, strict=True)])


def _share_of_bound(latent: Array | Missing, bound: Array | Missing, rng: np.random.Generator) -> Measured:
    """R2 of the latents' probe over that of the supervised bound; undefined where the bound has learnt nothing."""
    if isinstance(latent, Missing) or isinstance(bound, Missing):
        return bound if isinstance(bound, Missing) else Missing("there is nothing to compare")

    def share(sums_R24K: Array) -> Array:
        latent_R, bound_R = r2_mean(sums_R24K[:, 0]), r2_mean(sums_R24K[:, 1])
        return np.where(bound_R > LEAST_BOUND, latent_R / np.maximum(bound_R, LEAST_BOUND), np.nan)

    return estimate(np.stack((latent, bound), axis=1), share, _rows(latent), rng)


def _estimate(score: Array | Missing, statistic: Statistic, rng: np.random.Generator) -> Measured:
    return score if isinstance(score, Missing) else estimate(score, statistic, _rows(score), rng)


def _rows(sums_E4K: Array) -> int:
    return int(sums_E4K[:, 0, 0].sum())


def _everywhere(arrays: Sequence[Array | None], what: str) -> Truth:
    """Return the arrays, if every episode has one and all are of the same width."""
    found = [a for a in arrays if a is not None]
    alike = len({a.shape[1] for a in found}) == 1
    return found if len(found) == len(arrays) and alike else Missing(f"not every episode has {what}, of one width")


__all__ = [
    "PROBES",
    "SUPERVISED",
    "Halves",
    "ground_truth_findings",
    "motion_class",
    "probe_scores",
]
