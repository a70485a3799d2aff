"""Material of an evaluation: held-out episodes at the model's size and rate, with labels and ground truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Dataset, Episode, Frames, Labels, hold_out_episodes, resize_frames, resolve_step
from genie_core.errors import DatasetError
from genie_core.evaluation.options import EvaluationOptions
from genie_core.inference import Labeller, Sampling
from genie_core.inference.sums import part_length
from genie_core.models.bundle import Bundle
from genie_core.models.config import ModelConfig
from genie_core.progress import Progress
from genie_core.statistics.metrics import Array

ALL = "all"
HELD_OUT = "valid"
_CHUNK = 64


@dataclass(frozen=True)
class Film:
    """An episode's frames as the model sees them, T >= 2 of them, with the robot's positions and actions.

    Attributes:
        name: name of the episode.
        frames_THWC: (T, h, w, 3) uint8, every step-th frame of the episode at the model's size.
        position_TK: array under the chosen key at those frames; None if there is none.
        action_SA: mean action over each of the S = T - 1 transitions; None without actions.
        between_FHWC: those frames and the ones between them, which labels that are sums are read from; None: no label
            is read from others than `frames_THWC`.
        apart: length of a transition in the frames that labels are read from.

    """

    name: str
    frames_THWC: Frames
    position_TK: Array | None
    action_SA: Array | None
    between_FHWC: Frames | None = None
    apart: int = 1

    @staticmethod
    def of(
        name: str,
        read_FHWC: Frames,
        apart: int,
        position_TK: Array | None = None,
        action_SA: Array | None = None,
    ) -> Film:
        """Make a film of the frames that labels are read from, of which every `apart`-th one begins a transition."""
        frames_THWC = read_FHWC[::apart]
        between_FHWC = None if apart == 1 else read_FHWC[: (len(frames_THWC) - 1) * apart + 1]
        return Film(name, frames_THWC, position_TK, action_SA, between_FHWC, apart)

    @property
    def displacement_SK(self) -> Array | None:
        """Change of the position over each transition."""
        return None if self.position_TK is None else np.diff(self.position_TK, axis=0)


@dataclass(frozen=True)
class Take:
    """A film with labels from the `Labeller`: code_S and latent_SD of its S transitions."""

    film: Film
    code_S: NDArray[np.int64]
    latent_SD: NDArray[np.float32]


@dataclass(frozen=True)
class Start:
    """Start of a rollout: frame `frame` of take number `take`."""

    take: int
    frame: int


@dataclass(frozen=True)
class Study:
    """Material and settings common to all parts of one evaluation.

    Attributes:
        labeller: of the bundle.
        takes: labelled episodes, at least one.
        others: labelled episodes that are not scored; probes and the supervised bound are fitted on them too.
        prompts: pictures to prompt from, (1, h, w, 3) uint8 each.
        options: given by the user.
        sampling: options of every rollout, except for the seed.
        progress: receives the progress.

    """

    labeller: Labeller
    takes: Sequence[Take]
    others: Sequence[Take]
    prompts: Sequence[Frames]
    options: EvaluationOptions
    sampling: Sampling
    progress: Progress

    @property
    def bundle(self) -> Bundle:
        """The evaluated bundle."""
        return self.labeller.bundle

    def draw_sampling(self, rng: np.random.Generator) -> Sampling:
        """Return `sampling` with a new seed."""
        return replace(self.sampling, seed=int(rng.integers(2**63)))


def choose_episodes(dataset: Dataset, options: EvaluationOptions) -> tuple[str, list[Episode], list[Episode]]:
    """Return the subset's name, the episodes to evaluate in dataset order, and the other episodes.

    Raises:
        DatasetError: the subset does not exist, or no episode in it has two frames.

    """
    if options.hold_out:
        if options.subset:
            raise DatasetError(f"subset {options.subset} and hold_out {options.hold_out:g}: choose one of them")
        training, held_out = hold_out_episodes(dataset.episodes, options.hold_out, options.seed)
        return _drawn(dataset, f"held out {options.hold_out:g}", held_out, training, options)
    subset = options.subset or (HELD_OUT if HELD_OUT in dataset.masks else ALL)
    if subset != ALL and subset not in dataset.masks:
        there = ", ".join(sorted(dataset.masks)) or "none"
        raise DatasetError(f"{dataset.path}: no filter key `{subset}`; there are: {there}")
    usable = [e for e in dataset.episodes if e.num_frames > 1]
    if subset != ALL:
        wanted = set(dataset.masks[subset])
        candidates = [e for e in usable if e.name in wanted]
    else:
        candidates = usable
    return _drawn(dataset, subset, candidates, usable, options)


def _drawn(
    dataset: Dataset, subset: str, candidates: list[Episode], usable: list[Episode], options: EvaluationOptions
) -> tuple[str, list[Episode], list[Episode]]:
    """Finish `choose_episodes` for known candidates; the others are those in `usable` that were not chosen."""
    if not candidates:
        raise DatasetError(f"{dataset.path}: no episode of `{subset}` has 2 frames or more")
    drawn = np.random.default_rng(options.seed).permutation(len(candidates))[: options.episodes]
    chosen = [candidates[i] for i in sorted(drawn.tolist())]
    names = {e.name for e in chosen}
    return subset, chosen, [e for e in usable if e.name not in names]


def load_film(episode: Episode, model: ModelConfig, options: EvaluationOptions) -> Film | None:
    """Read one episode at the model's size and rate; None if that leaves no transition.

    Where the model's labels of long transitions are sums, the frames between are kept, too.

    Raises:
        DatasetError: the frame rate is unknown, or a ground-truth array does not match the frames.

    """
    step = resolve_step(episode.fps, model.fps, options.step).step
    part = part_length(model.lam, step)
    wanted = min((options.frames - 1) * step + 1, episode.num_frames)
    pieces, seen = [], 0
    for chunk_THWC in episode.chunks(_CHUNK):
        kept_THWC = chunk_THWC[-seen % part : wanted - seen : part]
        pieces.append(resize_frames(np.ascontiguousarray(kept_THWC), model.height, model.width))
        seen += len(chunk_THWC)
        if seen >= wanted:
            break
    read_FHWC = np.concatenate(pieces)
    apart = step // part
    transitions = (len(read_FHWC) - 1) // apart
    if not transitions:
        return None
    position_FK = _track(episode, options.position, episode.array(options.position))
    action_FA = _track(episode, "actions", episode.actions)
    return Film.of(
        episode.name,
        read_FHWC,
        apart,
        None if position_FK is None else position_FK[: transitions * step + 1 : step],
        None if action_FA is None else _means(action_FA[: transitions * step], step),
    )


def label_film(labeller: Labeller, film: Film) -> Take:
    """Label the transitions of a film as video is labelled: as sums of short ones, of models whose labels are that."""
    return Take(film, *read_film(labeller, film))


def read_film(
    labeller: Labeller, film: Film, change: Callable[[Frames], Frames] = lambda frames: frames
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return codes (S,) and latents (S, D) of a film's transitions, after `change` of all frames that are read."""
    frames = film.frames_THWC if film.between_FHWC is None else film.between_FHWC
    labels = labeller.label(change(frames), film.apart, "strided")
    return labels.code[labels.valid].astype(np.int64), labels.latent[labels.valid]


def read_codes(labeller: Labeller, frames_THWC: Frames) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return codes (T - 1,) and latents (T - 1, D) of the transitions of frames at the model's rate."""
    labels: Labels = labeller.label(frames_THWC, 1)
    return labels.code[labels.valid].astype(np.int64), labels.latent[labels.valid]


def draw_starts(
    takes: Sequence[Take], count: int, after: int, rng: np.random.Generator, *, wanted: int | None = None
) -> list[Start]:
    """Draw up to `count` start frames, spread evenly over the takes.

    Args:
        takes: to draw from.
        count: number of starts.
        after: number of frames required after a start.
        rng: draws them.
        wanted: preferred number of frames after a start: in each take, starts with as many come first, followed by the
            others, those with the most frames first.

    """
    lengths = [len(take.film.frames_THWC) for take in takes]
    full = after if wanted is None else wanted
    orders = [
        [*rng.permutation(max(0, length - full)).tolist(), *range(max(0, length - full), max(0, length - after))]
        for length in lengths
    ]
    rounds = max((len(order) for order in orders), default=0)
    by_turns = (Start(i, order[turn]) for turn in range(rounds) for i, order in enumerate(orders) if turn < len(order))
    return [start for start, _ in zip(by_turns, range(count), strict=False)]


def by_take(starts: Sequence[Start], values: Sequence[Array]) -> list[Array]:
    """Group measurements at each start into one array per take that has any: the units of the bootstrap."""
    groups: dict[int, list[Array]] = {}
    for start, value in zip(starts, values, strict=True):
        groups.setdefault(start.take, []).append(value)
    return [np.stack(group) for group in groups.values()]


def _track(episode: Episode, key: str, array: NDArray[Any] | None) -> Array | None:
    """Return the array under `key`, one row of numbers per frame."""
    if array is None:
        return None
    if array.dtype.kind not in "fiub" or array.ndim not in (1, 2) or len(array) != episode.num_frames:
        raise DatasetError(
            f"{episode.source}: `{key}` of {episode.name} is {array.dtype} of shape {array.shape}, "
            f"expected a row of numbers for each of {episode.num_frames} frames"
        )
    track: Array = array.astype(np.float64).reshape(len(array), -1)
    if not np.isfinite(track).all():
        raise DatasetError(f"{episode.source}: `{key}` of {episode.name} holds numbers that are not finite")
    return track


def _means(rows_FA: Array, step: int) -> Array:
    """Return means over every `step` rows."""
    means: Array = rows_FA.reshape(-1, step, rows_FA.shape[1]).mean(axis=1)
    return means


__all__ = [
    "Film",
    "Start",
    "Study",
    "Take",
    "by_take",
    "choose_episodes",
    "draw_starts",
    "label_film",
    "load_film",
    "read_codes",
    "read_film",
]
