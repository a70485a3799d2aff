"""Evaluates how well the dynamics model continues real video, by rollouts with the inferred latent actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from genie_core.data import Frames
from genie_core.data.frames.grid import CodedFrame, report_grid
from genie_core.evaluation.material import Start, Study, by_take, draw_starts
from genie_core.evaluation.metrics import Findings, Measured, Missing, ReportImage, Statistic, Video, mean_of, of_means
from genie_core.evaluation.tokenizer import redraw
from genie_core.evaluation.trust import Trial, calibrate, trust_findings
from genie_core.evaluation.video_distance import KEYS as DISTANCES
from genie_core.evaluation.video_distance import clip_reader, distance_findings
from genie_core.inference import Simulator
from genie_core.inference.confidence import ReadBack
from genie_core.inference.simulator import asked_for
from genie_core.models.bundle import Bundle
from genie_core.models.dynamics import previous_tokens
from genie_core.statistics.metrics import Array, frame_mse, psnr_db, ssim

HORIZON = 8
"""Frames after a start that metrics are about; a start must have at least as many."""
LENGTH = 16
"""Frames simulated from a start, or as many as the episode has after it if those are fewer."""
DELTA_T = 4
"""The t of the paper's delta-t PSNR."""

VIDEOS = ("inferred", "latents", "random", "copy", "tokenizer")
"""What is compared with the real frames: rollouts with the labels' codes, with their latents, and with codes drawn at
random, the start frame repeated, and the real frames as the tokenizer draws them (no rollout can be better than that).
A model without a tokenizer, which moves the last frame, has not the last of these."""

PICTURED = 4
"""Number of starts whose videos are kept to view."""

_METRICS = ("psnr_db", "ssim")
_TOKENS = ("dynamics.next_token_accuracy", "dynamics.next_token_accuracy_copy")
_WORST = {"inferred": "dynamics.worst_psnr_over_copy_db", "latents": "dynamics.worst_psnr_over_copy_latents_db"}
_DELTA = {"inferred": "dynamics.delta_t_psnr_4", "latents": "dynamics.delta_t_psnr_4_latents"}
_KEYS = ("dynamics.psnr_4_db", *_DELTA.values(), *_WORST.values())


@dataclass(frozen=True)
class Comparison:
    """Comparison at one start: mse_VH and ssim_VH of `VIDEOS` by horizon 1 .. H, the number of simulated frames.

    `agreement` says by track how far what was read back from its frames agrees with what was asked for, (H,).

    `token_accuracy` is the share of tokens of the first `HORIZON` frames predicted right, `token_copies` the share
    unchanged from the previous frame; both None without a tokenizer.
    """

    mse_VH: Array
    ssim_VH: Array
    token_accuracy: float | None
    token_copies: float | None
    agreement: Mapping[str, Array] = field(default_factory=dict)


def rollout_findings(study: Study, rng: np.random.Generator) -> Findings:
    """Return metrics ``dynamics.*``, from start frames with `HORIZON` real frames after them, `LENGTH` if possible."""
    starts = draw_starts(study.takes, study.options.rollouts, HORIZON, rng, wanted=LENGTH)
    if not starts:
        reason = Missing(f"no episode has {HORIZON + 1} frames at the model's rate")
        drawn = (*_TOKENS, *DISTANCES) if study.bundle.config.simulates else ()
        return Findings(dict.fromkeys((*_KEYS, *drawn), reason))
    simulator = Simulator(study.bundle)
    frames = [_frames_after(study, start) for start in starts]
    reader = clip_reader(study, frames) if study.bundle.config.simulates else None
    found: list[Comparison] = []
    clips: list[dict[str, Array]] = []
    videos: list[Video] = []
    rows: list[list[CodedFrame]] = []
    for done, start in enumerate(starts):
        study.progress("rollouts", done, len(starts))
        comparison, video, codes = compare(study, simulator, start, rng)
        found.append(comparison)
        if reader is not None and frames[done] >= reader.frames:
            clips.append(reader.read(video.tracks))
        if done < PICTURED:
            videos.append(video)
            rows += [_row(video.tracks[track], codes.get(track)) for track in ("real", "inferred", "latents", "random")]
    caption = (
        "Four rows each: what happened, the rollouts with the codes and with the latents read off it, and one with "
        "random codes, all from the first frame on. A frame stands under the colour of the code that led there."
    )
    image = ReportImage("rollouts", "Rollouts beside real video", caption, report_grid(rows))
    trials = [trial for start, comparison in zip(starts, found, strict=True) for trial in _trials(start, comparison)]
    calibration = calibrate(trials, study.bundle.bundle_id)
    parts = [summarise(starts, found, rng), Findings(images=[image], videos=videos, calibration=calibration)]
    parts.append(trust_findings(trials, rng))
    if reader is not None:
        long_enough = [start for start, length in zip(starts, frames, strict=True) if length >= reader.frames]
        parts.insert(1, distance_findings(reader, long_enough, clips, rng))
    return Findings.merge(parts)


def _trials(start: Start, comparison: Comparison) -> list[Trial]:
    """Return the rollouts by codes and by latents; a frame is right if it is nearer to the real one than the start."""
    copy_H = comparison.mse_VH[VIDEOS.index("copy")]
    return [
        Trial(start.take, agreement_H, comparison.mse_VH[VIDEOS.index(video)] < copy_H)
        for video, agreement_H in comparison.agreement.items()
    ]


def _frames_after(study: Study, start: Start) -> int:
    """Return the number of frames to simulate from a start."""
    return min(LENGTH, len(study.takes[start.take].film.frames_THWC) - 1 - start.frame)


def _row(frames_THWC: Frames, codes_H: Sequence[int] | None) -> list[CodedFrame]:
    codes: list[int | None] = [None] * len(frames_THWC) if codes_H is None else [None, *codes_H]
    return [CodedFrame(frame_HWC, code) for frame_HWC, code in zip(frames_THWC, codes, strict=True)]


def compare(
    study: Study, simulator: Simulator, start: Start, rng: np.random.Generator
) -> tuple[Comparison, Video, dict[str, list[int]]]:
    """Simulate from a real frame, after `prompt_frames` at most, and compare with the H real frames that follow it.

    Returns:
        The comparison, the videos compared (each with the start frame first), and the codes of each rollout.

    """
    take = study.takes[start.take]
    length = _frames_after(study, start)
    stop = start.frame + length
    real_THWC = take.film.frames_THWC[start.frame : stop + 1]
    codes_2H = np.stack((take.code_S[start.frame : stop], rng.integers(simulator.num_codes, size=length)))
    first = max(0, start.frame + 1 - min(study.options.prompt_frames, simulator.context_frames))
    prompt_PHWC = take.film.frames_THWC[first : start.frame + 1]
    rollout = simulator.start(prompt_PHWC, 3, study.draw_sampling(rng))
    moves = zip(codes_2H[0].tolist(), codes_2H[1].tolist(), take.latent_SD[start.frame : stop], strict=True)
    read_back = {v: ReadBack.of(study.labeller, real_THWC[0]) for v in _WORST}  # branches 0 and 2
    drawn = []
    for move in moves:
        drawn.append(rollout.step(move))
        wanted = map(asked_for, rollout.branches[::2], move[::2])
        shown = list(zip(read_back.values(), drawn[-1][::2], wanted, strict=True))
        encoded = study.labeller.encode([reader.block(frame_HWC) for reader, frame_HWC, _ in shown])
        for (reader, frame_HWC, wanted_D), of in zip(shown, encoded, strict=True):
            reader.take(frame_HWC, wanted_D, of)
    drawn_H3HWC = np.stack(drawn)
    tracks = {
        "inferred": np.concatenate((real_THWC[:1], drawn_H3HWC[:, 0])),
        "latents": np.concatenate((real_THWC[:1], drawn_H3HWC[:, 2])),
        "random": np.concatenate((real_THWC[:1], drawn_H3HWC[:, 1])),
        "copy": np.repeat(real_THWC[:1], length + 1, axis=0),
    }
    accuracy, copies = None, None
    if study.bundle.config.simulates:
        tracks["tokenizer"], token_TN = redraw(study.bundle, real_THWC)
        accuracy = token_accuracy(study.bundle, token_TN[: HORIZON + 1], codes_2H[0, :HORIZON])
        copies = float((token_TN[1 : HORIZON + 1] == token_TN[:HORIZON]).mean())
    comparison = Comparison(
        np.stack([frame_mse(track[1:], real_THWC[1:]) for track in tracks.values()]),
        np.stack([ssim(track[1:], real_THWC[1:]) for track in tracks.values()]),
        accuracy,
        copies,
        {v: np.array(reader.agreements) for v, reader in read_back.items()},
    )
    video = Video(f"{take.film.name} frame {start.frame}", {"real": real_THWC, **tracks})
    inferred = codes_2H[0].tolist()
    return comparison, video, {"inferred": inferred, "latents": inferred, "random": codes_2H[1].tolist()}


@torch.inference_mode()
def token_accuracy(bundle: Bundle, token_TN: NDArray[np.int64], code_S: NDArray[np.int64]) -> float:
    """Return the share of tokens predicted right, each frame in turn fully masked, given the real frames before."""
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
    """Return the metrics of horizons 1 to `HORIZON`, and curves as long as the longest rollout."""
    mse = by_take(starts, [c.mse_VH[:, :HORIZON] for c in found])
    metrics: dict[str, Measured] = {"dynamics.psnr_4_db": of_means(mse, _psnr_at("inferred", DELTA_T - 1), rng)}
    for video in _WORST:
        metrics[_DELTA[video]] = mean_of([delta_t_psnr(group, video) for group in mse], rng)
        metrics[_WORST[video]] = of_means(mse, _worst_over_copy(video), rng)
    right, same = [c.token_accuracy for c in found], [c.token_copies for c in found]
    for name, shares in zip(_TOKENS, (right, same), strict=True):
        drawn = [np.array(share) for share in shares if share is not None]
        if drawn:
            metrics[name] = mean_of(by_take(starts, drawn), rng)
    return Findings(metrics, _curves(starts, found, rng))


def _curves(
    starts: Sequence[Start], found: Sequence[Comparison], rng: np.random.Generator
) -> dict[str, list[Measured]]:
    """PSNR and SSIM by horizon; far horizons are of those rollouts that get there."""
    videos = VIDEOS[: len(found[0].mse_VH)]
    curves: dict[str, list[Measured]] = {f"dynamics.{v}_{m}_by_horizon": [] for v in videos for m in _METRICS}
    for horizon in range(max(c.mse_VH.shape[1] for c in found)):
        there = [i for i, c in enumerate(found) if c.mse_VH.shape[1] > horizon]
        where = [starts[i] for i in there]
        mse = by_take(where, [found[i].mse_VH[:, horizon] for i in there])
        similarity = by_take(where, [found[i].ssim_VH[:, horizon] for i in there])
        for v, video in enumerate(videos):
            curves[f"dynamics.{video}_psnr_db_by_horizon"].append(of_means([g[:, v] for g in mse], psnr_db, rng))
            curves[f"dynamics.{video}_ssim_by_horizon"].append(mean_of([g[:, v] for g in similarity], rng))
    return curves


def _at(video: str, horizon: int) -> Statistic:
    return lambda mean_RVH: mean_RVH[:, VIDEOS.index(video), horizon]


def _psnr_at(video: str, horizon: int) -> Statistic:
    return lambda mse_RVH: psnr_db(_at(video, horizon)(mse_RVH))


def _worst_over_copy(video: str) -> Statistic:
    """Return the least gain over copying of all horizons."""

    def worst(mse_RVH: Array) -> Array:
        drawn_RH, copy_RH = (psnr_db(mse_RVH[:, VIDEOS.index(v)]) for v in (video, "copy"))
        least: Array = (drawn_RH - copy_RH).min(axis=1)
        return least

    return worst


def delta_t_psnr(mse_GVH: Array, video: str = "inferred") -> Array:
    """Return the paper's delta-t PSNR at t = 4 of each start: PSNR with inferred codes minus that with random ones."""
    at_t_GV = psnr_db(mse_GVH[:, :, DELTA_T - 1])
    delta: Array = at_t_GV[:, VIDEOS.index(video)] - at_t_GV[:, VIDEOS.index("random")]
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
