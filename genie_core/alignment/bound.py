"""The bound: supervised inverse dynamics, trained with all labels, scored on the same transitions as the alignment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genie_core.alignment.regressor import Array
from genie_core.alignment.study import Progress, Score, Split
from genie_core.alignment.transitions import AlignedEpisode
from genie_core.evaluation.material import Film, Study
from genie_core.evaluation.options import EvaluationOptions
from genie_core.evaluation.supervised import supervised_predictions
from genie_core.inference import Labeller, Sampling
from genie_core.models.bundle import Bundle
from genie_core.statistics.metrics import residual_sums


def supervised_score(bundle: Bundle, split: Split, step: int, steps: int, seed: int, progress: Progress) -> Score:
    """Train the bundle's own encoder on the actions of all episodes to fit on, and score it on those held out.

    Args:
        bundle: whose encoder it starts from.
        split: its episodes keep their frames.
        step: frames of a transition.
        steps: of training, at least 1.
        seed: of the batches and the head's weights.
        progress: told how it goes.

    """
    options = EvaluationOptions(supervised_steps=steps, seed=seed)
    study = Study(Labeller(bundle), (), (), (), options, Sampling(), progress)
    train = [film for episode in split.fit for film in _films(episode, step)]
    test = [_films(episode, step) for episode in split.held_out]
    read = iter(supervised_predictions(study, train, [film for films in test for film in films]))
    sums = []
    for episode, films in zip(split.held_out, test, strict=True):
        predicted_TA = np.full_like(episode.action_TA, np.nan)
        for phase, film in zip(_phases(episode, step), films, strict=True):
            predicted_TA[phase : phase + step * (len(film.frames_THWC) - 1) : step] = next(read)
        sums.append(residual_sums(episode.action_SA, predicted_TA[episode.frame_S]))
    return Score(np.stack(sums)[None])


def _phases(episode: AlignedEpisode, step: int) -> Sequence[int]:
    """The phases of the episode at the model's rate that carry labels; each has two frames or more."""
    return sorted(set((episode.frame_S % step).tolist()))


def _films(episode: AlignedEpisode, step: int) -> list[Film]:
    """One film a phase, with a track whose change over each transition is the robot's action over it."""
    assert episode.frames_THWC is not None
    films = []
    for phase in _phases(episode, step):
        action_SA: Array = episode.action_TA[phase::step]
        frames_THWC = episode.frames_THWC[phase::step][: len(action_SA) + 1]
        track_TA = np.concatenate((np.zeros((1, action_SA.shape[1])), action_SA.cumsum(axis=0)))
        films.append(Film(episode.name, frames_THWC, track_TA, action_SA))
    return films


__all__ = ["supervised_score"]
