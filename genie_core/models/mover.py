"""Simulation by moving pictures (beyond the paper): a frame and a latent -> where each place of the next frame was.

The network predicts backward optical flow on the grid that the motion encoder reads, and the frame is warped by it. So
rollouts keep the look of any video. Alone, that shows nothing that the frame did not, and stretches what comes into
view; so each moved frame is mended by what the rollout remembers of where it began.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genie_core.models.config import MoverConfig
from genie_core.models.motion import GRID, place_channels, whole_motion
from genie_core.models.patches import to_frames, to_pixels
from genie_core.models.quantizer import VectorQuantizer
from genie_core.models.refiner import FrameRefiner, Memory, done_share, steadied
from genie_core.models.warp import spread_to, warp

_PRIOR = 2.0
"""How many latents of the prompt what a code stands for elsewhere counts as."""

_PENALTY = 1.0
"""Of squared weights, in the fit of the flow that latents tell by themselves."""


@dataclass(frozen=True)
class Moving:
    """State of B simulated streams: their newest frames, and what they remember; None if nothing.

    Attributes:
        frame_BCHW: in [-0.5, 0.5].
        memory: of the streams' prompts.

    """

    frame_BCHW: Tensor
    memory: Memory | None

    def rounded(self) -> Moving:
        """Round frames to 8 bits, as they are shown."""
        return Moving(to_pixels(to_frames(self.frame_BCHW[None]))[0], self.memory)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Return all that is held, the frame first."""
        return (self.frame_BCHW, *(() if self.memory is None else self.memory.tensors))

    @staticmethod
    def join(parts: Sequence[Moving]) -> Moving:
        """Join several streams into one batch; all have a memory, or none has."""
        frame_BCHW, *memory = (torch.cat(same) for same in zip(*(part.tensors for part in parts), strict=True))
        return Moving(frame_BCHW, Memory(*memory) if memory else None)

    def split(self) -> list[Moving]:
        """Split a batch into its streams."""
        parts = zip(*(torch.split(tensor, 1) for tensor in self.tensors), strict=True)
        return [Moving(frame, Memory(*memory) if memory else None) for frame, *memory in parts]


class FrameMover(nn.Module):
    """Moves frames as latents say. A latent of zero moves nothing, exactly."""

    spoken_codebook: Tensor

    def __init__(self, config: MoverConfig, latent_dim: int, codes: int) -> None:
        super().__init__()
        w, half = config.width, max(1, config.width // 2)
        self.places = config.places
        if config.places:
            self.to_places = nn.Linear(latent_dim, 2 * config.places**2, bias=False)
            nn.init.zeros_(self.to_places.weight)  # until `fit_places`
            self.told_coarse = nn.Conv2d(2, w, 3, padding=1, padding_mode="replicate", bias=False)
            self.told_fine = nn.Conv2d(2, half, 3, padding=1, padding_mode="replicate", bias=False)
        self.fine_in = nn.Conv2d(4 * 3, half, 3, padding=1, padding_mode="replicate")
        self.coarse_in = nn.Conv2d(4 * half + 2, w, 1)
        self.action = nn.Sequential(
            nn.Linear(latent_dim + 1, 2 * w), nn.GELU(), nn.Linear(2 * w, 2 * w * config.blocks)
        )
        dilations = (1, 2, 4)
        self.blocks = nn.ModuleList(
            nn.Conv2d(w, w, 3, padding=d, dilation=d, padding_mode="replicate")
            for d in (dilations[i % len(dilations)] for i in range(config.blocks))
        )
        self.fine_mid = nn.Conv2d(w + half, half, 3, padding=1, padding_mode="replicate")
        self.fine_out = nn.Conv2d(half, 3 if config.places else 2, 3, padding=1, padding_mode="replicate")
        self.refiner = None if config.refiner is None else FrameRefiner(config.refiner)
        self.mending = config.mending
        self.steady_share, self.steady_px = config.steady_share, config.steady_px
        self.speaks = config.spoken_codes
        if self.speaks:
            self.register_buffer("spoken_codebook", torch.zeros(codes, latent_dim))

    def forward(self, frame_NCHW: Tensor, latent_ND: Tensor) -> Tensor:
        """Return frames (N, 3, H, W) in [-0.5, 0.5] and latents (N, D) -> (N, 2, GRID, GRID).

        That is the flow from the next frame's pixels back to the given one's, in pixels of a frame of `UNIT` a side.
        """
        size_N1 = latent_ND.square().mean(1, keepdim=True).sqrt()
        unit_N1 = (1 + size_N1.square()).sqrt()
        told_N2GG = self.told_flow(latent_ND) if self.places else None
        small = F.interpolate(frame_NCHW, (2 * GRID, 2 * GRID), mode="area")
        fine = F.gelu(self.fine_in(F.pixel_unshuffle(2 * small, 2)))
        coarse = F.pixel_unshuffle(fine, 2)
        coarse = self.coarse_in(torch.cat((coarse, place_channels(coarse)), dim=1))
        if told_N2GG is not None:
            seen_N2GG = (told_N2GG / unit_N1[:, :, None, None]).to(coarse.dtype)
            coarse = coarse + self.told_coarse(F.avg_pool2d(seen_N2GG, 2))
        coarse = F.gelu(coarse)
        told_ND = torch.cat((latent_ND / unit_N1, torch.log1p(size_N1)), dim=1)
        turns = self.action(told_ND.to(coarse.dtype))[:, :, None, None].chunk(max(1, 2 * len(self.blocks)), dim=1)
        for block, gain, shift in zip(self.blocks, turns[0::2], turns[1::2], strict=True):
            coarse = coarse + F.gelu(block(coarse) * (1 + gain) + shift)
        up = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
        fine = self.fine_mid(torch.cat((fine, up), dim=1))
        if told_N2GG is not None:
            fine = fine + self.told_fine(seen_N2GG)
        out = self.fine_out(F.gelu(fine)).float()
        back_N2GG: Tensor = out[:, :2] * done_share(size_N1)[:, :, None, None].float()
        if told_N2GG is not None:
            back_N2GG = torch.lerp(back_N2GG, told_N2GG, torch.sigmoid(out[:, 2:]))
        return back_N2GG

    def told_flow(self, latent_ND: Tensor) -> Tensor:
        """Return the flow that latents (N, D) tell by themselves, (N, 2, GRID, GRID), as that of `forward`.

        Raises ValueError if the configuration has no `places`.
        """
        if not self.places:
            raise ValueError("places: got a mover whose latents tell no flow by themselves")
        told_NF = self.to_places(latent_ND.to(self.to_places.weight.dtype)).float()
        told_N2PP = told_NF.view(-1, 2, self.places, self.places)
        return F.interpolate(told_N2PP, (GRID, GRID), mode="bilinear", align_corners=False)

    @torch.no_grad()
    def fit_places(self, latent_ND: Tensor, back_N2GG: Tensor, still: float) -> None:
        """Fit the flow that latents tell by themselves: least squares over the flow's own size, with a small penalty.

        Args:
            latent_ND: (N, D).
            back_N2GG: flow of their pairs, as `forward` returns it.
            still: mean squared flow below which an error counts for less.

        Raises:
            ValueError: the configuration has no `places`.

        """
        if not self.places:
            raise ValueError("places: got a mover whose latents tell no flow by themselves")
        flow_NF = F.adaptive_avg_pool2d(back_N2GG, self.places).flatten(1).double()
        latent_ND = latent_ND.double()
        weighed_ND = latent_ND / (flow_NF.square().mean(1, keepdim=True) + still)
        penalty_DD = _PENALTY * torch.eye(latent_ND.shape[1], dtype=torch.float64, device=latent_ND.device)
        fitted_DF = torch.linalg.solve(weighed_ND.T @ latent_ND + penalty_DD, weighed_ND.T @ flow_NF)
        self.to_places.weight.copy_(fitted_DF.T)

    def spoken(self, quantizer: VectorQuantizer, prompt_ND: Tensor) -> Tensor:
        """Return what each code stands for in a rollout, (K, D): the mean of the prompt's latents that it was read off.

        A code of the quantizer is the middle of its latents in a metric in which size hardly counts, so that it is
        shorter than they are, and stands for the motions of many robots. The prompt shows this one's. What the code
        stands for elsewhere (`spoken_codebook`, else the code itself) counts as `_PRIOR` latents more.

        Args:
            quantizer: of the latents.
            prompt_ND: (N, D) latents of the prompt, N may be 0.

        """
        return code_means(quantizer, prompt_ND, self._elsewhere(quantizer), _PRIOR)

    def told(self, quantizer: VectorQuantizer, prompt_BTD: Tensor, code_BS: Tensor) -> Tensor:
        """Return `spoken` of codes (B, S) in rollouts with prompts (B, T, D) of latents, T may be 0: (B, S, D)."""
        prior_BSD = F.embedding(code_BS, self._elsewhere(quantizer))
        same_BST = (code_BS[:, :, None] == quantizer.nearest(prompt_BTD)[:, None]).to(prior_BSD)
        count_BS1 = same_BST.sum(-1, keepdim=True)
        mean_BSD = (same_BST @ prompt_BTD.to(prior_BSD) + _PRIOR * prior_BSD) / (count_BS1 + _PRIOR)
        return torch.where(count_BS1 > 0, mean_BSD, prior_BSD)

    def _elsewhere(self, quantizer: VectorQuantizer) -> Tensor:
        """Return what codes stand for where there is no prompt, (K, D)."""
        return self.spoken_codebook.float() if self.speaks else quantizer.codebook

    @property
    def remembers(self) -> bool:
        """Whether rollouts remember where they began, and mend frames by that."""
        return self.refiner is not None or self.mending is not None or self.steady_px > 0

    def begin(self, prompt_BTCHW: Tensor, latent_BTD: Tensor) -> Moving:
        """Begin with prompts (B, T, 3, H, W) in [-0.5, 0.5] and the latents between their frames, (B, T - 1, D)."""
        memory = Memory.begin(prompt_BTCHW, whole_motion(latent_BTD).float()) if self.remembers else None
        return Moving(prompt_BTCHW[:, -1], memory)

    def move(self, now: Moving, latent_BD: Tensor) -> Moving:
        """Take a step with latents (B, D); one of zero leaves frames as they are, exactly.

        Frames are rounded to 8 bits, as they are shown. Without a memory, a rollout that begins with a frame that was
        shown is the same as one that goes on.
        """
        dtype = self.fine_in.weight.dtype
        back_B2GG = self(now.frame_BCHW.to(dtype), latent_BD.to(dtype))
        return self.shown(now, back_B2GG, latent_BD).rounded()

    def shown(self, now: Moving, back_B2GG: Tensor, latent_BD: Tensor) -> Moving:
        """Move frames by the flow that `forward` found for latents (B, D), and mend them; they are not rounded."""
        frame_BCHW = now.frame_BCHW.float()
        if now.memory is None:
            return Moving(warp(frame_BCHW, back_B2GG), now.memory)
        back_B2HW = spread_to(back_B2GG, *frame_BCHW.shape[-2:])
        whole_B2, size_B1 = whole_motion(latent_BD).float(), latent_BD.float().square().mean(1, keepdim=True).sqrt()
        memory = now.memory.after(back_B2HW, whole_B2)
        if self.refiner is not None:
            return Moving(self.refiner(frame_BCHW, back_B2HW, whole_B2, size_B1, memory), memory)
        moved_BCHW = warp(frame_BCHW, back_B2HW)
        return Moving(steadied(moved_BCHW, size_B1, memory, self.steady_share, self.steady_px), memory)


def code_means(quantizer: VectorQuantizer, latent_ND: Tensor, prior_KD: Tensor, weight: float) -> Tensor:
    """Mean of each code's latents and its prior, which counts as `weight` latents: (K, D); without any, the prior.

    Args:
        quantizer: assigns the codes.
        latent_ND: (N, D).
        prior_KD: (K, D).
        weight: above 0.

    """
    code_N = quantizer.nearest(latent_ND)
    count_K1 = torch.bincount(code_N, minlength=len(prior_KD)).to(latent_ND)[:, None]
    sum_KD = torch.zeros_like(prior_KD).index_add_(0, code_N, latent_ND.to(prior_KD.dtype))
    mean_KD: Tensor = torch.where(count_K1 > 0, (sum_KD + weight * prior_KD) / (count_K1 + weight), prior_KD)
    return mean_KD


__all__ = ["FrameMover", "Moving", "code_means"]
