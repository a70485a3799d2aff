"""Simulates what video a sequence of latent actions would have produced, frame by frame, from a prompt.

The past is never computed again: keys and values of past frames are carried along in the dynamics model and in the
tokenizer's decoder, exactly, for rollouts of any length. A rollout is a function of bundle, prompt, actions and
sampling options alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from genie_core.data import conform_frames, resize_frames
from genie_core.errors import RequestError
from genie_core.inference.sampler import sample_frame
from genie_core.models.bundle import Bundle
from genie_core.models.dynamics import previous_tokens
from genie_core.models.patches import to_frames, to_pixels

DEFAULT_MASKGIT_STEPS = 25


@dataclass(frozen=True)
class Sampling:
    """How frames are sampled.

    Attributes:
        maskgit_steps: a frame, 1 to the number of tokens a frame; None for the paper's 25, or all where fewer.
        temperature: of the softmax, > 0; None for the bundle's default.
        seed: 0 .. 2^64 - 1.

    """

    maskgit_steps: int | None = None
    temperature: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class _Checked:
    """Sampling options with every default filled in, all in range."""

    maskgit_steps: int
    temperature: float
    seed: int


class Simulator:
    """Draws video with one bundle. Rollouts of one simulator may run in different threads."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.context_frames = bundle.config.context_frames
        self.num_codes = bundle.config.lam.quantizer.codes

    def start(self, prompt_PHWC: NDArray[np.uint8], branches: int = 1, sampling: Sampling | None = None) -> Rollout:
        """Begin `branches` rollouts that share one prompt.

        Args:
            prompt_PHWC: (P, H, W, 3) uint8, 1 .. `context_frames` frames at the model's rate, any size. The actions
                between prompt frames are those that the latent action model reads off them.
            branches: number of rollouts, at least 1.
            sampling: None for the defaults.

        Raises:
            RequestError: naming the argument: a prompt of the wrong shape, type or length, an option out of range.

        """
        prompt = conform_frames(prompt_PHWC, "prompt")
        if not 1 <= len(prompt) <= self.context_frames:
            raise RequestError("prompt", f"got {len(prompt)} frames, wanted 1 to {self.context_frames}")
        if branches < 1:
            raise RequestError("branches", f"got {branches}, wanted at least 1")
        return Rollout(self.bundle, prompt, branches, self._checked(sampling or Sampling()))

    def rollout(
        self, prompt_PHWC: NDArray[np.uint8], actions: Sequence[int], sampling: Sampling | None = None
    ) -> NDArray[np.uint8]:
        """One whole rollout: the frame after each action, (T, h, w, 3) uint8 at the model's size."""
        self.check_actions(actions)
        rollout = self.start(prompt_PHWC, 1, sampling)
        return np.concatenate([rollout.step([a]) for a in actions])

    def check_actions(self, actions: Sequence[int], field: str = "actions") -> None:
        """Raise RequestError unless there is at least one action and each is a code."""
        if len(actions) == 0:
            raise RequestError(field, "got none, wanted at least 1 latent action")
        for a in actions:
            if not 0 <= a < self.num_codes:
                raise RequestError(field, f"latent action {a} is out of range, wanted 0 to {self.num_codes - 1}")

    def _checked(self, sampling: Sampling) -> _Checked:
        tokens = self.bundle.config.tokens_per_frame
        steps = min(DEFAULT_MASKGIT_STEPS, tokens) if sampling.maskgit_steps is None else sampling.maskgit_steps
        if not 1 <= steps <= tokens:
            raise RequestError("maskgit_steps", f"got {steps}, wanted 1 to {tokens}")
        temperature = self.bundle.config.temperature if sampling.temperature is None else sampling.temperature
        if not 0 < temperature < float("inf"):
            raise RequestError("temperature", f"got {temperature}, wanted a finite number above 0")
        if not 0 <= sampling.seed < 2**64:
            raise RequestError("seed", f"got {sampling.seed}, wanted 0 to 2^64 - 1")
        return _Checked(steps, temperature, sampling.seed)


class Rollout:
    """N simulations on their way, from one prompt. `step` takes one action each and draws one frame each."""

    @torch.inference_mode()
    def __init__(self, bundle: Bundle, prompt_PHWC: NDArray[np.uint8], branches: int, sampling: _Checked) -> None:
        self._bundle, self._sampling, self.branches = bundle, sampling, branches
        self.frames = 0
        config, genie = bundle.config, bundle.genie
        small = resize_frames(prompt_PHWC, config.height, config.width)
        pixels_1TCHW = to_pixels(torch.tensor(small, device=bundle.device)[None])
        token_1TN = genie.tokenizer.encode(pixels_1TCHW)
        action_1TD = F.pad(self._read_actions(pixels_1TCHW), (0, 0, 1, 0))
        past_1TN = previous_tokens(token_1TN, genie.dynamics.mask_token)
        _, dynamics = genie.dynamics.stream(token_1TN, past_1TN, action_1TD, genie.dynamics.initial_state(1))
        _, decoder = genie.tokenizer.decode_stream(token_1TN, genie.tokenizer.decoder_state(1))
        self._dynamics, self._decoder = dynamics.repeat(branches), decoder.repeat(branches)
        self._token_BN = token_1TN[:, -1].repeat(branches, 1)

    def _read_actions(self, pixels_1TCHW: Tensor) -> Tensor:
        lam = self._bundle.genie.lam
        if pixels_1TCHW.shape[1] == 1:
            return pixels_1TCHW.new_zeros(1, 0, self._bundle.config.lam.quantizer.dim)
        return lam.quantizer.lookup(lam.quantizer.nearest(lam.latents(self._bundle.genie.lam_view(pixels_1TCHW))))

    @torch.inference_mode()
    def step(self, codes: Sequence[int]) -> NDArray[np.uint8]:
        """Take one action in each branch: N codes -> the frames after, (N, h, w, 3) uint8 at the model's size.

        Raises:
            RequestError: not one code a branch, or a code out of range.

        """
        config, genie, device = self._bundle.config, self._bundle.genie, self._bundle.device
        if len(codes) != self.branches:
            raise RequestError("actions", f"got {len(codes)} latent actions for {self.branches} branches")
        for code in codes:
            if not 0 <= code < config.lam.quantizer.codes:
                raise RequestError(
                    "actions", f"latent action {code} is out of range, wanted 0 to {config.lam.quantizer.codes - 1}"
                )
        action_B1D = genie.lam.quantizer.lookup(torch.tensor(list(codes), device=device))[:, None]
        previous_B1N = self._token_BN[:, None]

        def logits(token_BN: Tensor) -> Tensor:
            return genie.dynamics.stream(token_BN[:, None], previous_B1N, action_B1D, self._dynamics)[0][:, 0]

        token_BN = sample_frame(
            logits,
            batch=self.branches,
            tokens=config.tokens_per_frame,
            codes=config.tokenizer.quantizer.codes,
            steps=self._sampling.maskgit_steps,
            temperature=self._sampling.temperature,
            generator=_frame_generator(self._sampling.seed, self.frames),
            device=device,
        )
        # Once more with every token visible: what later frames will remember of this one.
        _, self._dynamics = genie.dynamics.stream(token_BN[:, None], previous_B1N, action_B1D, self._dynamics)
        pixels_B1CHW, self._decoder = genie.tokenizer.decode_stream(token_BN[:, None], self._decoder)
        self._token_BN = token_BN
        self.frames += 1
        drawn: NDArray[np.uint8] = to_frames(pixels_B1CHW)[:, 0].cpu().numpy()
        return drawn


def _frame_generator(seed: int, frame: int) -> torch.Generator:
    """Random numbers of one frame: a function of seed and frame number alone."""
    words = np.random.SeedSequence([seed, frame]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))


__all__ = ["Rollout", "Sampling", "Simulator"]
