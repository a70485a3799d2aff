"""How well the dynamics model continues real video: rollouts with the true latent actions against what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from genie_core.data import Frames
from genie_core.evaluation.figures import Findings, Measured, Missing, Statistic, estimate
from genie_core.evaluation.material import Start, Study, by_take, draw_starts
from genie_core.evaluation.metrics import Array, frame_mse, psnr_db, ssim
from genie_core.evaluation.tokenizer import redraw
from genie_core.inference import Simulator
from genie_core.models.bundle import Bundle
from genie_core.models.dynamics import previous_tokens

HORIZON = 8
"""Frames that are simulated from each start."""
DELTA_T = 4
"""The t of the paper's delta-t PSNR."""

VIDEOS = ("inferred", "random", "copy", "tokenizer")
"""What is compared with the real frames: rollouts with the labels' codes and with codes drawn at random, the start
frame repeated, and the real frames as the tokenizer draws them (no rollout can be better than that)."""

_KEYS = ("dynamics.delta_t_psnr_4", "dynamics.psnr_4_db", "dynamics.worst_psnr_over_copy_db")


@dataclass(frozen=True)
class Comparison:
    """One start: mse_VH and ssim_VH of `VIDEOS` by horizon 1 .. H; share of the H frames' tokens predicted right."""

    mse_VH: Array
    ssim_VH: Array
    token_accuracy: float


def rollout_findings(study: Study, rng: np.random.Generator) -> Findings:
    """Figures ``dynamics.*``, from start frames that have `HORIZON` real frames after them."""
    starts = draw_starts(study.takes, study.options.rollouts, HORIZON, rng)
    if not starts:
        reason = Missing(f"no episode has {HORIZON + 1} frames at the model's rate")
        return Findings(dict.fromkeys((*_KEYS, "dynamics.next_token_accuracy"), reason))
    simulator = Simulator(study.bundle)
    found = []
    for done, start in enumerate(starts):
        study.progress("rollouts", done, len(starts))
        found.append(compare(study, simulator, start, rng))
    return summarise(starts, found, rng)


def compare(study: Study, simulator: Simulator, start: Start, rng: np.random.Generator) -> Comparison:
    """Simulate from one real frame and compare with the `HORIZON` real frames after it."""
    take = study.takes[start.take]
    stop = start.frame + HORIZON
    real_THWC = take.film.frames_THWC[start.frame : stop + 1]
    inferred_H = take.code_S[start.frame : stop]
    random_H = rng.integers(simulator.num_codes, size=HORIZON)
    rollout = simulator.start(real_THWC[:1], 2, study.draw_sampling(rng))
    drawn_H2HWC = np.stack([rollout.step([int(a), int(b)]) for a, b in zip(inferred_H, random_H, strict=True)])
    redrawn_THWC, token_TN = redraw(study.bundle, real_THWC)
    copied_HHWC = np.repeat(real_THWC[:1], HORIZON, axis=0)
    videos: tuple[Frames, ...] = (drawn_H2HWC[:, 0], drawn_H2HWC[:, 1], copied_HHWC, redrawn_THWC[1:])
    return Comparison(
        np.stack([frame_mse(v, real_THWC[1:]) for v in videos]),
        np.stack([ssim(v, real_THWC[1:]) for v in videos]),
        token_accuracy(study.bundle, token_TN, inferred_H),
    )


@torch.inference_mode()
def token_accuracy(bundle: Bundle, token_TN: NDArray[np.int64], code_S: NDArray[np.int64]) -> float:
    """Share of tokens predicted right where each frame in turn is wholly hidden and all real frames before are seen."""
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
    """Figures and curves of what was compared."""
    mse = by_take(starts, [c.mse_VH for c in found])
    similarity = by_take(starts, [c.ssim_VH for c in found])
    accuracy = by_take(starts, [np.array(c.token_accuracy) for c in found])

    def figure(groups: Sequence[Array], statistic: Statistic) -> Measured:
        """A function of the means over starts, (R, ...) -> (R,)."""
        sums = np.stack([group.sum(axis=0) for group in groups])
        counts = np.array([len(group) for group in groups], np.float64)
        packed = np.concatenate((sums.reshape(len(sums), -1), counts[:, None]), axis=1)
        shape = sums.shape[1:]
        return estimate(
            packed, lambda p: statistic((p[:, :-1] / p[:, -1:]).reshape(-1, *shape)), int(counts.sum()), rng
        )

    def by_horizon(groups: Sequence[Array], video: int, of: Statistic) -> list[Measured]:
        return [figure(groups, lambda mean, h=h: of(mean[:, video, h])) for h in range(HORIZON)]  # type: ignore[misc]

    curves = {}
    for i, video in enumerate(VIDEOS):
        curves[f"dynamics.{video}_psnr_db_by_horizon"] = by_horizon(mse, i, psnr_db)
        curves[f"dynamics.{video}_ssim_by_horizon"] = by_horizon(similarity, i, lambda mean: mean)
    inferred, copied = VIDEOS.index("inferred"), VIDEOS.index("copy")
    return Findings(
        {
            "dynamics.delta_t_psnr_4": figure([delta_t_psnr(group) for group in mse], lambda mean: mean),
            "dynamics.psnr_4_db": figure(mse, lambda mean: psnr_db(mean[:, inferred, DELTA_T - 1])),
            "dynamics.worst_psnr_over_copy_db": figure(
                mse, lambda mean: (psnr_db(mean[:, inferred]) - psnr_db(mean[:, copied])).min(axis=-1)
            ),
            "dynamics.next_token_accuracy": figure(accuracy, lambda mean: mean),
        },
        curves,
    )


def delta_t_psnr(mse_GVH: Array) -> Array:
    """The paper's delta-t PSNR at t = 4 of each start: PSNR with inferred codes less that with random codes."""
    at_t_GV = psnr_db(mse_GVH[:, :, DELTA_T - 1])
    delta: Array = at_t_GV[:, VIDEOS.index("inferred")] - at_t_GV[:, VIDEOS.index("random")]
    return delta


__all__ = ["DELTA_T", "HORIZON", "VIDEOS", "Comparison", "compare", "delta_t_psnr", "rollout_findings", "summarise"]
