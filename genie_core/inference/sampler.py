"""MaskGIT sampling of one frame's tokens (Chang et al. 2022; Bruce et al. 2024, Section 2.2).

The network is a function passed in. Hidden tokens are revealed in random order on a cosine schedule. (Revealing the
most confident first tends to copy the frame before.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def revealed_after(steps: int, tokens: int) -> list[int]:
    """How many tokens are visible after each of `steps` steps: never falling, at last all `tokens`."""
    shown = [tokens - math.floor(tokens * math.cos(math.pi / 2 * (s + 1) / steps) + 1e-9) for s in range(steps - 1)]
    return [max(n, min(i + 1, tokens)) for i, n in enumerate(shown)] + [tokens]


@dataclass(frozen=True)
class Chance:
    """The random numbers that decide one frame of each stream.

    Attributes:
        order_BN: (B, N) int64, the order in which each stream's tokens are revealed.
        gumbel_BNK: (B, N, codes) float32 Gumbel noise, one number a choice.

    """

    order_BN: Tensor
    gumbel_BNK: Tensor

    @staticmethod
    def draw(tokens: int, codes: int, generator: torch.Generator) -> Chance:
        """Draw for one stream (B = 1), on the generator's device: the CPU, so that every device draws the same."""
        order_N = torch.randperm(tokens, generator=generator)
        gumbel_NK = -torch.empty(tokens, codes).exponential_(generator=generator).clamp(min=1e-20).log()
        return Chance(order_N[None], gumbel_NK[None])

    @staticmethod
    def join(parts: list[Chance], device: torch.device) -> Chance:
        """The random numbers of several streams as one batch on `device`."""
        order_BN, gumbel_BNK = torch.cat([p.order_BN for p in parts]), torch.cat([p.gumbel_BNK for p in parts])
        return Chance(order_BN.to(device), gumbel_BNK.to(device))


def sample_frame(
    logits: Callable[[Tensor, Tensor], Tensor], chance: Chance, *, steps: int, temperature_B: Tensor
) -> Tensor:
    """Draw the tokens of one frame of each stream. No stream depends on what others there are.

    Args:
        logits: from tokens (B, N), `codes` where hidden, and the indices (B, M) of those to reveal next, to the logits
            (B, M, codes) of these.
        chance: the random numbers, on the device where `logits` lives.
        steps: MaskGIT steps, 1 to N.
        temperature_B: (B,) of the softmax, > 0.

    Returns:
        (B, N) int64.

    """
    codes = chance.gumbel_BNK.shape[-1]
    token_BN = torch.full_like(chance.order_BN, codes)
    shown = 0
    for until in revealed_after(steps, token_BN.shape[1]):
        if until == shown:
            continue
        at_BM = chance.order_BN[:, shown:until]
        # The largest of log-probabilities plus Gumbel noise is a draw from the softmax.
        noise_BMK = chance.gumbel_BNK.gather(1, at_BM[..., None].expand(-1, -1, codes))
        scores_BMK = logits(token_BN, at_BM).float() / temperature_B[:, None, None] + noise_BMK
        token_BN.scatter_(1, at_BM, scores_BMK.argmax(dim=-1))
        shown = until
    return token_BN


__all__ = ["Chance", "revealed_after", "sample_frame"]
