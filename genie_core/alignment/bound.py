"""The bound: supervised inverse dynamics, trained with all labels, scored on the same transitions as the alignment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genie_core.alignment.regressor import Array
from genie_core.alignment.study import Score, Split
from genie_core.alignment.transitions import AlignedEpisode
from genie_core.evaluation.supervised import Lesson, supervised_predictions
from genie_core.models.bundle import Bundle
from genie_core.progress import Progress
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
    train = [lesson for episode in split.fit for lesson in _lessons(episode, step)]
    test = [_lessons(episode, step) for episode in split.held_out]
    shown = [lesson.frames_THWC for lessons in test for lesson in lessons]
    read = iter(supervised_predictions(bundle, train, shown, steps, seed, progress))
    sums = []
    for episode, lessons in zip(split.held_out, test, strict=True):
        predicted_TA = np.full_like(episode.action_TA, np.nan)
        for phase, lesson in zip(_phases(episode, step), lessons, strict=True):
            predicted_TA[phase : phase + step * len(lesson.truth_SK) : step] = next(read)
        sums.append(residual_sums(episode.action_SA, predicted_TA[episode.frame_S]))
    return Score(np.stack(sums)[None])


def _phases(episode: AlignedEpisode, step: int) -> Sequence[int]:
    """The phases of the episode at the model's rate that carry labels; each has two frames or more."""
    return sorted(set((episode.frame_S % step).tolist()))


def _lessons(episode: AlignedEpisode, step: int) -> list[Lesson]:
    """One a phase: its frames, and the robot's action over each transition."""
    assert episode.frames_THWC is not None
    lessons = []
    for phase in _phases(episode, step):
        action_SA: Array = episode.action_TA[phase::step]
        lessons.append(Lesson(episode.frames_THWC[phase::step][: len(action_SA) + 1], action_SA))
    return lessons


__all__ = ["supervised_score"]
