"""Runs an evaluation, from bundle and dataset to report; the parts measure."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from genie_core import __version__
from genie_core.data import Dataset, Episode, Frames, read_image, resize_frames
from genie_core.errors import DatasetError
from genie_core.evaluation.consistency import consistency_findings
from genie_core.evaluation.ground_truth import ground_truth_findings
from genie_core.evaluation.i3d import load_i3d
from genie_core.evaluation.latent_actions import latent_action_findings
from genie_core.evaluation.material import Film, Study, choose_episodes, label_film, load_film
from genie_core.evaluation.metrics import Findings
from genie_core.evaluation.options import EvaluationOptions
from genie_core.evaluation.report import EvaluationFacts, EvaluationReport
from genie_core.evaluation.rollouts import rollout_findings
from genie_core.evaluation.tokenizer import tokenizer_findings
from genie_core.evaluation.trajectories import diverse_findings, prompted_findings
from genie_core.inference import Labeller, Sampling, Simulator
from genie_core.models.bundle import Bundle
from genie_core.progress import Progress, silent

MOST_OTHERS = 200
"""Number of further episodes on which probes and the supervised bound are fitted."""

Part = Callable[[Study, np.random.Generator], Findings]

PARTS: tuple[Part, ...] = (
    tokenizer_findings,
    latent_action_findings,
    ground_truth_findings,
    rollout_findings,
    consistency_findings,
    prompted_findings,
    diverse_findings,
)
"""In the order in which they run."""

_PARTS_OF_LABELS: tuple[Part, ...] = (latent_action_findings, ground_truth_findings)
"""Parts that apply to a model that only labels."""

_PARTS_OF_TOKENS: tuple[Part, ...] = (tokenizer_findings,)
"""What takes a model that draws frames of tokens, and not one that moves the last."""


def evaluate(
    bundle: Bundle, dataset: Dataset, options: EvaluationOptions | None = None, progress: Progress = silent
) -> EvaluationReport:
    """Evaluate a bundle on episodes that it was not trained on; the caller must know which those are.

    The same bundle, data and options give the same results on the same machine, whatever ran before.

    Args:
        bundle: the bundle to evaluate.
        dataset: source of the episodes; robomimic's filter key ``valid`` is used if there is one.
        options: what to measure, on how much data; None: the defaults.
        progress: receives progress.

    Raises:
        DatasetError: no usable episode, an unknown subset or frame rate, an invalid ground-truth array, or an
            unreadable image.
        ModelError: the file given for I3D is not I3D as TorchScript.
        RequestError: sampling options out of range.

    """
    options = options or EvaluationOptions()
    began = time.monotonic()
    config = bundle.config
    sampling = resolve_sampling(bundle, options)
    prompts = read_prompts(bundle, options.images)
    if options.i3d is not None:
        load_i3d(options.i3d, bundle.device)  # checks it
    subset, films, rest = read_films(bundle, dataset, options)
    probed = films[0].position_TK is not None or films[0].action_SA is not None
    others = _films(bundle, rest[:MOST_OTHERS], options) if probed else []
    findings = measure(bundle, films, options, others=others, prompts=prompts, progress=progress)
    provenance = EvaluationFacts(
        genie_version=__version__,
        bundle=bundle.name,
        bundle_id=bundle.bundle_id,
        fps=config.fps,
        codes=config.lam.quantizer.codes,
        parameters=bundle.parameters,
        data=dataset.path.name,
        camera=dataset.camera,
        subset=subset,
        episodes=tuple(film.name for film in films),
        transitions=sum(len(film.frames_THWC) - 1 for film in films),
        sampling=sampling,
        options=options,
        seconds=time.monotonic() - began,
        device=str(bundle.device),
    )
    if findings.calibration is not None:
        named = findings.calibration.model_copy(update={"data": dataset.path.name})
        findings = replace(findings, calibration=named)
    return EvaluationReport(provenance, findings)


def measure(
    bundle: Bundle,
    films: Sequence[Film],
    options: EvaluationOptions,
    *,
    parts: Sequence[Part] = PARTS,
    others: Sequence[Film] = (),
    prompts: Sequence[Frames] = (),
    progress: Progress = silent,
) -> Findings:
    """Measure a bundle on films at its own size and rate.

    Args:
        bundle: the bundle to measure.
        films: at least one.
        options: options of the parts.
        parts: parts to run; each has its own random numbers, so that its results do not depend on the others.
        others: further films, on which probes and the supervised bound are fitted but nothing is scored.
        prompts: images of the model's size to prompt with, (1, h, w, 3) uint8 each.
        progress: receives progress.

    """
    if not bundle.config.context_frames:
        parts = [part for part in parts if part in _PARTS_OF_LABELS]
    elif not bundle.config.simulates:
        parts = [part for part in parts if part not in _PARTS_OF_TOKENS]
    study = make_study(bundle, films, options, others=others, prompts=prompts, progress=progress)
    return Findings.merge([part(study, part_rng(part, options.seed)) for part in parts])


def make_study(
    bundle: Bundle,
    films: Sequence[Film],
    options: EvaluationOptions,
    *,
    others: Sequence[Film] = (),
    prompts: Sequence[Frames] = (),
    progress: Progress = silent,
) -> Study:
    """Label the films (none if no part needs them) and gather what the parts need; arguments as of `measure`."""
    labeller = Labeller(bundle)
    takes = []
    for done, film in enumerate([*films, *others]):
        progress("labels", done, len(films) + len(others))
        takes.append(label_film(labeller, film))
    seen, more = takes[: len(films)], takes[len(films) :]
    return Study(labeller, seen, more, prompts, options, resolve_sampling(bundle, options), progress)


def part_rng(part: Part, seed: int) -> np.random.Generator:
    """Return the random generator of one part, independent of the others."""
    return np.random.default_rng([seed, zlib.crc32(part.__name__.encode())])


def resolve_sampling(bundle: Bundle, options: EvaluationOptions) -> Sampling:
    """Sampling options with all defaults filled in. Raises RequestError if one is out of range."""
    config = bundle.config
    sampling = Sampling(
        config.maskgit_steps if options.maskgit_steps is None else options.maskgit_steps,
        config.temperature if options.temperature is None else options.temperature,
    )
    if config.context_frames:
        Simulator(bundle).start(np.zeros((1, config.height, config.width, 3), np.uint8), 1, sampling)  # checks them
    return sampling


def read_films(
    bundle: Bundle, dataset: Dataset, options: EvaluationOptions
) -> tuple[str, list[Film], Sequence[Episode]]:
    """Choose the films: the subset's name, the films, and the remaining episodes of the data.

    Raises:
        DatasetError: no usable episode, an unknown subset or frame rate, or an invalid ground-truth array.

    """
    subset, chosen, rest = choose_episodes(dataset, options)
    films = _films(bundle, chosen, options)
    if not films:
        raise DatasetError(f"{dataset.path}: no episode has 2 frames at the model's {bundle.config.fps:g} frames/s")
    return subset, films, rest


def read_prompts(bundle: Bundle, images: Sequence[Path]) -> list[Frames]:
    """Read images to prompt with, resized to the model's size, (1, h, w, 3) uint8 each. Raises DatasetError."""
    return [resize_frames(read_image(path), bundle.config.height, bundle.config.width) for path in images]


def _films(bundle: Bundle, episodes: Sequence[Episode], options: EvaluationOptions) -> list[Film]:
    films = (load_film(episode, bundle.config, options) for episode in episodes)
    return [film for film in films if film is not None]


__all__ = [
    "PARTS",
    "Part",
    "evaluate",
    "make_study",
    "measure",
    "part_rng",
    "read_films",
    "read_prompts",
    "resolve_sampling",
]
