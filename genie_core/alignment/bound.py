"""Supervised inverse dynamics, trained on all actions and scored on the same transitions as the alignment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genie_core.alignment.regressor import Array
from genie_core.alignment.study import HeldOutSplit, Score
from genie_core.alignment.transitions import AlignedEpisode
from genie_core.evaluation.supervised import Lesson, supervised_predictions
from genie_core.models.bundle import Bundle
from genie_core.progress import Progress
from genie_core.statistics.metrics import residual_sums


def supervised_score(
    bundle: Bundle, split: HeldOutSplit, step: int, steps: int, seed: int, progress: Progress
) -> tuple[Score, bool]:
    """Train the bundle's encoder on the actions of all fitting episodes, and score it on the held-out ones.

    Returns also whether its error on lessons set aside stopped falling: only then is it a bound.

    Args:
        bundle: its encoder is the starting point.
        split: its episodes must keep their frames.
        step: frames of a transition.
        steps: most training steps, at least 1.
        seed: of the batches and the head's weights.
        progress: receives the progress of training.

    """
    train = [lesson for episode in split.fit for lesson in _lessons(episode, step)]
    test = [_lessons(episode, step) for episode in split.held_out]
    shown = [lesson.frames_THWC for lessons in test for lesson in lessons]
    found = supervised_predictions(bundle, train, shown, steps, seed, progress)
    read = iter(found.predicted)
    sums = []
    for episode, lessons in zip(split.held_out, test, strict=True):
        predicted_TA = np.full_like(episode.action_TA, np.nan)
        for phase, lesson in zip(_phases(episode, step), lessons, strict=True):
            predicted_TA[phase : phase + step * len(lesson.truth_SK) : step] = next(read)
        sums.append(residual_sums(episode.action_SA, predicted_TA[episode.frame_S]))
    return Score(np.stack(sums)[None]), found.settled


def _phases(episode: AlignedEpisode, step: int) -> Sequence[int]:
    """Return the phases of the episode, at the model's rate, that carry labels; each has two frames or more."""
    return sorted(set((episode.frame_S % step).tolist()))


def _lessons(episode: AlignedEpisode, step: int) -> list[Lesson]:
    """Return one lesson per phase: its frames, and the robot's action over each transition."""
    assert episode.frames_THWC is not None
    lessons = []
    for phase in _phases(episode, step):
        action_SA: Array = episode.action_TA[phase::step]
        lessons.append(Lesson(episode.frames_THWC[phase::step][: len(action_SA) + 1], action_SA))
    return lessons


__all__ = ["supervised_score"]
