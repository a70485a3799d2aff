"""Simulation: the video that a sequence of latent actions would have produced from a prompt, frame by frame.

The past is never recomputed: keys and values of past frames are carried along exactly, in the dynamics model and in the
tokenizer's decoder, for rollouts of any length. A rollout depends only on bundle, prompt, actions and sampling options.
A bundle with a mover moves the last frame; frames of the prompt before the last show how fast the motion of each code
is, and where the rollout began is remembered, to mend what moved. Nothing is drawn then, and sampling options change
nothing, unless tokens mend what moved. Motion has no pixels of its own, so frames of any size can be moved.

An action is a code or a latent, a vector as labels hold it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from genie_core.data import conform_frames, resize_frames
from genie_core.errors import RequestError
from genie_core.inference.asked import (
    Action,
    CheckedSampling,
    Latent,
    Sampling,
    check_action,
    check_frame_size,
    check_sampling,
    check_simulates,
    maskgit_steps,
)
from genie_core.inference.sampler import Chance, sample_frame
from genie_core.models.bundle import Bundle
from genie_core.models.dynamics import NextFrame, previous_tokens
from genie_core.models.mending import mended, move_in_doubt, read, tells
from genie_core.models.mover import Moving
from genie_core.models.patches import to_frames
from genie_core.models.refiner import Memory
from genie_core.models.transformer import TemporalState

_WORKING_FLOATS = 24
"""Numbers that moving one pixel takes for a moment: flow, where it leads, and the pictures that it chooses from."""


class Simulator:
    """Simulates video with one bundle. Rollouts of one simulator may run in different threads."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.context_frames = bundle.config.context_frames
        self.num_codes = bundle.config.lam.quantizer.codes
        self.latent_dim = bundle.config.lam.quantizer.dim

    def state_bytes(self, frame_size: tuple[int, int] | None = None) -> int:
        """Return what one simulated stream of frames of that size remembers; None: the model's."""
        bundle = self.bundle
        if bundle.genie.mover is not None:
            height, width = frame_size or (bundle.config.height, bundle.config.width)
            memory = Memory.floats(height, width) if bundle.genie.mover.remembers else 0
            return 4 * (3 * height * width + memory + bundle.codebook.size)
        genie = bundle.genie
        return genie.dynamics.initial_state(1).nbytes + genie.tokenizer.decoder_state(1).nbytes

    def rollout_bytes(self, branches: int, frame_size: tuple[int, int] | None = None) -> int:
        """Return the most bytes that a rollout holds: its state, what it prepares for the next, and works with."""
        height, width = frame_size or (0, 0)  # what a frame of the model's own size is made with is little
        return 2 * branches * self.state_bytes(frame_size) + 4 * _WORKING_FLOATS * height * width

    def maskgit_steps(self, sampling: Sampling) -> int:
        """Return the MaskGIT steps of a frame: as given, else the bundle's default."""
        return maskgit_steps(sampling, self.bundle.config)

    def start(
        self,
        prompt_PHWC: NDArray[np.uint8],
        branches: int = 1,
        sampling: Sampling | None = None,
        frame_size: tuple[int, int] | None = None,
    ) -> Rollout:
        """Start `branches` rollouts from the same prompt.

        Args:
            prompt_PHWC: (P, H, W, 3) uint8, 1 .. `context_frames` frames at the model's rate, any size. The latent
                action model infers the actions between prompt frames.
            branches: number of rollouts, at least 1.
            sampling: None: the defaults.
            frame_size: height and width of the frames, pixels; None: the model's. Others are for models that move
                frames (`ModelConfig.moves_any_size`), which read the motion in frames of their own size.

        Raises:
            RequestError: naming the argument: a prompt of the wrong shape, dtype or length, or an option out of range.

        """
        check_simulates(self.bundle.config)
        prompt = conform_frames(prompt_PHWC, "prompt")
        if not 1 <= len(prompt) <= self.context_frames:
            raise RequestError("prompt", f"got {len(prompt)} frames, expected 1 to {self.context_frames}")
        if branches < 1:
            raise RequestError("branches", f"got {branches}, expected at least 1")
        checked = check_sampling(sampling or Sampling(), self.bundle.config)
        size = check_frame_size(frame_size, self.bundle.config, checked.maskgit_steps)
        return Rollout(self.bundle, prompt, branches, checked, size)

    def rollout(
        self,
        prompt_PHWC: NDArray[np.uint8],
        actions: Sequence[Action],
        sampling: Sampling | None = None,
        frame_size: tuple[int, int] | None = None,
    ) -> NDArray[np.uint8]:
        """Run one whole rollout; returns the frame after each action, (T, h, w, 3) uint8.

        Args:
            prompt_PHWC: as of `start`.
            actions: codes, or latents: the rows of (T, D).
            sampling: None: the defaults.
            frame_size: as of `start`.

        """
        self.check_actions(actions)
        rollout = self.start(prompt_PHWC, 1, sampling, frame_size)
        return np.concatenate([rollout.step([a]) for a in actions])

    def check_actions(self, actions: Sequence[Action], field: str = "actions") -> None:
        """Raise RequestError unless there is at least one action and each is a valid code or latent."""
        if len(actions) == 0:
            raise RequestError(field, "got none, expected at least 1 latent action")
        for a in actions:
            check_action(a, self.bundle.config, field)


class Rollout:
    """N simulations in progress, from one prompt. `step` takes one action and draws one frame in each.

    Attributes:
        branches: the simulations, which share the state of the prompt.
        maskgit_steps: per frame.

    """

    @torch.inference_mode()
    def __init__(
        self,
        bundle: Bundle,
        prompt_PHWC: NDArray[np.uint8],
        branches: int,
        sampling: CheckedSampling,
        size: tuple[int, int],
    ) -> None:
        self._bundle, self.maskgit_steps = bundle, sampling.maskgit_steps
        config, genie = bundle.config, bundle.genie
        pixels_1TCHW = bundle.pixels(resize_frames(prompt_PHWC, config.height, config.width)[None])
        quantizer = genie.lam.quantizer
        past: _Past | Moving
        if genie.mover is None:
            past, spoken_KD = self._past(pixels_1TCHW), quantizer.codebook
        else:
            latent_1TD = self._read_latents(pixels_1TCHW)
            ends_1TCHW = pixels_1TCHW
            if size != (config.height, config.width):  # of large frames only those that are remembered
                ends_1TCHW = bundle.pixels(resize_frames(prompt_PHWC[[0, -1]], *size)[None])
            past, spoken_KD = genie.mover.begin(ends_1TCHW, latent_1TD), genie.mover.spoken(quantizer, latent_1TD[0])
        self.branches = [SimulatedStream(bundle, past, sampling, spoken_KD) for _ in range(branches)]

    def _past(self, pixels_1TCHW: Tensor) -> _Past:
        genie = self._bundle.genie
        token_1TN = genie.tokenizer.encode(pixels_1TCHW)
        action_1TD = F.pad(self._read_actions(pixels_1TCHW), (0, 0, 1, 0))
        past_1TN = previous_tokens(token_1TN, genie.dynamics.mask_token)
        _, dynamics = genie.dynamics.stream(token_1TN, past_1TN, action_1TD, genie.dynamics.initial_state(1))
        _, decoder = genie.tokenizer.decode_stream(token_1TN, genie.tokenizer.decoder_state(1))
        return _Past(token_1TN[:, -1], dynamics, decoder)

    def _read_actions(self, pixels_1TCHW: Tensor) -> Tensor:
        quantizer = self._bundle.genie.lam.quantizer
        return quantizer.lookup(quantizer.nearest(self._read_latents(pixels_1TCHW)))

    def _read_latents(self, pixels_1TCHW: Tensor) -> Tensor:
        """Return latents between the frames of the prompt, (1, T - 1, D)."""
        lam = self._bundle.genie.lam
        if pixels_1TCHW.shape[1] == 1:
            return lam.quantizer.codebook.new_zeros(1, 0, self._bundle.config.lam.quantizer.dim)
        return lam.latents(self._bundle.genie.lam_view(pixels_1TCHW)).float()

    def check(self, actions: Sequence[Action]) -> None:
        """Raise RequestError unless there is one valid code or latent per branch."""
        if len(actions) != len(self.branches):
            raise RequestError(
                "actions", f"got {len(actions)} latent actions, expected {len(self.branches)}, one per branch"
            )
        for action in actions:
            check_action(action, self._bundle.config, "actions")

    def step(self, actions: Sequence[Action]) -> NDArray[np.uint8]:
        """Take one action in each branch: N codes or latents -> the next frames, (N, h, w, 3) uint8.

        Raises:
            RequestError: there is not one action per branch, or one is no code or latent of the model.

        """
        self.check(actions)
        # One by one: each branch is then its own rollout, bit for bit, while a batch may round otherwise. The service,
        # which knows the batches that do not (`inference/shapes`), draws branches together.
        return np.stack([draw_together([move])[0] for move in zip(self.branches, actions, strict=True)])


@dataclass(frozen=True)
class _Past:
    """State of B simulated streams: the tokens (B, N) of the newest frame, and the networks' temporal states."""

    token_BN: Tensor
    dynamics: TemporalState
    decoder: TemporalState

    @staticmethod
    def join(parts: list[_Past]) -> _Past:
        return _Past(
            torch.cat([p.token_BN for p in parts]),
            TemporalState.join([p.dynamics for p in parts]),
            TemporalState.join([p.decoder for p in parts]),
        )

    def split(self) -> list[_Past]:
        states = zip(torch.split(self.token_BN, 1), self.dynamics.split(), self.decoder.split(), strict=True)
        return [_Past(*state) for state in states]


class SimulatedStream:
    """One simulation in progress: its state, and the number of frames drawn. Advanced by `draw_together`.

    The state of a bundle with a mover is `Moving`. `spoken_KD` is what each code stands for.
    """

    def __init__(self, bundle: Bundle, past: _Past | Moving, sampling: CheckedSampling, spoken_KD: Tensor) -> None:
        self.bundle = bundle
        self.spoken_KD = spoken_KD
        self.sampling = sampling
        self.past = past
        self.frames = 0
        self._drawn: tuple[int, Future[Chance]] | None = None

    def chance(self) -> Chance:
        """Return the random numbers of the next frame, which depend only on the seed and the frame's number."""
        drawn, self._drawn = self._drawn, None
        if drawn is not None and drawn[0] == self.frames:
            return drawn[1].result()
        return self._chance_of(self.frames)

    def draw_ahead(self) -> None:
        """Draw the numbers of the frame after the next one beside the device's work: up to 0.1 s of the CPU's."""
        self._drawn = (self.frames + 1, _ahead().submit(self._chance_of, self.frames + 1))

    def _chance_of(self, frame: int) -> Chance:
        config = self.bundle.config
        generator = _frame_generator(self.sampling.seed, frame)
        return Chance.draw(config.tokens_per_frame, config.tokenizer.quantizer.codes, generator)


@lru_cache(maxsize=1)
def _ahead() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="chance")


@torch.inference_mode()
def draw_together(moves: Sequence[tuple[SimulatedStream, Action]]) -> list[NDArray[np.uint8]]:
    """Take one valid action in each of several streams of the same bundle that agree in MaskGIT steps and frame size.

    Returns:
        Frame of each stream, (h, w, 3) uint8. If anything fails, no stream has advanced.

    """
    streams = [stream for stream, _ in moves]
    bundle = streams[0].bundle
    action_BD = torch.stack([_vector(stream, action) for stream, action in moves])
    mover, pasts = bundle.genie.mover, [stream.past for stream in streams]
    after: list[_Past] | list[Moving]
    if mover is not None:
        now = Moving.join([past for past in pasts if isinstance(past, Moving)])
        mends = bundle.config.mends and streams[0].sampling.maskgit_steps > 0
        moving = _mend(bundle, streams, now, action_BD) if mends else mover.move(now, action_BD)
        pixels_BCHW, after = moving.frame_BCHW, moving.split()
    else:
        tokens = _Past.join([past for past in pasts if isinstance(past, _Past)])
        pixels_BCHW, after = _draw(bundle, streams, tokens, action_BD)
    drawn_BHWC: NDArray[np.uint8] = to_frames(pixels_BCHW[None])[0].cpu().numpy()
    for i, stream in enumerate(streams):
        stream.past = after[i]
        stream.frames += 1
    return list(drawn_BHWC)


def asked_for(stream: SimulatedStream, action: Action) -> Latent:
    """Return the latent that an action stands for in a stream, (D,)."""
    latent_D: Latent = _vector(stream, action).float().cpu().numpy()
    return latent_D


def _vector(stream: SimulatedStream, action: Action) -> Tensor:
    """Return an action as the networks take it, (D,): a code's latent, or a latent as the model would have read it."""
    bundle = stream.bundle
    if isinstance(action, np.ndarray):
        latent_D = torch.from_numpy(action.astype(np.float32)).to(bundle.device)
        return F.normalize(latent_D, dim=-1) if bundle.genie.lam.quantizer.round else latent_D
    return stream.spoken_KD[action]


def _draw(bundle: Bundle, streams: list[SimulatedStream], past: _Past, action_BD: Tensor) -> tuple[Tensor, list[_Past]]:
    """Draw the next frames, (B, 3, h, w), by the dynamics model; and the states after."""
    genie = bundle.genie
    with genie.dynamics.drawing(past.token_BN, action_BD, past.dynamics) as frame:
        token_BN = _tokens(bundle, streams, frame)
        # Once more with every token visible, for the state that later frames use.
        dynamics = genie.dynamics.remember(frame, token_BN)
    pixels_B1CHW, decoder = genie.tokenizer.decode_stream(token_BN[:, None], past.decoder)
    return pixels_B1CHW[:, 0], _Past(token_BN, dynamics, decoder).split()


def _mend(bundle: Bundle, streams: list[SimulatedStream], now: Moving, action_BD: Tensor) -> Moving:
    """Move frames, and draw by the dynamics model what cannot be moved."""
    genie, config = bundle.genie, bundle.config
    assert genie.mover is not None
    assert genie.mover.mending is not None
    moved = move_in_doubt(genie.mover, config.token_grid, now, action_BD)
    before_BN, told = read(genie.tokenizer, moved)
    state = genie.dynamics.initial_state(len(before_BN))
    frame = genie.dynamics.next_frame(before_BN, action_BD, state, told)
    after_BN = _tokens(bundle, streams, frame)
    drawn_BCHW, own_BCHW = genie.tokenizer.decode(torch.stack((after_BN, before_BN), dim=1)).unbind(1)
    tells_BN = tells(moved, drawn_BCHW, own_BCHW, genie.mover.mending.least_change)
    return Moving(mended(moved, before_BN, told, after_BN, drawn_BCHW, tells_BN), moved.moving.memory).rounded()


def _tokens(bundle: Bundle, streams: list[SimulatedStream], frame: NextFrame) -> Tensor:
    """Draw the tokens of a frame of each stream, (B, N)."""
    chance = Chance.join([stream.chance() for stream in streams], bundle.device)
    if bundle.device.type == "cuda":
        for stream in streams:
            stream.draw_ahead()
    return sample_frame(
        lambda token_BN, at_BM: bundle.genie.dynamics.reveal(frame, token_BN, at_BM),
        chance,
        steps=streams[0].sampling.maskgit_steps,
        temperature_B=torch.tensor([stream.sampling.temperature for stream in streams], device=bundle.device),
    )


def _frame_generator(seed: int, frame: int) -> torch.Generator:
    """Return the generator of one frame, which depends only on seed and frame number."""
    words = np.random.SeedSequence([seed, frame]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0] >> np.uint64(1)))


__all__ = [
    "Rollout",
    "SimulatedStream",
    "Simulator",
    "asked_for",
    "draw_together",
]
