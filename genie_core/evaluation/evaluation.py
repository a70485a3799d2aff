"""One evaluation from a bundle and a data set to a report. What is measured is the parts' work."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from genie_core import __version__
from genie_core.data import Dataset
from genie_core.errors import DatasetError
from genie_core.evaluation.consistency import consistency_findings
from genie_core.evaluation.figures import Findings
from genie_core.evaluation.ground_truth import ground_truth_findings
from genie_core.evaluation.latent_actions import latent_action_findings
from genie_core.evaluation.material import Film, Progress, Study, choose_episodes, label_film, load_film
from genie_core.evaluation.options import EvaluationOptions
from genie_core.evaluation.report import Provenance, Report
from genie_core.evaluation.rollouts import rollout_findings
from genie_core.evaluation.tokenizer import tokenizer_findings
from genie_core.evaluation.trajectories import trajectory_findings
from genie_core.inference import Labeller, Sampling, Simulator
from genie_core.inference.simulator import DEFAULT_MASKGIT_STEPS
from genie_core.models.bundle import Bundle

MOST_OTHERS = 200
"""Episodes beside those looked at that the supervised bound may train on."""

PARTS: tuple[Callable[[Study, np.random.Generator], Findings], ...] = (
    tokenizer_findings,
    latent_action_findings,
    ground_truth_findings,
    rollout_findings,
    consistency_findings,
    trajectory_findings,
)
"""In the order in which they run; each has random numbers of its own."""


def evaluate(
    bundle: Bundle,
    dataset: Dataset,
    options: EvaluationOptions | None = None,
    progress: Progress = lambda part, done, total: None,
) -> Report:
    """Evaluate a bundle on episodes that it was not trained on (which they are is the caller's to know).

    The same bundle, data and options give the same report on the same machine, whatever ran before.

    Args:
        bundle: what is evaluated.
        dataset: where the episodes come from; robomimic's filter key ``valid`` is taken where there is one.
        options: how much is looked at; None for the defaults.
        progress: told how it goes.

    Raises:
        DatasetError: no usable episode, an unknown subset or frame rate, a ground-truth array that does not fit.
        RequestError: sampling options out of range.

    """
    options = options or EvaluationOptions()
    began = time.monotonic()
    sampling = _resolve_sampling(bundle, options)
    subset, study = _study(bundle, dataset, options, sampling, progress)
    parts = []
    for part, rng in zip(PARTS, np.random.default_rng(options.seed).spawn(len(PARTS)), strict=True):
        parts.append(part(study, rng))
    provenance = Provenance(
        genie_version=__version__,
        bundle=bundle.name,
        bundle_id=bundle.bundle_id,
        codes=bundle.config.lam.quantizer.codes,
        parameters=bundle.parameters,
        data=dataset.path.name,
        camera=dataset.camera,
        subset=subset,
        episodes=tuple(t.film.name for t in study.takes),
        transitions=sum(len(t.code_S) for t in study.takes),
        sampling=sampling,
        options=options,
        seconds=time.monotonic() - began,
        device=str(bundle.device),
    )
    return Report(provenance, Findings.merge(parts))


def _resolve_sampling(bundle: Bundle, options: EvaluationOptions) -> Sampling:
    """The options with every default filled in; raises RequestError where one is out of range."""
    config = bundle.config
    steps = min(DEFAULT_MASKGIT_STEPS, config.tokens_per_frame)
    sampling = Sampling(
        steps if options.maskgit_steps is None else options.maskgit_steps,
        config.temperature if options.temperature is None else options.temperature,
    )
    Simulator(bundle).start(np.zeros((1, config.height, config.width, 3), np.uint8), 1, sampling)  # checks them
    return sampling


def _study(
    bundle: Bundle, dataset: Dataset, options: EvaluationOptions, sampling: Sampling, progress: Progress
) -> tuple[str, Study]:
    """Read and label the chosen episodes."""
    config, labeller = bundle.config, Labeller(bundle)
    subset, chosen, rest = choose_episodes(dataset, options)
    takes = []
    for done, episode in enumerate(chosen):
        progress("labels", done, len(chosen))
        film = load_film(episode, config.height, config.width, config.fps, options)
        if film is not None:
            takes.append(label_film(labeller, film))
    if not takes:
        raise DatasetError(f"{dataset.path}: no episode has 2 frames at the model's {config.fps:g} frames/s")
    others: list[Film] = []
    if options.supervised_steps and takes[0].film.position_TK is not None:
        films = (load_film(e, config.height, config.width, config.fps, options) for e in rest[:MOST_OTHERS])
        others = [film for film in films if film is not None]
    return subset, Study(labeller, takes, others, options, sampling, progress)


__all__ = ["PARTS", "evaluate"]
