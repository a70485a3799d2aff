"""Networks of the motion encoder: optical flow between two frames to a latent, and back to flow.

The encoder is odd by construction: swapping the frames negates the latent exactly, and two equal frames give zero.
Inputs that change sign with time (flow, change) pass through convolutions without bias and are only ever multiplied by
gates, which are computed from those that do not (mean image, magnitudes of motion, positions).

The decoder is linear in the latent: it computes one field of flow per component from the frame, and sums them weighted
by the latent, so that latents are as linear in motion as images allow: twice the motion, twice the latent. It sees what
is at a position but not the position itself, except for the six fields that a moving camera causes, so that a latent
says what the robot does and not which part of the image moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genie_core.models.config import WHOLE, MotionActionConfig

GRID = 32
"""Side of the grid on which flow and frames are sampled."""

PAN = 0.1
"""Weight of the motion of the whole image in a latent, per pixel: it hardly affects which code is nearest."""

_ODD, _EVEN = 7, 9
_STILL = 0.3
"""Magnitude of flow, in pixels of a 64-pixel frame, below which its direction fades out."""


def place_channels(like_NCHW: Tensor) -> Tensor:
    """Coordinate channels (N, 2, H, W): columns and rows from -1 to 1."""
    n, _, h, w = like_NCHW.shape
    x = torch.linspace(-1, 1, w, device=like_NCHW.device, dtype=like_NCHW.dtype).expand(n, 1, h, w)
    y = torch.linspace(-1, 1, h, device=like_NCHW.device, dtype=like_NCHW.dtype)[:, None].expand(n, 1, h, w)
    return torch.cat((x, y), dim=1)


def whole_motion(latent: Tensor) -> Tensor:
    """Return how far the whole image moves, by latents (..., D): (..., 2) columns and rows, pixels of 64 a side."""
    return latent[..., -WHOLE:] / PAN


@dataclass(frozen=True)
class Pairs:
    """N pairs of frames and the flow between them.

    Attributes:
        before_NCHW: (N, 3, GRID, GRID) the earlier frame, in [-0.5, 0.5].
        after_NCHW: the later one.
        there_NCHW: (N, 2, GRID, GRID) flow from the earlier to the later, pixels of a frame of `flow.UNIT` a side.
        back_NCHW: flow from the later to the earlier.
        whole_N2: motion of the whole image, columns and rows, that has been subtracted from the flow.

    """

    before_NCHW: Tensor
    after_NCHW: Tensor
    there_NCHW: Tensor
    back_NCHW: Tensor
    whole_N2: Tensor | None = None

    def steady(self) -> Pairs:
        """Subtract the motion of the whole image, the median of its flow, such as a shaking camera causes."""
        flow_N2P = ((self.there_NCHW - self.back_NCHW) / 2).flatten(2)
        # For an even count `median` takes the lower of the two middle values; negated flow must give a negated result.
        whole_N2 = (flow_N2P.median(-1).values - (-flow_N2P).median(-1).values) / 2
        whole_N211 = whole_N2[:, :, None, None]
        there, back = self.there_NCHW - whole_N211, self.back_NCHW + whole_N211
        return Pairs(self.before_NCHW, self.after_NCHW, there, back, whole_N2)

    def flow_by_places(self, places: int) -> Tensor:
        """Average the flow over places x places parts of the picture: (N, 2 * places^2), pixels."""
        flow_N2GG = (self.there_NCHW - self.back_NCHW) / 2
        if not places:
            return flow_N2GG.new_zeros(len(flow_N2GG), 0)
        return F.adaptive_avg_pool2d(flow_N2GG, places).flatten(1)

    def inputs(self) -> tuple[Tensor, Tensor]:
        """Return the encoder's inputs: channels that change sign when frames are swapped, and those that do not."""
        flow = (self.there_NCHW - self.back_NCHW) / 2
        size = flow.square().sum(1, keepdim=True).sqrt()
        change = self.after_NCHW - self.before_NCHW
        change = change - change.mean((2, 3), keepdim=True)  # the light's flicker is no motion
        odd = torch.cat((flow / 2, flow / (size + _STILL), 4 * change), dim=1)
        # Where the two flows disagree, neither is to be trusted.
        miss = (self.there_NCHW + self.back_NCHW).square().sum(1, keepdim=True).sqrt()
        mean = (self.before_NCHW + self.after_NCHW) / 2
        sizes = (torch.log1p(size), torch.log1p(miss), 4 * change.abs().mean(1, keepdim=True))
        speed = torch.log1p(size.mean((2, 3), keepdim=True)).expand_as(size)
        return odd, torch.cat((2 * mean, *sizes, speed, place_channels(mean)), dim=1)


class MotionEncoder(nn.Module):
    """Encodes pairs of frames and their flow into a wide vector, odd in time (`feature`), and that into the latent."""

    def __init__(self, config: MotionActionConfig) -> None:
        super().__init__()
        w, dim = config.width, config.quantizer.dim - WHOLE
        self.maps = config.maps
        self.even_in = nn.Conv2d(4 * _EVEN, w, 3, padding=1)
        self.odd_in = nn.Conv2d(4 * _ODD, w, 3, padding=1, bias=False)
        self.even = nn.ModuleList(nn.Conv2d(w, w, 3, padding=1) for _ in range(config.blocks))
        self.gates = nn.ModuleList(nn.Conv2d(w, w, 1) for _ in range(config.blocks + 1))
        self.odd = nn.ModuleList(nn.Conv2d(w, w, 3, padding=1, bias=False) for _ in range(config.blocks))
        self.attend = nn.Conv2d(w, config.maps, 1)
        self.mix = nn.Linear(w, config.maps * w)
        self.to_latent = nn.Linear(config.maps * w, dim, bias=False)

    def forward(self, odd_NCHW: Tensor, even_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Encode `Pairs.inputs` into feature (N, maps * width) and latent (N, dim)."""
        even = F.gelu(self.even_in(F.pixel_unshuffle(even_NCHW, 2)))
        odd = self.odd_in(F.pixel_unshuffle(odd_NCHW, 2)) * _gate(self.gates[0](even))
        for more_even, gate, more_odd in zip(self.even, self.gates[1:], self.odd, strict=True):
            even = even + F.gelu(more_even(even))
            odd = odd + more_odd(odd * _gate(gate(even)))
        where_NKP = self.attend(even).flatten(2).softmax(-1)
        pooled_NKW = where_NKP @ odd.flatten(2).transpose(1, 2)
        feature = pooled_NKW.flatten(1) * _gate(self.mix(even.mean((2, 3))))
        return feature, self.to_latent(feature)


class MotionDecoder(nn.Module):
    """Predicts, from a frame and a latent, flow forward from that frame and back to it, on half the grid."""

    def __init__(self, config: MotionActionConfig) -> None:
        super().__init__()
        w, dim = config.decoder_width, config.quantizer.dim - WHOLE
        self.dim = dim
        self.frame_in = nn.Conv2d(4 * 3, w, 3, padding=1, padding_mode="replicate")
        self.blocks = nn.ModuleList(
            nn.Conv2d(w, w, 3, padding=d, dilation=d, padding_mode="replicate") for d in (1, 2, 4)
        )
        self.basis = nn.Conv2d(w, 2 * dim, 1)
        self.camera = nn.Parameter(0.02 * torch.randn(dim, 2, 3))
        self.back_in = nn.Conv2d(w + 2, w // 2, 3, padding=1)
        self.back_mid = nn.Conv2d(w // 2, w // 2, 3, padding=2, dilation=2)
        self.back_out = nn.Conv2d(w // 2, 2, 3, padding=1)

    def forward(self, frame_NCHW: Tensor, latent_ND: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, GRID, GRID) and (N, dim) -> two of (N, 2, GRID / 2, GRID / 2), pixels of a 64-pixel frame.

        The first is flow from the frame to the next one, the second flow back. The second is computed from the first,
        but its loss does not train it.
        """
        x = F.gelu(self.frame_in(F.pixel_unshuffle(2 * frame_NCHW, 2)))
        for block in self.blocks:
            x = x + F.gelu(block(x))
        basis_ND2P = self.basis(x).reshape(len(x), self.dim, -1)
        there = torch.bmm(latent_ND[:, None].to(basis_ND2P.dtype), basis_ND2P).view(len(x), 2, *x.shape[2:])
        place_N2hw = place_channels(x)
        affine_N3hw = torch.cat((torch.ones_like(place_N2hw[:, :1]), place_N2hw), dim=1)
        camera_N23 = torch.einsum("nd,dcp->ncp", latent_ND.to(x.dtype), self.camera.to(x.dtype))
        there = there + torch.einsum("ncp,nphw->nchw", camera_N23, affine_N3hw)
        y = F.gelu(self.back_in(torch.cat((x, there), dim=1).detach()))
        y = y + F.gelu(self.back_mid(y))
        return there, self.back_out(y) - there.detach()

    @torch.no_grad()
    def mix(self, mixed_KK: Tensor) -> None:
        """Change the decoder so that it decodes z as it decoded mixed_KK @ z before."""
        for parameter in (*self.basis.parameters(), self.camera):
            of_number_KX = parameter.view(self.dim, -1)
            parameter.copy_((mixed_KK.T @ of_number_KX).view_as(parameter))


def _gate(x: Tensor) -> Tensor:
    return 2 * torch.sigmoid(x)


__all__ = ["GRID", "PAN", "MotionDecoder", "MotionEncoder", "Pairs", "place_channels", "whole_motion"]
