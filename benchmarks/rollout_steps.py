"""Finds how few MaskGIT steps keep the quality of 25, on the shipped `tiny`, and what so few gain.

Quality is that of real rollouts: the labels' codes are played from frames of the sample, and frames are compared with
those that came. Time is that of the network of `benchmarks.rollout`. The rollouts of the default bundle, which moves
the last frame and draws nothing, stand beside both.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean, median

import cv2
import numpy as np
import torch

from benchmarks.measured import Measured
from benchmarks.networks import STEPS, make_dynamics
from benchmarks.rollout import FullWindowRollout, start_rollout
from benchmarks.row import Samples
from benchmarks.timing import ROUNDS, Action, interleaved, ratios
from genie_core.bundles import DEFAULT, shipped
from genie_core.data import Frames, open_dataset
from genie_core.data.samples import sample_path
from genie_core.inference import Labeller, Simulator
from genie_core.inference.simulator import Sampling
from genie_core.models.bundle import load_bundle
from genie_core.statistics.metrics import Array, frame_mse, psnr_db

MOST_LOST_DB = 0.1
"""PSNR that fewer steps may lose."""

TRIED = (12, 8, 6, 4, 3, 2, 1)
"""Numbers of MaskGIT steps, beside the paper's 25."""

PROMPT, LENGTH = 4, 8
"""Real frames before a rollout, and frames that are simulated."""

_SEEDS = 2


@dataclass(frozen=True)
class _Start:
    """Real frames and what happened after them."""

    prompt_PHWC: Frames
    codes: Sequence[int]
    after_THWC: Frames


def at_fixed_quality(quick: bool) -> list[Measured]:
    """Return the baseline's time for a frame at 25 steps over ours at the fewest that keep the quality."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    tiny = Simulator(load_bundle(shipped("tiny")))
    starts = _starts("tiny")[: 2 if quick else None]
    seeds = range(1 if quick else _SEEDS)
    tried = (STEPS, *(TRIED[-2:] if quick else TRIED))
    quality = {steps: [_psnr_db(tiny, starts, Sampling(steps, seed=seed)) for seed in seeds] for steps in tried}
    fewest = fewest_steps({steps: mean(found) for steps, found in quality.items()})
    moving = Simulator(load_bundle(shipped()))
    moved_starts = _starts(DEFAULT)[: len(starts)]
    moved = _psnr_db(moving, moved_starts, Sampling())
    copied = mean(float(np.mean(_db(np.repeat(s.prompt_PHWC[-1:], LENGTH, 0), s.after_THWC))) for s in starts)

    genie, plain = make_dynamics()
    baseline = FullWindowRollout(genie, plain, 1)
    rollouts = {steps: start_rollout(genie, 1 if quick else steps) for steps in (STEPS, fewest)}
    motion_rollout = moving.start(moved_starts[0].prompt_PHWC)
    sides: dict[str, Action] = {
        "full_window_pass": baseline.draw,
        "cached": partial(rollouts[STEPS].step, [0]),
        "cached_fewest": partial(rollouts[fewest].step, [0]),
        "motion": partial(motion_rollout.step, [moved_starts[0].codes[0]]),
    }
    seconds = interleaved(sides, 1 if quick else ROUNDS, clock=time.process_time)
    full = [STEPS * s for s in seconds["full_window_pass"]]
    by_round = ratios(full, seconds["cached_fewest"])
    measured = {name: Samples.of(taken, "s") for name, taken in seconds.items()}
    measured |= {f"psnr_{steps}_steps": Samples.of(found, "dB") for steps, found in quality.items()}
    measured |= {"psnr_motion": Samples.of([moved], "dB"), "psnr_copy": Samples.of([copied], "dB")}
    measured |= {
        "cached_over_fewest": Samples.of(ratios(seconds["cached"], seconds["cached_fewest"]), "x"),
        "ratio": Samples.of(by_round, "x"),
    }
    facts: dict[str, float | int | str] = {
        "fewest_steps": fewest,
        "threads": 1,
        "starts": len(starts),
        "frames_each": LENGTH,
        "seeds": len(seeds),
    }
    return [Measured(value=median(by_round), measured=measured, facts=facts)]


def fewest_steps(quality_db: dict[int, float]) -> int:
    """Return the fewest steps of which none and no more lose over `MOST_LOST_DB` against the most."""
    most, *fewer = sorted(quality_db, reverse=True)
    found = most
    for steps in fewer:
        if quality_db[steps] < quality_db[most] - MOST_LOST_DB:
            break
        found = steps
    return found


def _starts(model: str) -> list[_Start]:
    """Return a start in each episode of the sample, with the codes by which `model` labels what comes."""
    labeller = Labeller(load_bundle(shipped(model)))
    starts = []
    for episode in open_dataset(sample_path()).episodes:
        frames_THWC = labeller.resized(episode.frames(0, episode.num_frames))
        codes = labeller.label(frames_THWC, step=1).code[PROMPT - 1 : PROMPT - 1 + LENGTH]
        after = frames_THWC[PROMPT : PROMPT + LENGTH]
        starts.append(_Start(frames_THWC[:PROMPT], [int(code) for code in codes], after))
    return starts


def _psnr_db(simulator: Simulator, starts: Sequence[_Start], sampling: Sampling) -> float:
    """Return the mean PSNR of all frames of the rollouts, dB."""
    found = []
    for start in starts:
        rollout = simulator.start(start.prompt_PHWC, sampling=sampling)
        frames = np.stack([rollout.step([code])[0] for code in start.codes])
        found.append(float(np.mean(_db(frames, start.after_THWC))))
    return mean(found)


def _db(frames_THWC: Frames, real_THWC: Frames) -> Array:
    return psnr_db(frame_mse(frames_THWC, real_THWC))


__all__ = ["at_fixed_quality", "fewest_steps"]
