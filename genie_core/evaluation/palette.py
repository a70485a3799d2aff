"""What each code of a bundle does on somebody's video: motion in the picture, share, read-back, the robot's motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from genie_core.data import Frames, encode_image, resize_frames
from genie_core.data.code_meanings import EXAMPLE_PX, CodeMeaning, CodeMeanings
from genie_core.data.code_motion import Motion
from genie_core.data.frames.arrows import draw_motion
from genie_core.data.frames.palette import code_palette, rgb
from genie_core.evaluation.consistency import apply_codes
from genie_core.evaluation.material import Study, draw_starts
from genie_core.inference import Simulator
from genie_core.models.flow import optical_flow
from genie_core.statistics.metrics import Array

GRID = 8
"""Cells per side of a motion field."""

_FLOWS = 64
"""Most transitions of a code whose motion is averaged, drawn at random."""
_EXAMPLES = 3
_STILL_PX = 0.25
"""Motion below which a code is still, pixels of a frame 64 wide."""
_ONE_WAY = 0.35
"""Length of the mean motion, as a share of the mean length, below which transitions cancel out."""
_WAYS = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")
_STARTS = 8
_MOST_PICTURES = 64
"""Codes that are drawn and simulated, the most frequent ones; the others have numbers alone."""


@dataclass(frozen=True)
class _Seen:
    """Transitions of one code: (take, transition) each; flows of some of them, and those of highest confidence."""

    places: Sequence[tuple[int, int]]
    flow_NGG2: Array
    clearest: Sequence[tuple[int, int]]

    @property
    def flow_GG2(self) -> Array:
        """Mean motion of each cell, pixels of a frame 64 wide; zeros without transitions."""
        mean: Array = self.flow_NGG2.mean(axis=0) if len(self.flow_NGG2) else np.zeros((GRID, GRID, 2))
        return mean


def measure_palette(study: Study, data: str, rng: np.random.Generator) -> CodeMeanings:
    """Find what every code does on the study's takes; `data` says what they are of.

    Raises ModelError if OpenCV is missing.
    """
    codes = len(study.bundle.codebook)
    code_N = np.concatenate([take.code_S for take in study.takes])
    count_K = np.bincount(code_N, minlength=codes)
    order = np.argsort(-count_K, kind="stable")[:_MOST_PICTURES]
    drawn = {int(code) for code in order if count_K[code]}
    seen = []
    for code in range(codes):
        study.progress("motion of codes", code, codes)
        seen.append(_see(study, code, rng, with_flow=code in drawn))
    round_trip = _round_trip(study, sorted(drawn), rng)
    moves = _robot(study, codes)
    meanings = [_meaning(study, code, seen[code], count_K, round_trip.get(code), moves[code]) for code in range(codes)]
    return CodeMeanings(
        bundle_id=study.bundle.bundle_id,
        bundle_name=study.bundle.name,
        data=data[:1000],
        episodes=len(study.takes),
        transitions=len(code_N),
        codes=tuple(meanings),
    )


def _see(study: Study, code: int, rng: np.random.Generator, *, with_flow: bool) -> _Seen:
    places = [(t, s) for t, take in enumerate(study.takes) for s in np.flatnonzero(take.code_S == code).tolist()]
    if not places or not with_flow:
        return _Seen(places, np.zeros((0, GRID, GRID, 2)), [])
    chosen = [places[i] for i in rng.permutation(len(places))[:_FLOWS].tolist()]
    flows = np.stack([_flow(study, place) for place in chosen])
    return _Seen(places, flows, _clearest(study, places))


def _flow(study: Study, place: tuple[int, int]) -> Array:
    take, start = place
    before_HWC, after_HWC = study.takes[take].film.frames_THWC[start : start + 2]
    flow: Array = optical_flow(before_HWC, after_HWC, GRID).transpose(1, 2, 0).astype(np.float64)
    return flow


def _clearest(study: Study, places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Choose the transitions of highest confidence, of different episodes where there are enough."""
    latent_ND = np.stack([study.takes[take].latent_SD[start] for take, start in places])
    quantizer = study.bundle.genie.lam.quantizer
    confidence_N = quantizer.confidence(torch.from_numpy(latent_ND).to(study.bundle.device)).cpu().numpy()
    best: list[tuple[int, int]] = []
    again: list[tuple[int, int]] = []
    for number in np.argsort(-confidence_N, kind="stable").tolist():
        (again if any(places[number][0] == take for take, _ in best) else best).append(places[number])
        if len(best) == _EXAMPLES:
            return best
    return (best + again)[:_EXAMPLES]


def _round_trip(study: Study, codes: Sequence[int], rng: np.random.Generator) -> dict[int, float]:
    """Return how often each code is read back from a simulated transition; nothing of a bundle that only labels."""
    if not study.bundle.config.context_frames or not codes:
        return {}
    simulator = Simulator(study.bundle)
    right = []
    starts = draw_starts(study.takes, _STARTS, 0, rng)
    for done, start in enumerate(starts):
        study.progress("codes read back", done, len(starts))
        applied = apply_codes(study, simulator, start, codes, rng)
        right.append(applied.read_CA == np.array(codes)[:, None])
    return dict(zip(codes, np.stack(right).mean(axis=(0, 2)).tolist(), strict=True))


def _robot(study: Study, codes: int) -> list[str | None]:
    """Return how the end effector moves under each code; None where positions in metres, (T, 3), are not known."""
    moves = [take.film.displacement_SK for take in study.takes]
    if any(move is None or move.shape[1] != 3 for move in moves):
        return [None] * codes
    move_N3 = np.concatenate([move for move in moves if move is not None])
    code_N = np.concatenate([take.code_S for take in study.takes])
    return [str(Motion.of(move_N3[code_N == code])) for code in range(codes)]


def _meaning(
    study: Study,
    code: int,
    seen: _Seen,
    count_K: NDArray[np.int64],
    round_trip: float | None,
    robot: str | None,
) -> CodeMeaning:
    motion_N2 = moving_motion(seen.flow_NGG2)
    mean_2 = motion_N2.mean(axis=0) if len(motion_N2) else np.zeros(2)
    return CodeMeaning(
        words=motion_words(motion_N2) if len(seen.flow_NGG2) or not seen.places else "seldom used",
        share=float(count_K[code] / max(1, count_K.sum())),
        motion_px=(float(mean_2[0]), float(mean_2[1])),
        agreement=_agreement(motion_N2),
        round_trip=round_trip,
        robot=robot if seen.places else None,
        picture=b"" if not seen.clearest else _picture(study, code, seen),
        examples=b"" if not seen.clearest else _examples(study, seen),
    )


def moving_motion(flow_NGG2: Array) -> Array:
    """Return the motion (right, down) of what moves in each transition, (N, 2): cells count by how far they move."""
    length = np.linalg.norm(flow_NGG2, axis=-1, keepdims=True)
    motion: Array = (flow_NGG2 * length).sum(axis=(1, 2)) / np.maximum(length.sum(axis=(1, 2)), 1e-9)
    return motion


def motion_words(motion_N2: Array) -> str:
    """Say which way N transitions move, e.g. ``up left``; ``still``, ``no one way``, or ``not used`` if N is 0."""
    if not len(motion_N2):
        return "not used"
    mean_2, usual = motion_N2.mean(axis=0), float(np.linalg.norm(motion_N2, axis=1).mean())
    if usual < _STILL_PX:
        return "still"
    if np.linalg.norm(mean_2) < _ONE_WAY * usual:
        return "no one way"
    return _WAYS[round(np.arctan2(mean_2[1], mean_2[0]) / (np.pi / 4)) % 8]


def _agreement(motion_N2: Array) -> float:
    if not len(motion_N2):
        return 0.0
    mean_2 = motion_N2.mean(axis=0)
    length_N = np.linalg.norm(motion_N2, axis=1) * max(float(np.linalg.norm(mean_2)), 1e-12)
    return float(((motion_N2 @ mean_2) >= np.cos(np.pi / 4) * length_N - 1e-12).mean())


def _picture(study: Study, code: int, seen: _Seen) -> bytes:
    """Draw the mean motion, its longest arrow as long as a cell is wide: small motion can be seen too."""
    take, start = seen.clearest[0]
    frame_HWC = study.takes[take].film.frames_THWC[start]
    colour = rgb(code_palette(code + 1)[code])
    unit = max(float(np.linalg.norm(seen.flow_GG2, axis=-1).max()), _STILL_PX)
    return encode_image(draw_motion(frame_HWC, seen.flow_GG2, unit, colour), "jpeg")


def _examples(study: Study, seen: _Seen) -> bytes:
    pairs = [study.takes[take].film.frames_THWC[start : start + 2] for take, start in seen.clearest]
    square: Frames = resize_frames(np.concatenate(pairs), EXAMPLE_PX, EXAMPLE_PX)
    return encode_image(np.ascontiguousarray(np.concatenate(list(square), axis=1)), "jpeg")


__all__ = ["GRID", "measure_palette", "motion_words", "moving_motion"]
