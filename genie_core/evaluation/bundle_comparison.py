"""How the codes of a new bundle translate into those of an old one, from the same transitions labelled by both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from genie_core.data import Dataset, Episode, resolve_step
from genie_core.errors import DatasetError
from genie_core.evaluation.evaluation import make_study, read_films
from genie_core.evaluation.metrics import Metric, Missing, estimate
from genie_core.evaluation.options import EvaluationOptions
from genie_core.models.bundle import Bundle
from genie_core.progress import Progress, silent
from genie_core.statistics.translation import Translation, agreement_of, joint_of, translate


class CodeTranslation(BaseModel):
    """One code of the new bundle."""

    model_config = ConfigDict(frozen=True)

    new: int
    old: int | None = Field(description="the old code that it stands for; None: none is left for it")
    share: float = Field(description="share of all transitions that have it")
    agreement: float | None = Field(description="share of these with that old code; None: the new code is unused")
    next_old: int | None = Field(description="the old code that most of the others have; None: there are none")
    next_share: float = Field(description="share of its transitions with that one")


class BundleComparison(BaseModel):
    """Result; `agreement` is measured on episodes that the translation was not matched on, if there are two."""

    model_config = ConfigDict(frozen=True)

    old_bundle: str
    old_bundle_id: str
    new_bundle: str
    new_bundle_id: str
    data: str
    step: int | None = Field(description="transition length in frames; None: from the frame rates")
    transitions: int
    agreement: Metric
    held_out: bool = Field(description="whether the agreement is of episodes that the codes were not matched on")
    kappa: float = Field(description="agreement beyond chance: 0 for unrelated codes, 1 for identical ones")
    codes: tuple[CodeTranslation, ...]
    joint: tuple[tuple[int, ...], ...] = Field(description="transitions with each old code (rows) and new code")


def compare_bundles(
    old: Bundle,
    new: Bundle,
    dataset: Dataset,
    options: EvaluationOptions,
    rng: np.random.Generator,
    progress: Progress = silent,
) -> BundleComparison:
    """Label the same transitions with both bundles, match the codes, and measure how well they agree.

    Raises:
        DatasetError: no episode can be read, or too little of it; or the frame rates of the two differ on some episode,
            so that they would label different transitions (give `options.step`).

    """
    if options.step is None:
        _check_same_steps(old, new, dataset.episodes)
    codes_EN = []
    for bundle in (old, new):
        _, films, _ = read_films(bundle, dataset, options)
        study = make_study(bundle, films, options, progress=progress)
        codes_EN.append({take.film.name: take.code_S for take in study.takes})
    names = [name for name in codes_EN[0] if name in codes_EN[1]]
    pairs = [(codes_EN[0][name], codes_EN[1][name]) for name in names]
    joint_EKL = joint_of(pairs, len(old.codebook), len(new.codebook))
    translation = translate(joint_EKL.sum(axis=0))
    agreement, held_out = _agreement(joint_EKL, rng)
    return BundleComparison(
        old_bundle=old.name,
        old_bundle_id=old.bundle_id,
        new_bundle=new.name,
        new_bundle_id=new.bundle_id,
        data=str(dataset.path),
        step=options.step,
        transitions=int(joint_EKL.sum()),
        agreement=agreement,
        held_out=held_out,
        kappa=translation.kappa,
        codes=tuple(_of_code(translation, code) for code in range(len(new.codebook))),
        joint=tuple(tuple(row) for row in translation.joint_KL.tolist()),
    )


def _check_same_steps(old: Bundle, new: Bundle, episodes: Sequence[Episode]) -> None:
    for episode in episodes:
        steps = [resolve_step(episode.fps, bundle.config.fps, None).step for bundle in (old, new)]
        if steps[0] != steps[1]:
            raise DatasetError(
                f"{episode.name}: the frame rates of {old.name} and {new.name} give transitions of {steps[0]} and "
                f"{steps[1]} frames, expected the same: give --step"
            )


def _agreement(joint_EKL: NDArray[np.int64], rng: np.random.Generator) -> tuple[Metric, bool]:
    """Match the codes on half of the episodes and measure on the other half; with one episode, on the same."""
    episodes = len(joint_EKL)
    order = rng.permutation(episodes)
    fit, score = (order[: episodes // 2], order[episodes // 2 :]) if episodes > 1 else (order, order)
    matched = translate(joint_EKL[fit].sum(axis=0)).old_of_new_L
    scored = joint_EKL[score].astype(np.float64)
    metric = estimate(scored, lambda joint_RKL: agreement_of(joint_RKL, matched), int(scored.sum()), rng)
    if isinstance(metric, Missing):
        raise DatasetError(f"agreement of codes: {metric.reason}")
    return metric, episodes > 1


def _of_code(translation: Translation, code: int) -> CodeTranslation:
    count_K, old = translation.joint_KL[:, code], int(translation.old_of_new_L[code])
    used = int(count_K.sum())
    others = count_K.copy()
    if old >= 0:
        others[old] = 0
    following = int(others.argmax()) if others.any() else None
    return CodeTranslation(
        new=code,
        old=old if old >= 0 else None,
        share=used / max(1, int(translation.joint_KL.sum())),
        agreement=None if not used or old < 0 else float(count_K[old] / used),
        next_old=following,
        next_share=0.0 if following is None else float(others[following] / used),
    )


__all__ = ["BundleComparison", "CodeTranslation", "compare_bundles"]
