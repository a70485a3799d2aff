"""Times a rollout that carries its past along against one that computes the whole window at every step."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.baselines import PlainDynamics, sample_frame_full_window
from benchmarks.flops import decoder_flops, full_window_flops, sampler_flops
from benchmarks.measured import Measured
from benchmarks.networks import STEPS, WINDOW, make_dynamics
from benchmarks.row import Samples
from benchmarks.timing import ROUNDS, Action, interleaved, ratios
from genie_core.inference import Rollout, Sampling, Simulator
from genie_core.models.bundle import Bundle, BundleInfo
from genie_core.models.config import ModelConfig
from genie_core.models.dynamics import previous_tokens
from genie_core.models.genie import Genie
from genie_core.models.patches import to_frames

SAMPLER_PRECISION = "fp32"
"""What rollouts are computed in."""

MOST_DIFFERENCE = 1e-4
"""Of cached and full-window logits, fp32; past it the two are not the same model and their ratio says nothing."""

_PROMPT_SEED = 3


def random_window(genie: Genie, frames: int | None = None) -> tuple[Tensor, Tensor]:
    """Draw tokens (1, T, N) and latent actions (1, T, D) of T frames at random; by default the model's window."""
    generator = torch.Generator().manual_seed(_PROMPT_SEED)
    c = genie.config
    frames = frames or c.context_frames
    token_1TN = torch.randint(c.tokenizer.quantizer.codes, (1, frames, c.tokens_per_frame), generator=generator)
    code_1T = torch.randint(c.lam.quantizer.codes, (1, frames), generator=generator)
    return token_1TN, genie.lam.quantizer.lookup(code_1T)


@torch.inference_mode()
def logits_difference(genie: Genie, plain: PlainDynamics) -> float:
    """Compare cached and full-window logits of the last frame, every second token hidden, fp32: largest difference."""
    token_1TN, action_1TD = random_window(genie)
    previous_1TN = previous_tokens(token_1TN, genie.dynamics.mask_token)
    token_1TN[:, -1, ::2] = genie.dynamics.mask_token
    past = genie.dynamics.initial_state(1)
    _, past = genie.dynamics.stream(token_1TN[:, :-1], previous_1TN[:, :-1], action_1TD[:, :-1], past)
    frame = genie.dynamics.next_frame(previous_1TN[:, -1], action_1TD[:, -1], past)
    cached_1NK = genie.dynamics.reveal(frame, token_1TN[:, -1], torch.arange(token_1TN.shape[-1])[None])
    return float((cached_1NK - plain(token_1TN, action_1TD)[:, -1]).abs().max())


class FullWindowRollout:
    """The baseline's rollout: whole windows for the tokens, and the decoder that we use too."""

    @torch.inference_mode()
    def __init__(self, genie: Genie, plain: PlainDynamics, steps: int) -> None:
        self.genie, self.plain, self.steps = genie, plain, steps
        self.token_1TN, self.action_1TD = random_window(genie)
        _, self.decoder = genie.tokenizer.decode_stream(self.token_1TN[:, :-1], genie.tokenizer.decoder_state(1))

    @torch.inference_mode()
    def draw(self) -> NDArray[np.uint8]:
        """One more frame, (1, h, w, 3) uint8."""
        token_1N = sample_frame_full_window(
            self.plain,
            self.token_1TN,
            self.action_1TD,
            codes=self.genie.config.tokenizer.quantizer.codes,
            steps=self.steps,
            temperature=1.0,
            generator=torch.Generator().manual_seed(0),
        )
        pixels_11CHW, _ = self.genie.tokenizer.decode_stream(token_1N[:, None], self.decoder)
        drawn: NDArray[np.uint8] = to_frames(pixels_11CHW)[:, 0].numpy()
        return drawn


def start_rollout(genie: Genie, steps: int) -> Rollout:
    """Start one rollout of our model, from a prompt that fills its window."""
    c = genie.config
    info = BundleInfo(c.name, Path(), "0" * 64, c, "", genie.lam.quantizer.codebook.numpy(), 0)
    prompt = np.random.default_rng(_PROMPT_SEED).integers(0, 256, (c.context_frames, c.height, c.width, 3), np.uint8)
    sampling = Sampling(maskgit_steps=steps, temperature=1.0)
    return Simulator(Bundle(info, genie, torch.device("cpu"))).start(prompt, sampling=sampling)


def _arithmetic(config: ModelConfig, steps: int) -> float:
    """Return the baseline's operations per frame over ours."""
    decoder = decoder_flops(config)
    return (full_window_flops(config, steps, WINDOW) + decoder) / (sampler_flops(config, steps, WINDOW) + decoder)


def over_full_window(quick: bool) -> list[Measured]:
    """Return seconds a frame of both."""
    genie, plain = make_dynamics()
    steps = 2 if quick else STEPS
    difference = logits_difference(genie, plain)
    if difference > MOST_DIFFERENCE:
        raise RuntimeError(
            f"cached and full-window logits differ by {difference:.2g}, wanted {MOST_DIFFERENCE:g} at most"
        )
    rollout, baseline = start_rollout(genie, steps), FullWindowRollout(genie, plain, steps)
    FullWindowRollout(genie, plain, 1).draw()  # warms up; a whole frame of it would take minutes
    rollout.step([0])
    sides: dict[str, Action] = {"full_window": baseline.draw, "cached": partial(rollout.step, [0])}
    seconds = interleaved(sides, 2 if quick else ROUNDS, warm_ups=0)
    by_round = ratios(seconds["full_window"], seconds["cached"])
    samples = {name: Samples.of(taken, "s") for name, taken in seconds.items()}
    facts: dict[str, float | int | str] = {
        "precision": SAMPLER_PRECISION,
        "threads": torch.get_num_threads(),
        "maskgit_steps": steps,
        "window": WINDOW,
        "logits_difference": float(f"{difference:.3g}"),
        "ratio_of_arithmetic": round(_arithmetic(genie.config, steps), 2),
    }
    return [Measured(value=median(by_round), measured={**samples, "ratio": Samples.of(by_round, "x")}, facts=facts)]


__all__ = [
    "MOST_DIFFERENCE",
    "SAMPLER_PRECISION",
    "FullWindowRollout",
    "logits_difference",
    "over_full_window",
    "random_window",
    "start_rollout",
]
