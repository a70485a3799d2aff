"""Probes the robot's own actions, where they are known: labels beside flow and frame differences of equal size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from genie_core.alignment.transitions import AlignedEpisode, Reduce, Wanted, read_material
from genie_core.checking.codes import CheckedEpisode
from genie_core.checking.pictures import read_frames
from genie_core.data import Episode, Frames, LabelledFile
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError
from genie_core.evaluation.flow import cell_means, optical_flow
from genie_core.evaluation.metrics import Measured, Missing, estimate, ratio
from genie_core.evaluation.suite.rows import EpisodeTransitions
from genie_core.evaluation.suite.scoring import LEAST_EPISODES, Way, score
from genie_core.progress import Progress

EPISODES, FRAMES = 10, 200
"""Episodes that are probed, and first frames of each, at most."""
LEAST_ROWS = 60
"""Transitions that it takes."""

FLOW, DIFFERENCE = "flow", "frame_difference"
"""The rivals, of so many cells of the picture that they have about as many numbers as a latent."""

TELLS = 0.95
"""Error of a probe, the mean's being 1, from which it tells nothing."""

WAYS = {
    "probe_code": Way("code", "linear"),
    "probe_latent": Way("latent", "linear"),
    "probe_flow": Way(FLOW, "linear"),
    "probe_frame_difference": Way(DIFFERENCE, "linear"),
    "probe_shuffled": Way("latent", "shuffled"),
}
_KINDS: tuple[Reduce, ...] = ("mean", "change")


def action_metrics(
    labelled: LabelledFile,
    episodes: Mapping[str, CheckedEpisode],
    sources: Mapping[str, Episode],
    actions_from: SourcePath | None,
    size: tuple[int, int],
    seed: int,
    progress: Progress,
) -> dict[str, Measured]:
    """Measure linear probes of actions, as error over variance on episodes that they were not fitted on.

    The target is the mean of a transition's actions, or their change, as of joint positions: whichever optical flow
    tells better, so that labels have no part in the choice.

    Args:
        labelled: the labelled file.
        episodes: those to probe by name, with their labels.
        sources: their frames.
        actions_from: dataset with the actions; None: where they lie with the labels or their source.
        size: height and width of the model's frames.
        seed: seed of the folds.
        progress: told of the stages.

    Returns:
        ``probe_code``, ``probe_latent``, ``probe_flow``, ``probe_frame_difference``, ``probe_shuffled`` and
        ``probe_latent_minus_flow``; or, under that last name alone, why there are none.

    """
    part = replace(labelled, episodes=tuple(episodes))
    found: dict[Reduce, list[EpisodeTransitions]] = {}
    pictures: dict[str, Frames] = {}
    try:
        for kind in _KINDS:
            wanted = Wanted(actions_from, *size, kind, observations=False)
            material = read_material(part, wanted, progress)
            for of in material.episodes:
                if of.name not in pictures:
                    pictures[of.name] = read_frames(sources[of.name], FRAMES, *size)
            rows = [_rows(of, episodes[of.name], pictures[of.name]) for of in material.episodes]
            found[kind] = [r for r in rows if len(r)]
    except DatasetError as error:
        return {"probe_latent_minus_flow": Missing(f"no actions: {error}")}
    if len(found["mean"]) < LEAST_EPISODES or sum(map(len, found["mean"])) < LEAST_ROWS:
        return {"probe_latent_minus_flow": Missing(f"it takes {LEAST_EPISODES} episodes and {LEAST_ROWS} transitions")}
    codes = len(labelled.model.codebook)
    scored = [_scored(rows, codes, seed, progress) for rows in found.values()]
    return min(scored, key=lambda metrics: _value(metrics["probe_flow"]))


def _scored(rows: Sequence[EpisodeTransitions], codes: int, seed: int, progress: Progress) -> dict[str, Measured]:
    def told(done: int, total: int) -> None:
        progress("probes of actions", done, total)

    scores = score(rows, codes, seed, told, tuple(WAYS.values()))
    errors = {name: scores.errors_E2(way.name) for name, way in WAYS.items()}
    rng = np.random.default_rng(seed)
    errors["probe_latent_minus_flow"] = errors["probe_latent"] - errors["probe_flow"] * [1, 0]
    metrics = {name: estimate(of, ratio, int(of[:, 1].sum()), rng) for name, of in errors.items()}
    if min(_value(metrics["probe_latent"]), _value(metrics["probe_flow"])) >= TELLS:
        metrics["probe_latent_minus_flow"] = Missing("neither latents nor flow tell these actions: too few, or unseen")
    return metrics


def _rows(actions: AlignedEpisode, labels: CheckedEpisode, frames_THWC: Frames) -> EpisodeTransitions:
    """Return the transitions within the given frames."""
    keep_S = labels.frame_S + labels.step < len(frames_THWC)
    start_S = labels.frame_S[keep_S]
    before_SHWC, after_SHWC = frames_THWC[start_S], frames_THWC[start_S + labels.step]
    latent_SD = labels.latent_SD[keep_S]
    flow_SHW2 = optical_flow(before_SHWC, after_SHWC)
    difference_SHWC = after_SHWC.astype(np.float32) - before_SHWC
    cells = {channels: max(1, round((latent_SD.shape[1] / channels) ** 0.5)) for channels in (2, 3)}
    features = {
        "latent": latent_SD,
        FLOW: cell_means(flow_SHW2, cells[2]).reshape(len(start_S), -1),
        DIFFERENCE: cell_means(difference_SHWC, cells[3]).reshape(len(start_S), -1),
    }
    unseen = np.zeros((len(start_S), 0, 0, 0), np.float16)
    return EpisodeTransitions(
        actions.name, labels.code_S[keep_S], features, unseen, actions.action_TA[start_S], {}, None
    )


def _value(metric: Measured) -> float:
    return float("inf") if isinstance(metric, Missing) else metric.value


__all__ = ["EPISODES", "action_metrics"]
