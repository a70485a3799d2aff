"""Fits an alignment on labelled transitions, scores it on held-out episodes, and reports errors by budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from genie_core import __version__
from genie_core.alignment.alignment import Alignment, AlignmentInfo
from genie_core.alignment.bound import supervised_score
from genie_core.alignment.dictionary import Dictionary
from genie_core.alignment.regressor import Regressor
from genie_core.alignment.report import AlignmentReport, held_out
from genie_core.alignment.study import (
    HeldOutSplit,
    Sample,
    Score,
    StudyOptions,
    draw_rows,
    fit_back,
    fit_both,
    score,
    score_back,
    split_episodes,
    sweep,
    sweep_back,
)
from genie_core.alignment.transitions import AlignedSet, Wanted, read_material
from genie_core.alignment.way_back import WayBack
from genie_core.data import LabelledFile
from genie_core.errors import ModelError
from genie_core.models.bundle import Bundle, BundleInfo
from genie_core.progress import Progress


@dataclass(frozen=True)
class Plan:
    """Plan of what to fit and what to measure.

    Attributes:
        wanted: what to read, apart from what `supervised_steps` requires.
        budget: number of labelled transitions to fit on; None: all in the episodes not held out.
        hold_out: share of the episodes to score on; 0: none, and no report.
        study: what to compare.
        supervised_steps: most training steps of supervised inverse dynamics; 0 leaves it out.

    """

    wanted: Wanted
    budget: int | None
    hold_out: float
    study: StudyOptions
    supervised_steps: int


def check_bundle(labelled: LabelledFile, bundle: BundleInfo) -> None:
    """Raise ModelError unless `bundle` has made the labels."""
    if labelled.model.bundle_id != bundle.bundle_id:
        raise ModelError(
            f"{labelled.path}: got bundle {bundle.name} {bundle.bundle_id[:12]} ({bundle.path}), expected the one that "
            f"labelled it, {labelled.model.bundle_name} {labelled.model.bundle_id[:12]}: give that one, or label again"
        )


def align(
    labelled: LabelledFile, bundle: Bundle, plan: Plan, progress: Progress
) -> tuple[Alignment, AlignmentReport | None]:
    """Fit an alignment, and measure it if episodes are held out.

    Raises:
        DatasetError: see `read_material`; or the budget exceeds the number of labelled transitions.
        ModelError: the labels are of another bundle.

    """
    check_bundle(labelled, bundle.info)
    material = read_material(labelled, plan.wanted, progress)
    study, codes = plan.study, bundle.config.lam.quantizer.codes
    size = (bundle.config.height, bundle.config.width)
    split = split_episodes(material, plan.hold_out, codes, study.seed, size)
    everything = split.sample()
    budget = len(everything.inputs) if plan.budget is None else plan.budget
    progress(f"fitting on {budget} labelled transitions", 0, 1)
    sample = everything.take(draw_rows(everything, budget, study.draw, study.seed))
    fitted, back = fit_both(split, sample, study.seed), fit_back(sample, study.seed)
    info = _info(bundle.info, material, sample, study, fitted, back)
    alignment = Alignment(info, *fitted, split.observation, back)
    if not split.held_out:
        return alignment, None
    own = own_scores(split, alignment)
    own_back = Score(score_back(split, back)[None])
    stated = {way: held_out(found) for way, found in {**own, "way_back": own_back}.items()}
    alignment = Alignment(info.model_copy(update={"held_out": stated}), *fitted, split.observation, back)
    scores, scores_back = sweep(split, study, progress), sweep_back(split, study)
    if budget not in scores:
        scores[budget], scores_back[budget] = own, {"regressor": own_back}
    supervised, settled = None, False
    if plan.supervised_steps:
        supervised, settled = supervised_score(
            bundle, split, material.provenance.step, plan.supervised_steps, study.seed, progress
        )
    names = [episode.name for episode in split.held_out]
    facts = _facts(alignment.info, material, split, everything, plan)
    return alignment, AlignmentReport(
        facts, info.actions, scores, supervised, names, study.seed, scores_back, supervised_settled=settled
    )


def own_scores(split: HeldOutSplit, alignment: Alignment) -> dict[str, Score]:
    """Score each way of decoding of one alignment on the held-out episodes."""
    dictionary, regressor, seed = alignment.dictionary, alignment.regressor, alignment.info.seed
    return {
        "draw": Score(score(split, lambda inputs: dictionary.draw(inputs.code_N, seed))[None]),
        "dictionary": Score(score(split, lambda inputs: dictionary.mean(inputs.code_N))[None]),
        "regressor": Score(score(split, regressor.predict)[None]),
    }


def _info(
    bundle: BundleInfo,
    material: AlignedSet,
    sample: Sample,
    study: StudyOptions,
    fitted: tuple[Dictionary, Regressor],
    back: WayBack,
) -> AlignmentInfo:
    return AlignmentInfo(
        bundle_id=bundle.bundle_id,
        bundle_name=bundle.name,
        codes=bundle.config.lam.quantizer.codes,
        latent_dim=bundle.config.lam.quantizer.dim,
        actions=material.actions,
        reduce=material.reduce,
        step=material.provenance.step,
        fps=material.provenance.fps,
        camera=material.provenance.camera,
        precision=material.provenance.computation.precision,
        computation=material.provenance.computation,
        height=bundle.config.height,
        width=bundle.config.width,
        kernels=fitted[1].kernels,
        back_kernels=back.regressor.kernels,
        back_low=tuple(back.scale.low_A.tolist()),
        back_high=tuple(back.scale.high_A.tolist()),
        budget=len(sample.inputs),
        draw=study.draw,
        seed=study.seed,
        labels=material.labelled.path.name,
        dataset=material.actions_from.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        tool_version=__version__,
    )


def _facts(
    info: AlignmentInfo, material: AlignedSet, split: HeldOutSplit, everything: Sample, plan: Plan
) -> dict[str, object]:
    """Return the part of report.json that says how the alignment was made."""
    return {
        "bundle": info.bundle_name,
        "bundle_id": info.bundle_id,
        "labels": info.labels,
        "dataset": info.dataset,
        "reduce": info.reduce,
        "step": info.step,
        "fps": info.fps,
        "camera": info.camera,
        **material.provenance.computation.said(),
        "budget": info.budget,
        "draw": info.draw,
        "seed": info.seed,
        "draws": plan.study.seeds,
        "episodes_to_fit_on": len(split.fit),
        "episodes_held_out": len(split.held_out),
        "episodes_without_actions": len(material.without_actions),
        "labelled_transitions": len(everything.inputs),
        "budgets_without_labels": [b for b in plan.study.budgets if b > len(everything.inputs)],
        "supervised_steps": plan.supervised_steps,
        "kernels": _words(info),
        "created": info.created,
        "tool_version": info.tool_version,
    }


def _words(info: AlignmentInfo) -> Sequence[str]:
    """Describe the kernels in use."""
    return [
        k.kind
        + (f" {k.latent_scale:g}" if k.kind == "smooth" else "")
        + (f", observation {k.observation_scale:g}" if k.observation_scale is not None else "")
        for k in info.kernels
    ]


__all__ = ["Plan", "align", "check_bundle", "own_scores"]
