"""Vector quantization on the unit sphere (van den Oord et al. 2017; cosine codes as in Yu et al. 2022).

Latents and codes have unit length. Codes follow exponential moving averages of the latents that choose them, and a code
that nobody has chosen for a while restarts at a live latent, so that the codebook does not collapse.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genie_core.models.config import QuantizerConfig


@dataclass(frozen=True)
class Quantized:
    """What quantizing gives.

    Attributes:
        vector: (..., dim) the chosen codes; gradients pass straight through to the latents.
        code: (...) int64.
        loss: scalar, the commitment of latents to their codes, weighted.

    """

    vector: Tensor
    code: Tensor
    loss: Tensor


class VectorQuantizer(nn.Module):
    """A codebook of unit vectors."""

    codebook: Tensor
    count_K: Tensor
    sum_KD: Tensor
    idle_K: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        codes = F.normalize(torch.randn(config.codes, config.dim), dim=-1)
        self.register_buffer("codebook", codes)
        self.register_buffer("count_K", torch.ones(config.codes))
        self.register_buffer("sum_KD", codes.clone())
        self.register_buffer("idle_K", torch.zeros(config.codes))

    def nearest(self, latent: Tensor) -> Tensor:
        """(..., dim) unit latents -> (...) int64 index of the nearest code."""
        return (latent.float() @ self.codebook.T).argmax(dim=-1)

    def lookup(self, code: Tensor) -> Tensor:
        """(...) int -> (..., dim) codes."""
        return F.embedding(code, self.codebook)

    def confidence(self, latent: Tensor) -> Tensor:
        """(..., dim) unit latents -> (...) in [0, 1]: (d2 - d1) / (d2 + d1) of distances to the nearest two codes."""
        distance: Tensor = (latent.float().unsqueeze(-2) - self.codebook).norm(dim=-1)
        d1, d2 = distance.topk(2, dim=-1, largest=False).values.unbind(-1)
        margin: Tensor = (d2 - d1) / (d2 + d1).clamp(min=1e-12)
        return margin

    def forward(self, latent: Tensor) -> Quantized:
        """Quantize (..., dim) unit latents; in training mode also move the codebook."""
        latent = latent.float()
        code = self.nearest(latent)
        if self.training:
            self._follow(latent.detach().reshape(-1, self.config.dim), code.reshape(-1))
        vector = self.lookup(code)
        loss = self.config.commitment * F.mse_loss(latent, vector)
        return Quantized(latent + (vector - latent).detach(), code, loss)

    def pass_noisy(self, latent: Tensor, noise: float) -> Quantized:
        """What `forward` gives before codes: (..., dim) latents with Gaussian noise of norm about `noise`."""
        scale = noise * self.config.dim**-0.5
        vector = latent + scale * torch.randn_like(latent)
        return Quantized(vector, self.nearest(latent.detach()), latent.new_zeros(()))

    @torch.no_grad()
    def _follow(self, latent_MD: Tensor, code_M: Tensor) -> None:
        c = self.config
        chosen_K = torch.bincount(code_M, minlength=c.codes).float()
        sums_KD = torch.zeros_like(self.sum_KD).index_add_(0, code_M, latent_MD)
        self.count_K.lerp_(chosen_K, 1 - c.decay)
        self.sum_KD.lerp_(sums_KD, 1 - c.decay)
        self.idle_K.add_(1).masked_fill_(chosen_K > 0, 0)
        self.codebook.copy_(F.normalize(self.sum_KD, dim=-1))
        dead = (self.idle_K >= c.revive_after).nonzero().squeeze(-1)
        if len(dead) and len(latent_MD):
            picks = latent_MD[torch.randint(len(latent_MD), (len(dead),), device=latent_MD.device)]
            self._place(dead, picks)

    def _place(self, index: Tensor, latents: Tensor) -> None:
        """Restart codes at given unit latents, with the weight of an average code."""
        weight = self.count_K.mean().clamp(min=1e-3)
        self.codebook[index] = latents
        self.sum_KD[index] = latents * weight
        self.count_K[index] = weight
        self.idle_K[index] = 0

    @torch.no_grad()
    def fit(self, latent_MD: Tensor, iterations: int = 25) -> None:
        """Start the codebook by spherical k-means (k-means++ seeding) on (M, dim) unit latents."""
        K, M = self.config.codes, len(latent_MD)
        picks = [int(torch.randint(M, (1,)))]
        distance_M = torch.full((M,), torch.inf, device=latent_MD.device)
        for _ in range(K - 1):
            distance_M = torch.minimum(distance_M, 2 - 2 * (latent_MD @ latent_MD[picks[-1]])).clamp(min=1e-9)
            picks.append(int(torch.multinomial(distance_M, 1)))
        centres = latent_MD[picks]
        for _ in range(iterations):
            code_M = (latent_MD @ centres.T).argmax(dim=1)
            sums = torch.zeros_like(centres).index_add_(0, code_M, latent_MD)
            empty = torch.bincount(code_M, minlength=K) == 0
            centres = torch.where(empty[:, None], centres, F.normalize(sums, dim=-1))
        share_K = torch.bincount(code_M, minlength=K).float() / len(latent_MD)
        self.codebook.copy_(centres)
        self.count_K.copy_(share_K.clamp(min=1e-3))
        self.sum_KD.copy_(centres * self.count_K[:, None])
        self.idle_K.zero_()


def perplexity(code: Tensor, codes: int) -> float:
    """Effective number of codes in use: the exponential of the entropy of their shares, 1 to `codes`."""
    share = torch.bincount(code.reshape(-1), minlength=codes).float() / max(1, code.numel())
    return float(torch.exp(-(share * share.clamp(min=1e-12).log()).sum()))


__all__ = ["Quantized", "VectorQuantizer", "perplexity"]
