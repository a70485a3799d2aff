"""Reads one set of a suite, episode by episode: each transition's label, the baselines' features and the truth.

Frames are dropped once features are computed, so a set needs no more memory than one of its episodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from genie_core.data import (
    Density,
    Episode,
    Frames,
    Labels,
    hold_out_episodes,
    open_dataset,
    resize_frames,
    resolve_step,
)
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError
from genie_core.evaluation.baselines import FLOWS, baseline_features, random_encoder
from genie_core.evaluation.flow import FlowField, cell_means, optical_flow
from genie_core.evaluation.suite.config import Lary, Slices, SuiteSet, Target
from genie_core.inference import Labeller
from genie_core.models.bundle import Bundle
from genie_core.statistics.metrics import Array

_CHUNK = 64
SUMMED = "flow_8x8_summed"
"""Baseline: the flow of 8 x 8 cells from frame to frame, added up as latents of motion are."""
_PICTURE_SIDE = 16
"""Side of the grid that supervised inverse dynamics sees."""


@dataclass(frozen=True)
class EpisodeTransitions:
    """The S transitions of one episode.

    Attributes:
        name: the episode's name.
        code_S: (S,) int64.
        features: (S, F) by name: ``latent``, ``fine_code`` (one-hot) and ``feature`` if the model has them,
            ``random_encoder``, and `BASELINES`; and `SUMMED`; of a suite that probes labels alone, no
            baseline but flow.
        picture_SCHW: (S, 8, 16, 16) float16: first frame, change and flow, for supervised inverse dynamics.
        truth_SK: target of the probes; None if the set has none.
        slices: slice of each transition, (S,) of strings, by the slices' name; "" for none.
        chunk_SCA: (S, k, A), the poses that LARY's probe predicts; None if it is left out.

    """

    name: str
    code_S: NDArray[np.int64]
    features: Mapping[str, Array]
    picture_SCHW: NDArray[np.float16]
    truth_SK: Array | None
    slices: Mapping[str, NDArray[np.str_]]
    chunk_SCA: Array | None

    def __len__(self) -> int:
        return len(self.code_S)


@dataclass(frozen=True)
class Reading:
    """Encoders shared by one run of a suite: the bundle's, and the same one untrained."""

    labeller: Labeller
    untrained: Labeller | None
    seed: int

    @staticmethod
    def of(bundle: Bundle, seed: int, *, labels_alone: bool = False) -> Reading:
        """Build them from a bundle; `seed` determines the untrained weights and which episodes are drawn.

        With `labels_alone` there is no untrained reader.
        """
        untrained = None if labels_alone else Labeller(random_encoder(bundle, seed))
        return Reading(Labeller(bundle), untrained, seed)


def choose_episodes(entry: SuiteSet, where: SourcePath, seed: int, most: int | None) -> list[Episode]:
    """Choose the episodes of a set to use: at least one, each with at least one transition.

    Args:
        entry: the set.
        where: its path.
        seed: seed of the draw if there are more episodes than wanted.
        most: maximum number of episodes, besides the set's own; None: the set's own only.

    Raises:
        DatasetError: nothing readable there, an unknown subset, no frame rate, or no episode with a transition.

    """
    dataset = open_dataset(where, options=entry.reading)
    if entry.subset is not None and entry.subset not in dataset.masks:
        there = ", ".join(sorted(dataset.masks)) or "none"
        raise DatasetError(f"{entry.name}: {where}: got the subset {entry.subset}, expected one of: {there}")
    wanted = None if entry.subset is None else set(dataset.masks[entry.subset])
    episodes = hold_out_episodes(dataset.episodes, entry.hold_out, seed)[1] if entry.hold_out else dataset.episodes
    candidates = [e for e in episodes if wanted is None or e.name in wanted]
    usable = [e for e in candidates if e.num_frames > step_of(entry, e)]
    if not usable:
        raise DatasetError(f"{entry.name}: {where}: no episode is longer than one transition")
    bounds = [bound for bound in (entry.episodes, most) if bound is not None]
    drawn = np.random.default_rng(seed).permutation(len(usable))[: min(bounds, default=len(usable))]
    return [usable[i] for i in sorted(drawn.tolist())]


def step_of(entry: SuiteSet, episode: Episode) -> int:
    """Return the transition length of an episode in frames. Raises DatasetError if its frame rate is unknown."""
    if entry.step is not None:
        return entry.step
    assert entry.seconds is not None
    if episode.fps is None:
        raise DatasetError(f"{entry.name}: {episode.source}: got no frame rate, expected `fps` or `step` in the suite")
    return resolve_step(episode.fps, 1 / entry.seconds).step


def read_rows(
    reading: Reading, entry: SuiteSet, episodes: Sequence[Episode], progress: Callable[[int, int], None]
) -> list[EpisodeTransitions]:
    """Read every episode.

    Raises:
        DatasetError: an array of truth, slices or poses is missing or invalid, or the truth's width changes.

    """
    rows = []
    for done, episode in enumerate(episodes):
        progress(done, len(episodes))
        rows.append(_episode_rows(reading, entry, episode))
    return rows


def model_frames(labeller: Labeller, entry: SuiteSet, episode: Episode, every: int = 1) -> Frames:
    """Return an episode's frames at the model's size: all of them, or every so many-th."""
    wanted = min(entry.frames, episode.num_frames)
    pieces, seen = [], 0
    for chunk_THWC in episode.chunks(_CHUNK):
        kept_THWC = chunk_THWC[-seen % every : wanted - seen : every]
        pieces.append(resize_frames(np.ascontiguousarray(kept_THWC), labeller.height, labeller.width))
        seen += len(chunk_THWC)
        if seen >= wanted:
            break
    return np.concatenate(pieces)


def _episode_rows(reading: Reading, entry: SuiteSet, episode: Episode) -> EpisodeTransitions:
    step = step_of(entry, episode)
    frames_THWC = model_frames(reading.labeller, entry, episode)
    start_S = np.arange(0, len(frames_THWC) - step, 1 if entry.density == "dense" else step)
    before_SHWC, after_SHWC = frames_THWC[start_S], frames_THWC[start_S + step]
    flow_SHW2 = optical_flow(before_SHWC, after_SHWC)
    labels, features = _label_features(reading.labeller, frames_THWC, step, entry.density)
    baselines = baseline_features(before_SHWC, after_SHWC, flow_SHW2)
    features[SUMMED] = _summed_flow(frames_THWC, start_S, step)
    if reading.untrained is None:
        features |= {name: values for name, values in baselines.items() if name in FLOWS}
    else:
        untrained = reading.untrained.label(frames_THWC, step, entry.density)
        features |= {"random_encoder": untrained.latent[untrained.valid].astype(np.float64), **baselines}
    target = None if entry.target is None else _target(entry.target, episode, start_S, step)
    return EpisodeTransitions(
        episode.name,
        labels.code[labels.valid].astype(np.int64),
        features,
        _pictures(before_SHWC, after_SHWC, flow_SHW2),
        target,
        {name: _slice_names(slices, episode, start_S) for name, slices in entry.slices.items()},
        None if entry.lary is None else _chunks(entry.lary, episode, start_S, step),
    )


def _summed_flow(frames_THWC: Frames, start_S: NDArray[np.int64], step: int) -> Array:
    """Return the flow of 8 x 8 cells from each frame to the next, summed over each transition, (S, 128)."""
    flow = cell_means(optical_flow(frames_THWC[:-1], frames_THWC[1:]), FLOWS["flow_8x8"]).reshape(-1, 128)
    summed: Array = np.sum([flow[start_S + row] for row in range(step)], axis=0)
    return summed


def _label_features(
    labeller: Labeller, frames_THWC: Frames, step: int, density: Density
) -> tuple[Labels, dict[str, Array]]:
    """Return the labels of all frames, and what probes read of the valid ones."""
    gives = labeller.feature_dim is not None
    labels = labeller.label(frames_THWC, step, density, feature=gives)
    features = {"latent": labels.latent[labels.valid].astype(np.float64)}
    if labels.fine_code is not None and labeller.bundle.config.lam.fine is not None:
        features["fine_code"] = np.eye(labeller.bundle.config.lam.fine.codes)[labels.fine_code[labels.valid]]
    if labels.feature is not None:
        features["feature"] = labels.feature[labels.valid].astype(np.float64)
    else:
        dense = density == "dense"
        features["feature"] = pooled_features(
            labeller.bundle, frames_THWC[:: 1 if dense else step], step if dense else 1
        )
    return labels, features


@torch.inference_mode()
def pooled_features(bundle: Bundle, frames_THWC: Frames, apart: int) -> Array:
    """Return the encoder's features before its bottleneck, averaged over the image: (T, h, w, 3) -> (T - apart, F)."""
    out = np.zeros((len(frames_THWC) - apart, bundle.genie.lam.feature_dim))
    for phase in range(min(apart, len(out))):
        view_1TCHW = bundle.genie.lam_view(bundle.pixels(frames_THWC[phase::apart][None]))
        out[phase::apart] = bundle.genie.lam.features(view_1TCHW)[0].mean(dim=1).double().cpu().numpy()
    return out


def _pictures(before_SHWC: Frames, after_SHWC: Frames, flow_SHW2: FlowField) -> NDArray[np.float16]:
    small = [resize_frames(x, _PICTURE_SIDE, _PICTURE_SIDE).astype(np.float64) for x in (before_SHWC, after_SHWC)]
    parts = (small[0] / 255 - 0.5, (small[1] - small[0]) / 64, cell_means(flow_SHW2, _PICTURE_SIDE) / 2)
    picture_SCHW: NDArray[np.float16] = np.concatenate(parts, axis=-1).transpose(0, 3, 1, 2).astype(np.float16)
    return picture_SCHW


def _target(target: Target, episode: Episode, start_S: NDArray[np.int64], step: int) -> Array:
    track_TA = _track(episode, target.array, target.columns)
    if target.read == "first":
        return track_TA[start_S]
    if target.read == "mean":
        means: Array = np.mean([track_TA[start_S + i] for i in range(step)], axis=0)
        return means
    change_SA = track_TA[start_S + step] - track_TA[start_S]
    columns = range(track_TA.shape[1]) if target.columns is None else target.columns
    for place, column in enumerate(columns):
        if column in target.angles:
            change_SA[:, place] = (change_SA[:, place] + np.pi) % (2 * np.pi) - np.pi
    return change_SA


def _slice_names(slices: Slices, episode: Episode, start_S: NDArray[np.int64]) -> NDArray[np.str_]:
    number_S = _track(episode, slices.array, None)[start_S, 0]
    names = np.full(len(start_S), "", dtype=object)
    for name, values in slices.values.items():
        names[np.isin(number_S, values)] = name
    for name, (low, high) in slices.edges.items():
        names[(number_S >= low) & (number_S < high)] = name
    return names.astype(np.str_)


def _chunks(lary: Lary, episode: Episode, start_S: NDArray[np.int64], step: int) -> Array:
    """Return the poses of the frames after each x_t, up to x_{t+k}: (S, k, A)."""
    track_TA = _track(episode, lary.array, lary.columns)
    chunk_SCA: Array = track_TA[start_S[:, None] + 1 + np.arange(step)]
    return chunk_SCA


def _track(episode: Episode, key: str, columns: Sequence[int] | None) -> Array:
    """Read the chosen columns of the array `key`, which must have a row per frame."""
    array = episode.array(key)
    if array is None:
        raise DatasetError(f"{episode.source}: {episode.name}: got no `{key}`, expected an array with a row per frame")
    track: Array = array.astype(np.float64).reshape(len(array), -1)
    if len(track) != episode.num_frames or not np.isfinite(track).all():
        raise DatasetError(
            f"{episode.source}: {episode.name}: `{key}`: got shape {array.shape}, "
            f"expected a row of finite numbers for each of {episode.num_frames} frames"
        )
    if columns is None:
        return track
    if max(columns, default=0) >= track.shape[1]:
        raise DatasetError(f"{episode.source}: `{key}`: got column {max(columns)}, expected 0 to {track.shape[1] - 1}")
    return track[:, list(columns)]


__all__ = [
    "SUMMED",
    "EpisodeTransitions",
    "Reading",
    "choose_episodes",
    "model_frames",
    "pooled_features",
    "read_rows",
    "step_of",
]
