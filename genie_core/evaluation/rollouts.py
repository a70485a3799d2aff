"""Evaluates how well the dynamics model continues real video, by rollouts with the inferred latent actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from genie_core.data import Frames
from genie_core.data.frames.grid import CodedFrame, report_grid
from genie_core.evaluation.material import Start, Study, by_take, draw_starts
from genie_core.evaluation.metrics import Findings, Measured, Missing, ReportImage, Statistic, Video, mean_of, of_means
from genie_core.evaluation.tokenizer import redraw
from genie_core.evaluation.video_distance import KEYS as DISTANCES
from genie_core.evaluation.video_distance import clip_reader, distance_findings
from genie_core.inference import Simulator
from genie_core.models.bundle import Bundle
from genie_core.models.dynamics import previous_tokens
from genie_core.statistics.metrics import Array, frame_mse, psnr_db, ssim

HORIZON = 8
"""Frames after a start that metrics are about; a start must have at least as many."""
LENGTH = 16
"""Frames simulated from a start, or as many as the episode has after it if those are fewer."""
DELTA_T = 4
"""The t of the paper's delta-t PSNR."""

VIDEOS = ("inferred", "random", "copy", "tokenizer")
"""Videos compared with the real one: rollouts with the labels' codes and with random codes, the start frame repeated,
and the real frames encoded and decoded by the tokenizer (the best that a rollout can be)."""

PICTURED = 4
"""Number of starts whose videos are kept to view."""

_METRICS = ("psnr_db", "ssim")
_TOKENS = ("dynamics.next_token_accuracy", "dynamics.next_token_accuracy_copy")
_KEYS = ("dynamics.delta_t_psnr_4", "dynamics.psnr_4_db", "dynamics.worst_psnr_over_copy_db")


@dataclass(frozen=True)
class Comparison:
    """Comparison at one start: mse_VH and ssim_VH of `VIDEOS` by horizon 1 .. H, the number of simulated frames.

    `token_accuracy` is the share of tokens of the first `HORIZON` frames predicted right, `token_copies` the share
    unchanged from the previous frame.
    """

    mse_VH: Array
    ssim_VH: Array
    token_accuracy: float
    token_copies: float


def rollout_findings(study: Study, rng: np.random.Generator) -> Findings:
    """Metrics ``dynamics.*``, from start frames with `HORIZON` real frames after them, `LENGTH` if possible."""
    starts = draw_starts(study.takes, study.options.rollouts, HORIZON, rng, wanted=LENGTH)
    if not starts:
        reason = Missing(f"no episode has {HORIZON + 1} frames at the model's rate")
        return Findings(dict.fromkeys((*_KEYS, *_TOKENS, *DISTANCES), reason))
    simulator = Simulator(study.bundle)
    frames = [_frames_after(study, start) for start in starts]
    reader = clip_reader(study, frames)
    found: list[Comparison] = []
    clips: list[dict[str, Array]] = []
    videos: list[Video] = []
    rows: list[list[CodedFrame]] = []
    for done, start in enumerate(starts):
        study.progress("rollouts", done, len(starts))
        comparison, video, codes = compare(study, simulator, start, rng)
        found.append(comparison)
        if frames[done] >= reader.frames:
            clips.append(reader.read(video.tracks))
        if done < PICTURED:
            videos.append(video)
            rows += [_row(video.tracks[track], codes.get(track)) for track in ("real", "inferred", "random")]
    caption = (
        "Three rows each: what happened, the rollout with the codes read off it, and one with random codes, both from "
        "the first frame on. A frame stands under the colour of the code that led there."
    )
    image = ReportImage("rollouts", "Rollouts beside real video", caption, report_grid(rows))
    long_enough = [start for start, length in zip(starts, frames, strict=True) if length >= reader.frames]
    distances = distance_findings(reader, long_enough, clips, rng)
    return Findings.merge([summarise(starts, found, rng), distances, Findings(images=[image], videos=videos)])


def _frames_after(study: Study, start: Start) -> int:
    """Number of frames to simulate from a start."""
    return min(LENGTH, len(study.takes[start.take].film.frames_THWC) - 1 - start.frame)


def _row(frames_THWC: Frames, codes_H: Sequence[int] | None) -> list[CodedFrame]:
    codes: list[int | None] = [None] * len(frames_THWC) if codes_H is None else [None, *codes_H]
    return [CodedFrame(frame_HWC, code) for frame_HWC, code in zip(frames_THWC, codes, strict=True)]


def compare(
    study: Study, simulator: Simulator, start: Start, rng: np.random.Generator
) -> tuple[Comparison, Video, dict[str, list[int]]]:
    """Simulate from one real frame and compare with the H real frames that follow it.

    Returns:
        The comparison, the videos compared (each with the start frame first), and the codes of each rollout.

    """
    take = study.takes[start.take]
    length = _frames_after(study, start)
    stop = start.frame + length
    real_THWC = take.film.frames_THWC[start.frame : stop + 1]
    codes_2H = np.stack((take.code_S[start.frame : stop], rng.integers(simulator.num_codes, size=length)))
    rollout = simulator.start(real_THWC[:1], 2, study.draw_sampling(rng))
    drawn_H2HWC = np.stack([rollout.step(codes_2.tolist()) for codes_2 in codes_2H.T])
    redrawn_THWC, token_TN = redraw(study.bundle, real_THWC)
    tracks = {
        "inferred": np.concatenate((real_THWC[:1], drawn_H2HWC[:, 0])),
        "random": np.concatenate((real_THWC[:1], drawn_H2HWC[:, 1])),
        "copy": np.repeat(real_THWC[:1], length + 1, axis=0),
        "tokenizer": redrawn_THWC,
    }
    comparison = Comparison(
        np.stack([frame_mse(tracks[v][1:], real_THWC[1:]) for v in VIDEOS]),
        np.stack([ssim(tracks[v][1:], real_THWC[1:]) for v in VIDEOS]),
        token_accuracy(study.bundle, token_TN[: HORIZON + 1], codes_2H[0, :HORIZON]),
        float((token_TN[1 : HORIZON + 1] == token_TN[:HORIZON]).mean()),
    )
    video = Video(f"{take.film.name} frame {start.frame}", {"real": real_THWC, **tracks})
    return comparison, video, {"inferred": codes_2H[0].tolist(), "random": codes_2H[1].tolist()}


@torch.inference_mode()
def token_accuracy(bundle: Bundle, token_TN: NDArray[np.int64], code_S: NDArray[np.int64]) -> float:
    """Share of tokens predicted right when each frame in turn is fully masked, given all real frames before it."""
    dynamics = bundle.genie.dynamics
    token_1TN = torch.from_numpy(token_TN).to(bundle.device)[None]
    action_1SD = bundle.genie.lam.quantizer.lookup(torch.from_numpy(code_S).to(bundle.device)[None])
    action_1TD = torch.cat((torch.zeros_like(action_1SD[:, :1]), action_1SD), dim=1)
    previous_1TN = previous_tokens(token_1TN, dynamics.mask_token)
    state = dynamics.initial_state(1)
    right = []
    for t in range(token_1TN.shape[1]):
        now = slice(t, t + 1)
        if t:
            hidden = torch.full_like(token_1TN[:, now], dynamics.mask_token)
            logits, _ = dynamics.stream(hidden, previous_1TN[:, now], action_1TD[:, now], state)
            right.append((logits.argmax(-1) == token_1TN[:, now]).double().mean())
        _, state = dynamics.stream(token_1TN[:, now], previous_1TN[:, now], action_1TD[:, now], state)
    return float(torch.stack(right).mean())


def summarise(starts: Sequence[Start], found: Sequence[Comparison], rng: np.random.Generator) -> Findings:
    """Metrics of horizons 1 to `HORIZON`, and curves as long as the longest rollout."""
    mse = by_take(starts, [c.mse_VH[:, :HORIZON] for c in found])
    accuracy = by_take(starts, [np.array(c.token_accuracy) for c in found])
    copies = by_take(starts, [np.array(c.token_copies) for c in found])
    return Findings(
        {
            "dynamics.delta_t_psnr_4": mean_of([delta_t_psnr(group) for group in mse], rng),
            "dynamics.psnr_4_db": of_means(mse, _psnr_at("inferred", DELTA_T - 1), rng),
            "dynamics.worst_psnr_over_copy_db": of_means(mse, _worst_over_copy, rng),
            "dynamics.next_token_accuracy": mean_of(accuracy, rng),
            "dynamics.next_token_accuracy_copy": mean_of(copies, rng),
        },
        _curves(starts, found, rng),
    )


def _curves(
    starts: Sequence[Start], found: Sequence[Comparison], rng: np.random.Generator
) -> dict[str, list[Measured]]:
    """PSNR and SSIM by horizon; long horizons average the rollouts that reach them."""
    curves: dict[str, list[Measured]] = {f"dynamics.{v}_{m}_by_horizon": [] for v in VIDEOS for m in _METRICS}
    for horizon in range(max(c.mse_VH.shape[1] for c in found)):
        there = [i for i, c in enumerate(found) if c.mse_VH.shape[1] > horizon]
        where = [starts[i] for i in there]
        mse = by_take(where, [found[i].mse_VH[:, horizon] for i in there])
        similarity = by_take(where, [found[i].ssim_VH[:, horizon] for i in there])
        for v, video in enumerate(VIDEOS):
            curves[f"dynamics.{video}_psnr_db_by_horizon"].append(of_means([g[:, v] for g in mse], psnr_db, rng))
            curves[f"dynamics.{video}_ssim_by_horizon"].append(mean_of([g[:, v] for g in similarity], rng))
    return curves


def _at(video: str, horizon: int) -> Statistic:
    return lambda mean_RVH: mean_RVH[:, VIDEOS.index(video), horizon]


def _psnr_at(video: str, horizon: int) -> Statistic:
    return lambda mse_RVH: psnr_db(_at(video, horizon)(mse_RVH))


def _worst_over_copy(mse_RVH: Array) -> Array:
    """Smallest gain over copying among all horizons."""
    inferred_RH, copy_RH = (psnr_db(mse_RVH[:, VIDEOS.index(video)]) for video in ("inferred", "copy"))
    worst: Array = (inferred_RH - copy_RH).min(axis=1)
    return worst


def delta_t_psnr(mse_GVH: Array) -> Array:
    """The paper's delta-t PSNR at t = 4 of each start: PSNR with inferred codes minus that with random codes."""
    at_t_GV = psnr_db(mse_GVH[:, :, DELTA_T - 1])
    delta: Array = at_t_GV[:, VIDEOS.index("inferred")] - at_t_GV[:, VIDEOS.index("random")]
    return delta


__all__ = [
    "DELTA_T",
    "HORIZON",
    "LENGTH",
    "VIDEOS",
    "Comparison",
    "compare",
    "delta_t_psnr",
    "rollout_findings",
    "summarise",
]
