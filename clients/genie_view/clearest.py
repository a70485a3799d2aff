"""The clearest transitions of each code over the episodes of a labelled file, and the gallery that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genie_core.data import Frames, LabelledFile, resize_frames
from genie_core.data.frames.palette import code_palette
from genie_core.data.labelled.originals import Originals
from genie_core.errors import DatasetError
from genie_view.reading import frames_of
from genie_view.sheet import Image, SheetRow, contact_sheet

MOST_EPISODES = 100
"""Number of episodes, evenly spread over the file, that transitions are chosen from."""
_MOST_CODES = 16
_FRAME_PX = 96


@dataclass(frozen=True)
class Transition:
    """A labelled transition: from `frame` of an episode, `step` frames long."""

    episode: str
    frame: int
    step: int
    code: int
    confidence: float


def clearest_transitions(labelled: LabelledFile, count: int) -> dict[int, list[Transition]]:
    """Choose, for each code in use, the `count` transitions of the highest confidence, of as many episodes as it has.

    A second one of an episode is taken only where there are too few episodes, and at least a second apart, or a step
    where the frame rate is unknown.
    """
    names = labelled.episodes
    chosen = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, min(MOST_EPISODES, len(names))).astype(int))]
    by_code: dict[int, list[list[Transition]]] = {}
    for name in chosen:
        labels, attrs = labelled.labels(name)
        apart = max(attrs.step, round(attrs.fps or 0))
        for code in np.unique(labels.code[labels.valid]).tolist():
            frame_S = np.flatnonzero(labels.valid & (labels.code == code))
            best: list[Transition] = []
            for frame in frame_S[np.argsort(-labels.confidence[frame_S], kind="stable")].tolist():
                if all(abs(frame - other.frame) >= apart for other in best):
                    best.append(Transition(name, frame, attrs.step, code, float(labels.confidence[frame])))
                if len(best) == count:
                    break
            by_code.setdefault(code, []).append(best)
    return {code: _rounds(by_code[code])[:count] for code in sorted(by_code)}


def _rounds(by_episode: list[list[Transition]]) -> list[Transition]:
    """Return all transitions: first the best of each episode, by confidence, then the second of each, and so on."""
    ranked = [(rank, -one.confidence, place, one) for place, of in enumerate(by_episode) for rank, one in enumerate(of)]
    return [one for *_, one in sorted(ranked, key=lambda entry: entry[:3])]


def gallery(labelled: LabelledFile, originals: Originals, names: Sequence[str], count: int = 3) -> Image | None:
    """Draw, in a row for each code, its clearest transitions: the frame before and the frame after, side by side.

    `names` says what each code means, empty where nobody knows. Returns None if no frame can be read.
    """
    found = clearest_transitions(labelled, count)
    frequent = sorted(found, key=lambda code: -len(found[code]))[:_MOST_CODES]
    rows = []
    for code in sorted(frequent):
        frames: list[Frames] = []
        codes: list[int | None] = []
        for one in found[code]:
            pair = _pair(labelled, one, originals)
            if pair is not None:
                frames += [pair]
                codes += [code, None]
        if frames:
            note = names[code] if code < len(names) else ""
            rows.append(SheetRow(f"code {code}", note, np.concatenate(frames), codes, code))
    if not rows:
        return None
    palette = code_palette(len(labelled.model.codebook))
    size = rows[0].frames_THWC.shape[1:3]
    even = [SheetRow(r.title, r.note, resize_frames(r.frames_THWC, *size), r.codes, r.chip) for r in rows]
    return contact_sheet("each code's clearest transitions: before, after", even, palette, frame_px=_FRAME_PX)


def _pair(labelled: LabelledFile, one: Transition, originals: Originals) -> Frames | None:
    """(2, h, w, 3): the frame before and the one after; None where they cannot be read."""
    episode = frames_of(labelled, one.episode, originals).episode
    if episode is None:
        return None
    try:
        first, last = (episode.frames(at, at + 1) for at in (one.frame, one.frame + one.step))
        height, width = first.shape[1:3]
        return resize_frames(np.concatenate([first, last]), _FRAME_PX, max(1, round(_FRAME_PX * width / height)))
    except DatasetError:
        return None


__all__ = ["Transition", "clearest_transitions", "gallery"]
