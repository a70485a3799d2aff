"""Simulation by moving pictures (beyond the paper): a frame and a latent -> where each place of the next frame was.

The network predicts backward optical flow on the grid that the motion encoder reads, and the frame is warped by it. So
rollouts keep the look of any video, and show nothing that the frame did not: what comes into view is stretched.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genie_core.models.config import MoverConfig
from genie_core.models.flow import UNIT
from genie_core.models.motion import GRID, place_channels
from genie_core.models.patches import to_frames, to_pixels
from genie_core.models.quantizer import VectorQuantizer

_PRIOR = 2.0
"""How many latents of the prompt what a code stands for elsewhere counts as."""

_STILL = 0.05
"""Root mean square of a latent, of which the median pair has 1, at which half of what the network says is done."""


class FrameMover(nn.Module):
    """Moves frames as latents say. A latent of zero moves nothing, exactly."""

    spoken_codebook: Tensor

    def __init__(self, config: MoverConfig, latent_dim: int, codes: int) -> None:
        super().__init__()
        w, half = config.width, max(1, config.width // 2)
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
        self.fine_out = nn.Conv2d(half, 2, 3, padding=1, padding_mode="replicate")
        self.speaks = config.spoken_codes
        if self.speaks:
            self.register_buffer("spoken_codebook", torch.zeros(codes, latent_dim))

    def forward(self, frame_NCHW: Tensor, latent_ND: Tensor) -> Tensor:
        """Return frames (N, 3, H, W) in [-0.5, 0.5] and latents (N, D) -> (N, 2, GRID, GRID).

        That is the flow from the next frame's pixels back to the given one's, in pixels of a frame of `UNIT` a side.
        """
        small = F.interpolate(frame_NCHW, (2 * GRID, 2 * GRID), mode="area")
        fine = F.gelu(self.fine_in(F.pixel_unshuffle(2 * small, 2)))
        coarse = F.pixel_unshuffle(fine, 2)
        coarse = F.gelu(self.coarse_in(torch.cat((coarse, place_channels(coarse)), dim=1)))
        size_N1 = latent_ND.square().mean(1, keepdim=True).sqrt()
        told_ND = torch.cat((latent_ND / (1 + size_N1.square()).sqrt(), torch.log1p(size_N1)), dim=1)
        turns = self.action(told_ND.to(coarse.dtype))[:, :, None, None].chunk(max(1, 2 * len(self.blocks)), dim=1)
        for block, gain, shift in zip(self.blocks, turns[0::2], turns[1::2], strict=True):
            coarse = coarse + F.gelu(block(coarse) * (1 + gain) + shift)
        up = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
        fine = F.gelu(self.fine_mid(torch.cat((fine, up), dim=1)))
        share_N111 = (size_N1 / (size_N1 + _STILL))[:, :, None, None]
        back_N2GG: Tensor = self.fine_out(fine).float() * share_N111.float()
        return back_N2GG

    def spoken(self, quantizer: VectorQuantizer, prompt_ND: Tensor) -> Tensor:
        """Return what each code stands for in a rollout, (K, D): the mean of the prompt's latents that it was read off.

        A code of the quantizer is the middle of its latents in a metric in which size hardly counts, so that it is
        shorter than they are, and stands for the motions of many robots. The prompt shows this one's. What the code
        stands for elsewhere (`spoken_codebook`, else the code itself) counts as `_PRIOR` latents more.

        Args:
            quantizer: of the latents.
            prompt_ND: (N, D) latents of the prompt, N may be 0.

        """
        elsewhere_KD = self.spoken_codebook.float() if self.speaks else quantizer.codebook
        return code_means(quantizer, prompt_ND, elsewhere_KD, _PRIOR)

    def move(self, frame_NCHW: Tensor, latent_ND: Tensor) -> Tensor:
        """Return the next frames, (N, 3, H, W), rounded to 8 bits: going on from a returned frame changes nothing."""
        dtype = self.fine_in.weight.dtype
        back = self(frame_NCHW.to(dtype), latent_ND.to(dtype))
        return to_pixels(to_frames(warp(frame_NCHW.float(), back)[None]))[0]


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


def warp(x_NCHW: Tensor, back_N2hw: Tensor) -> Tensor:
    """Move pictures: the pixel at p comes from p + back(p), read bicubically; what comes from outside repeats the edge.

    Args:
        x_NCHW: pictures.
        back_N2hw: flow from the moved picture back to `x_NCHW` on any grid, in pixels of a picture of `UNIT` a side.

    """
    H, W = x_NCHW.shape[-2:]
    back_N2HW = F.interpolate(back_N2hw, (H, W), mode="bilinear", align_corners=False)
    y = (torch.arange(H, device=x_NCHW.device) + 0.5) * 2 / H - 1
    x = (torch.arange(W, device=x_NCHW.device) + 0.5) * 2 / W - 1
    at_NHW2 = torch.stack((x.expand(H, W), y[:, None].expand(H, W)), -1) + back_N2HW.permute(0, 2, 3, 1) * (2 / UNIT)
    return F.grid_sample(x_NCHW, at_NHW2, mode="bicubic", padding_mode="border", align_corners=False)


__all__ = ["FrameMover", "code_means", "warp"]
