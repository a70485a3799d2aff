"""Labels part of a dataset into a temporary file, so that data can be checked before all of it is labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from genie_core.data import Dataset, Episode, LabelModel, Labels, LabelWriter
from genie_core.data.frames.content import PictureWatch
from genie_core.data.labelled.exclusion import exclusions, without
from genie_core.errors import DatasetError
from genie_core.inference import Labeller
from genie_core.inference.auto_step import find_steps_with
from genie_core.models.bundle import Bundle
from genie_core.progress import Progress

EPISODES, FRAMES = 40, 8_000
"""Episodes that are labelled for a check, and frames of all of them, at most; 2 episodes whatever their length."""
_LEAST = 2


@dataclass(frozen=True)
class Sampling:
    """Which part of a dataset is labelled, and how.

    Attributes:
        step: frames of a transition; ``auto``: as `genie label --step auto` finds it; None: by the frame rates.
        episodes: most episodes.
        frames: most frames of all of them.
        seed: seed of the draw.

    """

    step: int | str | None = None
    episodes: int = EPISODES
    frames: int = FRAMES
    seed: int = 0


def label_sample(bundle: Bundle, dataset: Dataset, sampling: Sampling, folder: Path, progress: Progress) -> Path:
    """Label episodes drawn at random, as `genie label` would, into a file in `folder`, and return it.

    Raises:
        DatasetError: no episode can be read, or the transition length is unknown.
        ModelError: ``auto`` with a bundle whose latents do not measure the size of motion.

    """
    chosen = _draw(dataset, sampling)
    steps = find_steps_with(bundle, chosen) if sampling.step == "auto" else None
    info = bundle.info
    model = LabelModel(
        info.bundle_id, info.name, info.config.fps, info.codebook, bundle.computation, info.fine_codebook
    )
    labeller = Labeller(bundle)
    step = sampling.step if isinstance(sampling.step, int) else None
    part_of = replace(dataset, episodes=chosen, masks={})
    with LabelWriter(folder / "sample.labelled.hdf5", part_of, model, step=step, auto_steps=steps) as writer:
        pending = writer.pending()
        for done, episode in enumerate(pending):
            progress("labelling a sample", done, len(pending))
            _label(writer, episode, labeller)
        return Path(str(writer.finish()))


def _draw(dataset: Dataset, sampling: Sampling) -> Sequence[Episode]:
    """Return the episodes in their order, until there are enough frames."""
    order = np.random.default_rng([sampling.seed, 2]).permutation(len(dataset.episodes)).tolist()
    chosen: list[int] = []
    frames, why = 0, "it has no episode"
    for place in order:
        try:
            count = dataset.episodes[place].num_frames
        except DatasetError as error:  # a damaged file: the check is of those that can be labelled
            why = str(error)
            continue
        if len(chosen) >= sampling.episodes or (len(chosen) >= _LEAST and frames + count > sampling.frames):
            continue
        chosen.append(place)
        frames += count
    if not chosen:
        raise DatasetError(f"{dataset.path}: no episode can be read: {why}")
    return [dataset.episodes[place] for place in sorted(chosen)]


def _label(writer: LabelWriter, episode: Episode, labeller: Labeller) -> None:
    watch, step, parts = PictureWatch(), writer.step(episode).step, list[Labels]()
    stream = labeller.stream(step)
    with writer.episode(episode) as part:
        for chunk in episode.chunks():
            watch.add(chunk)
            frames_THWC = labeller.resized(chunk)
            part.add_frames(frames_THWC)
            parts.append(stream.push(frames_THWC))
        whole = Labels.concatenate([*parts, stream.finish()])
        part.add_labels(without(whole, exclusions(watch.seen, step, episode.fps, episode.moments)))


__all__ = ["EPISODES", "FRAMES", "Sampling", "label_sample"]
