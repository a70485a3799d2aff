"""Finds how few MaskGIT steps keep the quality of 25, on the shipped `tiny`, and how much faster so few are.

Quality is that of real rollouts: the labels' codes are played from frames of the sample, and frames are compared with
those that came. Time is of the same network, against its whole window computed again at each of 25 steps. The rollouts
of the default bundle, which moves the last frame and draws nothing, stand beside both.
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
from torch import Tensor

from benchmarks.measured import Measured
from benchmarks.networks import STEPS, WINDOW
from benchmarks.row import Samples
from benchmarks.timing import ROUNDS, Action, interleaved, ratios
from genie_core.bundles import DEFAULT, shipped
from genie_core.data import Frames, open_dataset
from genie_core.data.samples import sample_path
from genie_core.inference import Labeller, Simulator
from genie_core.inference.asked import Sampling
from genie_core.inference.sampler import Chance, sample_frame
from genie_core.models.bundle import Bundle, load_bundle
from genie_core.models.dynamics import previous_tokens
from genie_core.models.patches import to_frames
from genie_core.statistics.metrics import Array, frame_mse, psnr_db

MOST_LOST_DB = 0.1
"""PSNR that fewer steps may lose."""

TRIED = (12, 8, 6, 4, 2, 1)
"""Numbers of MaskGIT steps, beside the paper's 25."""

PROMPT, LENGTH = 4, 8
"""Real frames before a rollout, and frames that are simulated."""

_SEEDS = 2

_SEVERAL = 4
"""Frames of ours that are timed at once."""


@dataclass(frozen=True)
class _Start:
    """Real frames and what happened after them."""

    prompt_PHWC: Frames
    codes: Sequence[int]
    after_THWC: Frames


class FullWindow:
    """Draws frames with a bundle's own networks, its window of `WINDOW` frames computed again at every step."""

    @torch.inference_mode()
    def __init__(self, bundle: Bundle, frames_THWC: Frames, steps: int) -> None:
        """Take what came before from `WINDOW` - 1 frames of the model's size, under the code 0."""
        self.genie, self.config, self.steps = bundle.genie, bundle.config, steps
        self.past_1TN = self.genie.tokenizer.encode(bundle.pixels(frames_THWC[None, : WINDOW - 1]))
        self.action_1TD = self.genie.lam.quantizer.lookup(torch.zeros(1, WINDOW, dtype=torch.int64))
        _, self.decoder = self.genie.tokenizer.decode_stream(self.past_1TN, self.genie.tokenizer.decoder_state(1))

    def logits(self, token_1N: Tensor, at_1M: Tensor) -> Tensor:
        """Return the logits (1, M, codes) of tokens of the last frame; all of the window's are computed."""
        dynamics = self.genie.dynamics
        token_1TN = torch.cat((self.past_1TN, token_1N[:, None]), dim=1)
        logits_1NK = dynamics(token_1TN, previous_tokens(token_1TN, dynamics.mask_token), self.action_1TD)[:, -1]
        found_1MK: Tensor = logits_1NK.gather(1, at_1M[..., None].expand(-1, -1, logits_1NK.shape[-1]))
        return found_1MK

    @torch.inference_mode()
    def draw(self) -> Frames:
        """One more frame, (1, h, w, 3) uint8."""
        codes, generator = self.config.tokenizer.quantizer.codes, torch.Generator().manual_seed(0)
        chance = Chance.draw(self.config.tokens_per_frame, codes, generator)
        token_1N = sample_frame(
            self.logits, chance, steps=self.steps, temperature_B=torch.tensor([self.config.temperature])
        )
        pixels_11CHW, _ = self.genie.tokenizer.decode_stream(token_1N[:, None], self.decoder)
        drawn: Frames = to_frames(pixels_11CHW)[:, 0].numpy()
        return drawn


def at_fixed_quality(quick: bool) -> list[Measured]:
    """Return the time of a frame by the full window at 25 steps over ours at the fewest that keep the quality."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    bundle = load_bundle(shipped("tiny"))
    tiny, starts = Simulator(bundle), _starts("tiny")[: 2 if quick else None]
    seeds = range(1 if quick else _SEEDS)
    tried = (STEPS, *(TRIED[-2:] if quick else TRIED))
    quality = {steps: [_psnr_db(tiny, starts, Sampling(steps, seed=seed)) for seed in seeds] for steps in tried}
    fewest = fewest_steps({steps: mean(found) for steps, found in quality.items()})
    moving = Simulator(load_bundle(shipped()))
    moved_starts = _starts(DEFAULT)[: len(starts)]
    moved = _psnr_db(moving, moved_starts, Sampling())
    copied = mean(float(np.mean(_db(np.repeat(s.prompt_PHWC[-1:], LENGTH, 0), s.after_THWC))) for s in starts)

    prompt_THWC = np.concatenate([starts[0].prompt_PHWC, starts[0].after_THWC, starts[1].prompt_PHWC])
    full_window = FullWindow(bundle, prompt_THWC, STEPS)
    rollouts = {
        steps: tiny.start(prompt_THWC[: tiny.context_frames], sampling=Sampling(steps)) for steps in (STEPS, fewest)
    }
    motion_rollout = moving.start(moved_starts[0].prompt_PHWC)
    sides: dict[str, Action] = {
        "full_window": full_window.draw,
        "cached": partial(_draw_several, partial(rollouts[STEPS].step, [0])),
        "cached_fewest": partial(_draw_several, partial(rollouts[fewest].step, [0])),
        "motion": partial(_draw_several, partial(motion_rollout.step, [moved_starts[0].codes[0]])),
    }
    taken = interleaved(sides, 1 if quick else ROUNDS, clock=time.process_time)
    seconds = {name: [s / (1 if name == "full_window" else _SEVERAL) for s in of] for name, of in taken.items()}
    by_round = ratios(seconds["full_window"], seconds["cached_fewest"])
    measured = {name: Samples.of([1000 * s for s in of], "ms") for name, of in seconds.items()}
    measured |= {f"psnr_{steps}_steps": Samples.of(found, "dB") for steps, found in quality.items()}
    measured |= {"psnr_motion": Samples.of([moved], "dB"), "psnr_copy": Samples.of([copied], "dB")}
    measured |= {
        "at_25_steps": Samples.of(ratios(seconds["full_window"], seconds["cached"]), "x"),
        "ratio": Samples.of(by_round, "x"),
    }
    facts: dict[str, float | int | str] = {
        "fewest_steps": fewest,
        "threads": 1,
        "window": WINDOW,
        "starts": len(starts),
        "frames_each": LENGTH,
        "seeds": len(seeds),
    }
    return [Measured(value=median(by_round), measured=measured, facts=facts)]


def _draw_several(draw: Action) -> None:
    """Draw `_SEVERAL` frames: one is over before a clock of hundredths has moved."""
    for _ in range(_SEVERAL):
        draw()


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


__all__ = ["FullWindow", "at_fixed_quality", "fewest_steps"]
