"""Vector quantization (van den Oord et al. 2017), cosine (as in Yu et al. 2022) or Euclidean.

With the metric ``cosine``, latents and codes have unit length. With ``euclidean`` they keep their length, and distances
are those between x / sqrt(1 + |x|^2 / r^2): near zero those of the latents themselves, while far out, where only large
motions are, direction decides. The usual length of latents is `QuantizerConfig.radii` times r.

Codes follow exponential moving averages of the latents assigned to them; a code unused for a while restarts at a
current latent, so that the codebook does not collapse.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genie_core.models.config import QuantizerConfig

_AS_GOOD = 0.01
"""Runs of k-means whose mean squared distance is within this share of the best count as equally good."""
_FIRST_WEIGHT = 0.1
"""Weight of the random initial codes, against 1 for each latent seen since: they are soon forgotten."""


@dataclass(frozen=True)
class Quantized:
    """Result of quantization.

    Attributes:
        vector: (..., dim) codebook vectors; gradients pass straight through to the latents.
        code: (...) int64 indices.
        loss: scalar, weighted commitment loss.

    """

    vector: Tensor
    code: Tensor
    loss: Tensor


@dataclass(frozen=True)
class Followed:
    """Latents that a codebook follows: which codes they have, and where they are.

    Attributes:
        chosen_K: (K,) float32, number of latents of each code.
        sums_KD: (K, dim) sum of the latents of each code.
        latents: number of latents.
        some_MD: (M, dim) some of the latents, or all, at which unused codes may restart.

    """

    chosen_K: Tensor
    sums_KD: Tensor
    latents: int
    some_MD: Tensor


class VectorQuantizer(nn.Module):
    """A codebook of unit vectors (metric ``cosine``) or of vectors of any length (``euclidean``)."""

    codebook: Tensor
    count_K: Tensor
    sum_KD: Tensor
    idle_K: Tensor
    radius: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        codes = F.normalize(torch.randn(config.codes, config.dim), dim=-1)
        self.register_buffer("codebook", codes)
        self.register_buffer("count_K", torch.full((config.codes,), _FIRST_WEIGHT / config.codes))
        self.register_buffer("sum_KD", codes * _FIRST_WEIGHT / config.codes)
        self.register_buffer("idle_K", torch.zeros(config.codes))
        self.held: list[Followed] | None = None
        self.round = config.metric == "cosine"
        if not self.round:
            self.register_buffer("radius", torch.ones(()))

    def nearest(self, latent: Tensor) -> Tensor:
        """(..., dim) latents -> (...) int64 index of the nearest code. Always computed in float32, even in autocast."""
        with torch.autocast(latent.device.type, enabled=False):
            return self._likeness(self._shorten(latent.float()), self._shorten(self.codebook)).argmax(dim=-1)

    def _shorten(self, latent: Tensor) -> Tensor:
        """Map latents into the ball of `radius`, where distances are taken."""
        if self.round:
            return latent
        return latent * (1 + latent.square().sum(-1, keepdim=True) / self.radius**2).rsqrt()

    def _lengthen(self, short: Tensor) -> Tensor:
        """Return the inverse of `_shorten`."""
        if self.round:
            return short
        return short * (1 - short.square().sum(-1, keepdim=True) / self.radius**2).clamp(min=1e-4).rsqrt()

    def _likeness(self, short: Tensor, code_KD: Tensor) -> Tensor:
        """(..., K), largest for the nearest code."""
        likeness = short @ code_KD.T
        return likeness if self.round else likeness - code_KD.square().sum(-1) / 2

    def lookup(self, code: Tensor) -> Tensor:
        """(...) int -> (..., dim) codes."""
        return F.embedding(code, self.codebook)

    def confidence(self, latent: Tensor) -> Tensor:
        """(..., dim) latents -> (...) in [0, 1]: (d2 - d1) / (d2 + d1) of the distances to the nearest two codes."""
        short, code_KD = self._shorten(latent.float()), self._shorten(self.codebook)
        distance: Tensor = (short.unsqueeze(-2) - code_KD).norm(dim=-1)
        d1, d2 = distance.topk(2, dim=-1, largest=False).values.unbind(-1)
        margin: Tensor = (d2 - d1) / (d2 + d1).clamp(min=1e-12)
        return margin

    def forward(self, latent: Tensor) -> Quantized:
        """Quantize (..., dim) latents; in training mode also move the codebook."""
        latent = latent.float()
        code = self.nearest(latent)
        if self.training:
            seen = self._seen(latent.detach().reshape(-1, self.config.dim), code.reshape(-1))
            if self.held is None:
                self.follow(seen)
            else:
                self.held.append(seen)
        vector = self.lookup(code)
        loss = self.config.commitment * F.mse_loss(latent, vector)
        return Quantized(latent + (vector - latent).detach(), code, loss)

    def pass_noisy(self, latent: Tensor, noise: float) -> Quantized:
        """Replace `forward` before there are codes: (..., dim) latents plus Gaussian noise of norm about `noise`."""
        scale = noise * self.config.dim**-0.5
        vector = latent + scale * torch.randn_like(latent)
        return Quantized(vector, self.nearest(latent.detach()), latent.new_zeros(()))

    @torch.no_grad()
    def _seen(self, latent_MD: Tensor, code_M: Tensor) -> Followed:
        chosen_K = torch.bincount(code_M, minlength=self.config.codes).float()
        sums_KD = torch.zeros_like(self.sum_KD).index_add_(0, code_M, self._shorten(latent_MD))
        return Followed(chosen_K, sums_KD, len(latent_MD), latent_MD)

    @torch.no_grad()
    def follow(self, seen: Followed) -> None:
        """Update the moving averages of each code's share of latents and of their sum.

        Called by `forward`, unless `held` is a list: it then collects what is seen there, for whoever computes a step
        in several pieces, or processes, to join and follow once a step.
        """
        c = self.config
        self.count_K.lerp_(seen.chosen_K / seen.latents, 1 - c.decay)
        self.sum_KD.lerp_(seen.sums_KD / seen.latents, 1 - c.decay)
        self.idle_K.add_(1).masked_fill_(seen.chosen_K > 0, 0)
        self.codebook.copy_(self._lengthen(self._centre(self.sum_KD, self.count_K)))
        dead = (self.idle_K >= c.revive_after).nonzero().squeeze(-1)
        some_MD = seen.some_MD
        if len(dead) and len(some_MD):
            picks = some_MD[torch.randint(len(some_MD), (len(dead),), device=some_MD.device)]
            self._place(dead, picks)

    def _centre(self, sum_KD: Tensor, count_K: Tensor) -> Tensor:
        """Centre of each code's latents, in the coordinates of `_shorten`."""
        if self.round:
            return F.normalize(sum_KD, dim=-1)
        return sum_KD / count_K.clamp(min=1e-12)[:, None]

    def _place(self, index: Tensor, latents: Tensor) -> None:
        """Restart codes at the given latents, with the weight of an average code."""
        weight = self.count_K.mean()
        self.codebook[index] = latents
        self.sum_KD[index] = self._shorten(latents) * weight
        self.count_K[index] = weight
        self.idle_K[index] = 0

    @torch.no_grad()
    def settle(self) -> None:
        """Reset the moving averages to match the current codes, with equal shares."""
        self.count_K.fill_(1 / self.config.codes)
        self.sum_KD.copy_(self._shorten(self.codebook) / self.config.codes)
        self.idle_K.zero_()

    @torch.no_grad()
    def fit(
        self,
        latent_MD: Tensor,
        iterations: int = 25,
        restarts: int = 1,
        *,
        usual_norm: float | None = None,
        reach: float = 1,
    ) -> None:
        """Initialise the codebook by k-means (k-means++ seeding; spherical for the cosine metric) on (M, dim) latents.

        The best of `restarts` runs is kept, by mean squared distance. Latents of the metric ``euclidean`` change their
        sign with time: of the runs that are about as good as the best, the one whose codes are most nearly pairs of
        opposites is kept.

        Args:
            latent_MD: (M, dim).
            iterations: of each run.
            restarts: runs.
            usual_norm: usual length of latents of the metric ``euclidean``, which gives `radius`; None: their median.
            reach: how far from zero codes of the metric ``euclidean`` are put, as a share of where k-means has them;
                the one nearest to zero stays. Below 1 fewer large latents, of no code's direction, count as stillness.

        """
        with torch.autocast(latent_MD.device.type, enabled=False):
            latent_MD = latent_MD.float()
            if not self.round:
                usual = latent_MD.norm(dim=-1).median() if usual_norm is None else torch.tensor(usual_norm)
                self.radius.copy_((usual / self.config.radii).clamp(min=1e-6))
            short_MD = self._shorten(latent_MD)
            found = [self._clusters(short_MD, iterations) for _ in range(restarts)]
            best = min(found, key=lambda clusters: clusters[2])
            if not self.round:
                as_good = [clusters for clusters in found if clusters[2] <= (1 + _AS_GOOD) * best[2]]
                best = min(as_good, key=lambda clusters: _unpaired(clusters[0]))
            centre_KD, share_K, _ = best
            if not self.round:
                centre_KD = _drawn_in(centre_KD, reach)
            self.codebook.copy_(self._lengthen(centre_KD))
            self.count_K.copy_(share_K)
            self.sum_KD.copy_(centre_KD * share_K[:, None])
            self.idle_K.zero_()

    @torch.no_grad()
    def split(self, code: int, latent_MD: Tensor) -> None:
        """Share out the latents of one code among two: another code goes, the one that costs least to merge with one.

        Centres are not moved further, which would undo it. Nothing changes where there are only two codes, or the code
        has fewer than two latents.

        Args:
            code: the one to split.
            latent_MD: (M, dim) latents that the codebook was fitted to.

        """
        short_MD = self._shorten(latent_MD.float())
        code_M = self.nearest(latent_MD)
        own_ND = short_MD[code_M == code]
        others = [k for k in range(self.config.codes) if k != code]
        if len(others) < 2 or len(own_ND) < 2:
            return
        number_K = torch.bincount(code_M, minlength=self.config.codes).float()
        centre_KD = self._shorten(self.codebook)
        kept, gone = self._nearest_pair(others, centre_KD, number_K)
        both_D = centre_KD[kept] * number_K[kept] + centre_KD[gone] * number_K[gone]
        weight = number_K[kept] + number_K[gone]
        if weight > 0:
            centre_KD[kept] = self._centre(both_D[None], weight[None])[0]
        first_D, second_D = self._halves(own_ND)
        centre_KD[code], centre_KD[gone] = first_D, second_D
        self.codebook.copy_(self._lengthen(centre_KD))
        self.settle()

    @staticmethod
    def _nearest_pair(among: list[int], centre_KD: Tensor, number_K: Tensor) -> tuple[int, int]:
        """Return the two codes whose merging adds least to the squared distances from centres (Ward's criterion)."""
        pairs = [(a, b) for place, a in enumerate(among) for b in among[place + 1 :]]
        weight = [float(number_K[a] * number_K[b] / (number_K[a] + number_K[b]).clamp(min=1)) for a, b in pairs]
        cost = [
            w * float((centre_KD[a] - centre_KD[b]).square().sum()) for w, (a, b) in zip(weight, pairs, strict=True)
        ]
        return pairs[min(range(len(pairs)), key=cost.__getitem__)]

    def _halves(self, short_ND: Tensor, iterations: int = 25) -> tuple[Tensor, Tensor]:
        """Two centres of the latents, by k-means from the ends of their longest direction."""
        middle_D = short_ND.mean(0)
        direction_D = torch.linalg.svd(short_ND - middle_D, full_matrices=False).Vh[0]
        upper_N = (short_ND - middle_D) @ direction_D > 0
        for _ in range(iterations):
            if upper_N.all() or not upper_N.any():
                break
            halves = torch.stack((short_ND[~upper_N].sum(0), short_ND[upper_N].sum(0)))
            number = torch.stack(((~upper_N).sum(), upper_N.sum())).float()
            centre_2D = self._centre(halves, number)
            upper_N = self._likeness(short_ND, centre_2D).argmax(1) == 1
        else:
            return centre_2D[0], centre_2D[1]
        return middle_D - 1e-3 * direction_D, middle_D + 1e-3 * direction_D

    @torch.no_grad()
    def reorder(self, order_K: Tensor) -> None:
        """Renumber the codes: code k becomes what order_K[k] was; (K,) int64, a permutation."""
        for buffer in (self.codebook, self.count_K, self.sum_KD, self.idle_K):
            buffer.copy_(buffer[order_K.to(buffer.device)].clone())

    def _clusters(self, short_MD: Tensor, iterations: int) -> tuple[Tensor, Tensor, float]:
        """Run k-means on (M, dim) latents: centres (K, dim), their shares (K,), and the mean squared distance."""
        K, M = self.config.codes, len(short_MD)
        picks = [int(torch.randint(M, (1,)))]
        distance_M = torch.full((M,), torch.inf, device=short_MD.device)
        for _ in range(K - 1):
            last_M = (short_MD - short_MD[picks[-1]]).square().sum(-1)
            distance_M = torch.minimum(distance_M, last_M).clamp(min=1e-9)
            picks.append(int(torch.multinomial(distance_M, 1)))
        centres = short_MD[picks]
        for _ in range(iterations):
            code_M = self._likeness(short_MD, centres).argmax(dim=1)
            sums = torch.zeros_like(centres).index_add_(0, code_M, short_MD)
            number_K = torch.bincount(code_M, minlength=K).float()
            centres = torch.where(number_K[:, None] == 0, centres, self._centre(sums, number_K))
        spread = float((short_MD - centres[code_M]).square().sum(-1).mean())
        return centres, (number_K / M).clamp(min=1e-3 / K), spread


def _drawn_in(centre_KD: Tensor, reach: float) -> Tensor:
    """Scale centres by `reach`, all but the one nearest to zero."""
    share_K1 = torch.full_like(centre_KD[:, :1], reach)
    share_K1[centre_KD.norm(dim=-1).argmin()] = 1
    return share_K1 * centre_KD


def _unpaired(centre_KD: Tensor) -> float:
    """0 where each centre's opposite is one, too; 1 about where none is."""
    apart_KK = (centre_KD[:, None] + centre_KD[None]).square().sum(-1)
    return float(apart_KK.amin(1).mean() / centre_KD.square().sum(-1).mean().clamp(min=1e-12))


def perplexity(code: Tensor, codes: int) -> float:
    """Return the perplexity of code usage, 1 to `codes`: the exponential of the entropy of their shares."""
    share = torch.bincount(code.reshape(-1), minlength=codes).float() / max(1, code.numel())
    return float(torch.exp(-(share * share.clamp(min=1e-12).log()).sum()))


__all__ = ["Followed", "Quantized", "VectorQuantizer", "perplexity"]
