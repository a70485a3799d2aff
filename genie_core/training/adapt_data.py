"""The video that a bundle is adapted to: frames on disk, and transitions drawn from all over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genie_core.data import AutoSteps, Episode, Frames
from genie_core.errors import DatasetError
from genie_core.models.config import ModelConfig
from genie_core.statistics.metrics import Array
from genie_core.training.clips import ClipStore, Span, build_store
from genie_core.training.loop import Reporter
from genie_core.training.pipeline import TrainingSplit
from genie_core.training.score import Motion, motion_of

_MOST_FRAMES, _MOST_TUNING, _MOST_HELD_OUT = 8_000, 40_000, 2_500
"""Frames that are read to fit codes to, to tune the encoder on, and to score on; of more, episodes from all over the
data are taken."""
_TRANSITIONS, _HELD_OUT = 3_000, 1_000
"""Most transitions that codes are fitted to, and that are scored."""
_END = 0.2
"""Share of each episode that is held out where there are too few to hold out whole ones."""
_CLIPS = 64


@dataclass(frozen=True)
class Transitions:
    """Transitions drawn from a store, in clips of frames a step apart.

    Attributes:
        store: the frames.
        row_BT: (B, T) rows of the store: clips of T frames, T - 1 transitions each.
        step_B: (B,) how many rows those of a clip are apart.
        motion: what moves in them.

    """

    store: ClipStore
    row_BT: NDArray[np.int64]
    step_B: NDArray[np.int64]
    motion: Motion

    def __len__(self) -> int:
        return len(self.motion.moving_N)

    def clips(self) -> Iterator[Frames]:
        """Yield the clips, (B, T, H, W, 3), some at a time."""
        for at in range(0, len(self.row_BT), _CLIPS):
            yield np.asarray(self.store.frames[self.row_BT[at : at + _CLIPS]])

    def parts(self) -> Iterator[Frames]:
        """Yield the pairs of neighbouring frames that the transitions span, (B, 2, H, W, 3), each once."""
        row_N = self._part_row_N
        for at in range(0, len(row_N), _CLIPS):
            yield np.asarray(self.store.frames[row_N[at : at + _CLIPS, None] + np.arange(2)])

    def sums(self, part_ND: Array) -> Array:
        """Sum what was found of each of `parts`, (N, D), over each clip of two frames: (B, D)."""
        row_N, first_B = self._part_row_N, self.row_BT[:, 0]
        total_BD = np.zeros((len(first_B), part_ND.shape[1]))
        for row in range(int(self.step_B.max(initial=0))):
            spans_B = self.step_B > row
            total_BD[spans_B] += part_ND[np.searchsorted(row_N, first_B[spans_B] + row)]
        return total_BD

    @property
    def _part_row_N(self) -> NDArray[np.int64]:
        rows = [np.arange(first, last) for first, last in self.row_BT[:, [0, -1]].tolist()]
        return np.unique(np.concatenate(rows)) if rows else np.zeros(0, np.int64)

    @property
    def before_NHWC(self) -> Frames:
        """The first frame of each clip."""
        return np.asarray(self.store.frames[self.row_BT[:, 0]])


@dataclass(frozen=True)
class AdaptVideo:
    """The video that a bundle is adapted to.

    Attributes:
        store: all frames of the training part.
        train: transitions of it.
        held_out: transitions of what is held out.
        lines: what the card says of it.

    """

    store: ClipStore
    train: Transitions
    held_out: Transitions
    lines: Sequence[str]


def adapt_video(
    data: TrainingSplit,
    folder: Path,
    model: ModelConfig,
    steps: AutoSteps | None,
    clip_frames: int,
    seed: int,
    reporter: Reporter,
    *,
    tunes: bool,
) -> AdaptVideo:
    """Read the video into `folder` and draw transitions of its training part and of what is held out.

    Args:
        data: episodes; where none is held out, the end of each is.
        folder: of the run.
        model: whose frame size and rate count.
        steps: transition lengths; None: those of the frame rates.
        clip_frames: frames of a clip.
        seed: of the draw.
        reporter: receives the progress.
        tunes: whether the encoder is tuned on it too.

    Raises:
        DatasetError: an episode cannot be read, or there is no transition in one of the parts.

    """
    train, held_out = (
        _spread(data.train, _MOST_TUNING if tunes else _MOST_FRAMES),
        _spread(data.held_out, _MOST_HELD_OUT),
    )
    episodes = [*train, *held_out]
    reporter.start("frames", 0, sum(e.num_frames for e in episodes))
    store = build_store(
        episodes,
        folder / "frames",
        height=model.height,
        width=model.width,
        fps=model.fps,
        steps=steps,
        progress=lambda frames: reporter.step("frames", frames, {}),
    )
    kept, apart = store.spans[: len(train)], store.spans[len(train) :]
    if not apart:
        halves = [_split(span) for span in kept]
        kept, apart = tuple(first for first, _ in halves), tuple(last for _, last in halves)
    parts = {"train": (kept, _TRANSITIONS), "held_out": (apart, _HELD_OUT)}
    drawn = {
        name: _draw(ClipStore(store.frames, some), most, clip_frames, np.random.default_rng([seed, place]))
        for place, (name, (some, most)) in enumerate(parts.items())
    }
    return AdaptVideo(ClipStore(store.frames, kept), drawn["train"], drawn["held_out"], _lines(kept, apart))


def _spread(episodes: Sequence[Episode], most: int) -> list[Episode]:
    """Return the episodes from all over the data with about `most` frames, at least one where there is one."""
    total = sum(e.num_frames for e in episodes)
    if total <= most:
        return list(episodes)
    count = max(1, len(episodes) * most // total)
    places = np.unique(np.linspace(0, len(episodes) - 1, count).round().astype(int))
    return [episodes[place] for place in places.tolist()]


def _split(span: Span) -> tuple[Span, Span]:
    """Split an episode into its start and its end, a transition apart."""
    last = max(1, round(span.count * _END))
    first = max(1, span.count - last - span.step)
    return (
        replace(span, count=first),
        replace(span, name=f"the end of {span.name}", first=span.first + span.count - last, count=last),
    )


def _draw(store: ClipStore, most: int, clip_frames: int, rng: np.random.Generator) -> Transitions:
    """Draw clips without repetition, uniformly over all that fit, with about `most` transitions."""
    starts = np.array([max(0, s.count - (clip_frames - 1) * s.step) for s in store.spans])
    total = int(starts.sum())
    if not total:
        raise DatasetError("too little video: no episode is long enough for a transition, in training or held out")
    picks = np.sort(rng.choice(total, size=min(total, -(-most // (clip_frames - 1))), replace=False))
    ends = np.cumsum(starts)
    span_B = np.searchsorted(ends, picks, side="right")
    first_B = np.array([s.first for s in store.spans])[span_B] + picks - (ends - starts)[span_B]
    step_B = np.array([s.step for s in store.spans])[span_B]
    row_BT = first_B[:, None] + step_B[:, None] * np.arange(clip_frames)
    motions = []
    for at in range(0, len(row_BT), _CLIPS):
        clips_BTHWC = np.asarray(store.frames[row_BT[at : at + _CLIPS]])
        before, after = (x.reshape(-1, *clips_BTHWC.shape[2:]) for x in (clips_BTHWC[:, :-1], clips_BTHWC[:, 1:]))
        motions.append(motion_of(before, after, np.repeat(span_B[at : at + _CLIPS], clip_frames - 1)))
    joined = {name: np.concatenate([getattr(m, name) for m in motions]) for name in Motion.__dataclass_fields__}
    return Transitions(store, row_BT, step_B, Motion(**joined))


def _lines(train: Sequence[Span], held_out: Sequence[Span]) -> list[str]:
    lines = []
    for use, spans in {"adapted to": train, "held out for the scores": held_out}.items():
        sources = list(dict.fromkeys(span.source for span in spans))
        named = ", ".join(f"`{source}`" for source in sources[:8])
        more = f" and {len(sources) - 8} files more" if len(sources) > 8 else ""
        lines.append(f"- {use}: {len(spans)} episodes, {sum(s.count for s in spans):,} frames, of {named}{more}")
    return lines


__all__ = ["AdaptVideo", "Transitions", "adapt_video"]
