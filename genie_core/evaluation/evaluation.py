"""One evaluation from a bundle and a data set to a report. What is measured is the parts' work."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from genie_core import __version__
from genie_core.data import Dataset, Episode, Frames, read_image, resize_frames
from genie_core.errors import DatasetError
from genie_core.evaluation.consistency import consistency_findings
from genie_core.evaluation.figures import Findings
from genie_core.evaluation.ground_truth import ground_truth_findings
from genie_core.evaluation.i3d import load_i3d
from genie_core.evaluation.latent_actions import latent_action_findings
from genie_core.evaluation.material import Film, Study, choose_episodes, label_film, load_film
from genie_core.evaluation.options import EvaluationOptions
from genie_core.evaluation.report import EvaluationFacts, EvaluationReport
from genie_core.evaluation.rollouts import rollout_findings
from genie_core.evaluation.tokenizer import tokenizer_findings
from genie_core.evaluation.trajectories import diverse_findings, prompted_findings
from genie_core.inference import Labeller, Sampling, Simulator
from genie_core.inference.simulator import DEFAULT_MASKGIT_STEPS
from genie_core.models.bundle import Bundle
from genie_core.progress import Progress, silent

MOST_OTHERS = 200
"""Episodes beside those looked at that probes and the supervised bound are fitted on."""

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
"""What can be measured of a model that labels alone."""


def evaluate(
    bundle: Bundle, dataset: Dataset, options: EvaluationOptions | None = None, progress: Progress = silent
) -> EvaluationReport:
    """Evaluate a bundle on episodes that it was not trained on (which they are is the caller's to know).

    The same bundle, data and options give the same figures on the same machine, whatever ran before.

    Args:
        bundle: what is evaluated.
        dataset: where the episodes come from; robomimic's filter key ``valid`` is taken where there is one.
        options: how much is looked at; None for the defaults.
        progress: told how it goes.

    Raises:
        DatasetError: no usable episode, an unknown subset or frame rate, a ground-truth array that does not fit, a
            picture that cannot be read.
        ModelError: the file given for I3D is not what it should be.
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
        bundle: what is measured.
        films: at least one.
        options: those that concern the parts.
        parts: what to measure; each draws random numbers of its own, so that it finds the same beside others or alone.
        others: films that nothing is scored on: probes and the supervised bound are fitted on them too.
        prompts: pictures of the model's size to prompt from, (1, h, w, 3) uint8 each.
        progress: told how it goes.

    """
    if not bundle.config.simulates:
        parts = [part for part in parts if part in _PARTS_OF_LABELS]
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
    """Label the films (none, where a part needs none) and put together what parts need; arguments as of `measure`."""
    labeller = Labeller(bundle)
    takes = []
    for done, film in enumerate([*films, *others]):
        progress("labels", done, len(films) + len(others))
        takes.append(label_film(labeller, film))
    seen, more = takes[: len(films)], takes[len(films) :]
    return Study(labeller, seen, more, prompts, options, resolve_sampling(bundle, options), progress)


def part_rng(part: Part, seed: int) -> np.random.Generator:
    """The random numbers of one part: others of the same evaluation do not move them."""
    return np.random.default_rng([seed, zlib.crc32(part.__name__.encode())])


def resolve_sampling(bundle: Bundle, options: EvaluationOptions) -> Sampling:
    """The sampling options with every default filled in; raises RequestError where one is out of range."""
    config = bundle.config
    steps = min(DEFAULT_MASKGIT_STEPS, config.tokens_per_frame)
    sampling = Sampling(
        steps if options.maskgit_steps is None else options.maskgit_steps,
        config.temperature if options.temperature is None else options.temperature,
    )
    if config.simulates:
        Simulator(bundle).start(np.zeros((1, config.height, config.width, 3), np.uint8), 1, sampling)  # checks them
    return sampling


def read_films(
    bundle: Bundle, dataset: Dataset, options: EvaluationOptions
) -> tuple[str, list[Film], Sequence[Episode]]:
    """The subset's name, the films to look at, and the episodes of the data that are not among them.

    Raises:
        DatasetError: no usable episode, an unknown subset or frame rate, a ground-truth array that does not fit.

    """
    subset, chosen, rest = choose_episodes(dataset, options)
    films = _films(bundle, chosen, options)
    if not films:
        raise DatasetError(f"{dataset.path}: no episode has 2 frames at the model's {bundle.config.fps:g} frames/s")
    return subset, films, rest


def read_prompts(bundle: Bundle, images: Sequence[Path]) -> list[Frames]:
    """Pictures to prompt from at the model's size, (1, h, w, 3) uint8 each; DatasetError names one that is none."""
    return [resize_frames(read_image(path), bundle.config.height, bundle.config.width) for path in images]


def _films(bundle: Bundle, episodes: Sequence[Episode], options: EvaluationOptions) -> list[Film]:
    config = bundle.config
    films = (load_film(episode, config.height, config.width, config.fps, options) for episode in episodes)
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
