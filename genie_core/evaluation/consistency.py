"""Consistency: does a code have the same effect from every start frame (the paper's Fig. 13)? Two numbers, an image.

Each code is applied several times from many real frames. Round trip: the latent action model reads the code back from
the simulated video. Direction: what moves in the simulated image moves the same way as from other start frames. Start
frames are simulated one after the other: the codes of one make a large enough batch for a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Frames
from genie_core.data.frames.grid import CodedFrame, report_grid
from genie_core.evaluation.image_motion import image_motion
from genie_core.evaluation.material import Start, Study, by_take, draw_starts, read_codes, read_film
from genie_core.evaluation.metrics import Findings, Measured, Missing, ReportImage, mean_of
from genie_core.evaluation.tokenizer import redraw
from genie_core.inference import Simulator
from genie_core.statistics.metrics import Array

MOST_CODES = 16
"""Largest codebook whose codes are all applied; of a larger one, only the most frequent codes are."""
MOVES = 1 / 64
"""A code moves if its median displacement over all applications exceeds this share of the frame's height."""
AGREES = np.cos(np.pi / 4) - 1e-9
"""Cosine of the largest angle, 45 degrees, at which two directions agree."""
PICTURED = 8
"""Number of start frames in the report's image."""


@dataclass(frozen=True)
class Applied:
    """Effect of all C codes from one start: read_CA codes read back; motion_CA2 dx, dy in pixels; the last frames."""

    read_CA: NDArray[np.int64]
    motion_CA2: Array
    last_CHWC: Frames


def consistency_findings(study: Study, rng: np.random.Generator) -> Findings:
    """Return metrics ``consistency.*`` and the image ``fig13``."""
    codes, starts, found = _apply_all(study, None, rng)
    drawn = {}
    round_trip = _round_trip(starts, codes, found, rng)
    if study.bundle.config.simulates:
        drawn["consistency.round_trip_tokenizer"] = _tokenizer_round_trip(study, rng)
    return Findings.merge(
        [
            round_trip,
            Findings(drawn),
            _direction(study, starts, codes, found, rng),
            Findings(images=[_image(study, codes, starts[:PICTURED], found[:PICTURED])]),
        ]
    )


def consistency_image(study: Study, rng: np.random.Generator, codes: Sequence[int] | None = None) -> ReportImage:
    """Return the image ``fig13`` alone, a row per start; columns are `codes`, None: those that are measured."""
    return _image(study, *_apply_all(study, codes, rng))


def _apply_all(
    study: Study, codes: Sequence[int] | None, rng: np.random.Generator
) -> tuple[list[int], list[Start], list[Applied]]:
    """Apply the codes from start frames in all takes."""
    simulator = Simulator(study.bundle)
    chosen = applied_codes(np.concatenate([t.code_S for t in study.takes]), simulator.num_codes)
    chosen = chosen if codes is None else list(codes)
    starts = draw_starts(study.takes, study.options.starts, 0, rng)
    found = []
    for done, start in enumerate(starts):
        study.progress("consistency", done, len(starts))
        found.append(apply_codes(study, simulator, start, chosen, rng))
    return chosen, starts, found


def _round_trip(
    starts: Sequence[Start], codes: Sequence[int], found: Sequence[Applied], rng: np.random.Generator
) -> Findings:
    """Score every application of every code alike, including codes without motion; by code, and by application."""
    right = by_take(starts, [(a.read_CA == np.array(codes)[:, None]).astype(np.float64) for a in found])  # (G, C, A)
    name, applications = "consistency.round_trip_accuracy", found[0].read_CA.shape[1]
    return Findings(
        {name: mean_of([g.ravel() for g in right], rng)},
        {
            f"{name}_by_code": [mean_of([g[:, i].ravel() for g in right], rng) for i in range(len(codes))],
            f"{name}_by_application": [mean_of([g[..., a].ravel() for g in right], rng) for a in range(applications)],
        },
    )


def _tokenizer_round_trip(study: Study, rng: np.random.Generator) -> Measured:
    """Return the share of real labels read back from frames redrawn by the tokenizer alone: the cost of drawing."""
    same = []
    for done, take in enumerate(study.takes):
        study.progress("labels of drawn frames", done, len(study.takes))
        code_S, _ = read_film(study.labeller, take.film, lambda frames_THWC: redraw(study.bundle, frames_THWC)[0])
        same.append((code_S == take.code_S).astype(np.float64))
    return mean_of(same, rng)


def _direction(
    study: Study, starts: Sequence[Start], codes: Sequence[int], found: Sequence[Applied], rng: np.random.Generator
) -> Findings:
    """Return the agreement of directions overall, by code, and with each start's codes shuffled (chance level).

    Also returns how often the image of a moving code has come to a halt: the labeller then rightly reads another
    code.
    """
    motion_GCA2 = np.stack([a.motion_CA2 for a in found])
    motion_GC2 = motion_GCA2.sum(axis=2)
    length_GC = np.linalg.norm(motion_GC2, axis=-1)
    least = study.bundle.config.height * MOVES
    agrees_GC = direction_agreement(motion_GC2, least)
    shuffled_GC = direction_agreement(np.stack([rng.permutation(motion_C2) for motion_C2 in motion_GC2]), least)
    groups = by_take(starts, list(agrees_GC))
    halted_GCA = (np.linalg.norm(motion_GCA2, axis=-1) <= least).astype(np.float64)
    halted_GCA[np.isnan(agrees_GC)] = np.nan
    halted = by_take(starts, list(halted_GCA))
    return Findings(
        {
            "consistency.direction_agreement": _share(groups, rng),
            "consistency.direction_agreement_shuffled": _share(by_take(starts, list(shuffled_GC)), rng),
        },
        {
            "consistency.direction_agreement_by_code": [
                _share([g[:, i] for g in groups], rng) for i in range(len(codes))
            ],
            "consistency.motion_px_by_code": [
                mean_of([g[:, i] for g in by_take(starts, list(length_GC))], rng) for i in range(len(codes))
            ],
            "consistency.halted_by_application": [
                _share([g[..., a] for g in halted], rng) for a in range(halted_GCA.shape[2])
            ],
        },
    )


def _share(groups: Sequence[Array], rng: np.random.Generator) -> Measured:
    """Return the mean of the values that are not NaN, if there are any."""
    counted = [g[np.isfinite(g)] for g in groups]
    if not any(len(c) for c in counted):
        return Missing("it takes 2 start frames, and a code that moves something")
    return mean_of(counted, rng)


def applied_codes(code_S: NDArray[np.int64], num_codes: int) -> list[int]:
    """Return all codes, or the `MOST_CODES` most frequent ones of a larger codebook, in their order."""
    frequent = np.argsort(-np.bincount(code_S, minlength=num_codes), kind="stable")[:MOST_CODES]
    return sorted(frequent.tolist())


def apply_codes(
    study: Study, simulator: Simulator, start: Start, codes: Sequence[int], rng: np.random.Generator
) -> Applied:
    """Apply each code repeatedly from one real frame, all with the same random numbers.

    Motion and codes are read starting from the start frame as redrawn by the tokenizer, so that the difference between
    that and the real frame does not count as motion.
    """
    frame_1HWC = study.takes[start.take].film.frames_THWC[start.frame : start.frame + 1]
    rollout = simulator.start(frame_1HWC, len(codes), study.draw_sampling(rng))
    drawn_ACHWC = np.stack([rollout.step(codes) for _ in range(study.options.applications)])
    first_1HWC, _ = redraw(study.bundle, frame_1HWC)
    videos = [np.concatenate((first_1HWC, drawn_ACHWC[:, c])) for c in range(len(codes))]
    return Applied(
        np.stack([read_codes(study.labeller, video)[0] for video in videos]),
        np.stack([image_motion(video) for video in videos]),
        drawn_ACHWC[-1],
    )


def direction_agreement(motion_GC2: Array, moves_px: float) -> Array:
    """Return whether each rollout moves in the direction of its code's other rollouts, within 45 degrees.

    A code's direction is the mean of its rollouts' unit displacement vectors, leaving out the rollout in question.

    Args:
        motion_GC2: displacement (dx, dy) of code c from start g, pixels.
        moves_px: a code whose median displacement is at most this does not move.

    Returns:
        (G, C): 1 if it does, 0 if not (or the rollout stands still), NaN for codes that do not move.
        All NaN with fewer than two starts.

    """
    length_GC = np.linalg.norm(motion_GC2, axis=-1)
    unit_GC2 = motion_GC2 / np.maximum(length_GC, 1e-9)[..., None]
    others_GC2 = unit_GC2.sum(axis=0, keepdims=True) - unit_GC2
    others_GC2 /= np.maximum(np.linalg.norm(others_GC2, axis=-1, keepdims=True), 1e-9)
    agrees_GC = ((unit_GC2 * others_GC2).sum(axis=-1) >= AGREES).astype(np.float64)
    moving_C = np.median(length_GC, axis=0) > moves_px
    return np.where(moving_C & (len(motion_GC2) > 1), agrees_GC, np.nan)


def _image(study: Study, codes: Sequence[int], starts: Sequence[Start], found: Sequence[Applied]) -> ReportImage:
    rows = []
    for start, applied in zip(starts, found, strict=True):
        frame_HWC = study.takes[start.take].film.frames_THWC[start.frame]
        rows.append([CodedFrame(frame_HWC), *map(CodedFrame, applied.last_CHWC, codes)])
    caption = (
        f"Rows: start frames (left). Columns: the frame after {study.options.applications} times code "
        f"{', '.join(map(str, codes))}. A good model moves the same way down a column."
    )
    return ReportImage("fig13", "One code, many scenes (Fig. 13)", caption, report_grid(rows))


__all__ = [
    "Applied",
    "applied_codes",
    "apply_codes",
    "consistency_findings",
    "consistency_image",
    "direction_agreement",
]
