"""MaskGIT sampling of one frame's tokens (Chang et al. 2022; Bruce et al. 2024, Section 2.2).

The network is passed in as a function. Hidden tokens are revealed in random order on a cosine schedule. (Revealing the
most confident first tends to copy the previous frame.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def revealed_after(steps: int, tokens: int) -> list[int]:
    """Return how many tokens are visible after each of `steps` steps: never decreasing, all `tokens` at last."""
    shown = [tokens - math.floor(tokens * math.cos(math.pi / 2 * (s + 1) / steps) + 1e-9) for s in range(steps - 1)]
    return [max(n, min(i + 1, tokens)) for i, n in enumerate(shown)] + [tokens]


@dataclass(frozen=True)
class Chance:
    """Random numbers that determine one frame of each stream.

    Attributes:
        order_BN: (B, N) int64, order in which each stream's tokens are revealed.
        gumbel_BNK: (B, N, codes) float32 Gumbel noise, one number per choice.

    """

    order_BN: Tensor
    gumbel_BNK: Tensor

    @staticmethod
    def draw(tokens: int, codes: int, generator: torch.Generator) -> Chance:
        """Draw for one stream (B = 1) on the generator's device: the CPU, so that all devices get the same numbers."""
        order_N = torch.randperm(tokens, generator=generator)
        gumbel_NK = -torch.empty(tokens, codes).exponential_(generator=generator).clamp(min=1e-20).log()
        return Chance(order_N[None], gumbel_NK[None])

    @staticmethod
    def join(parts: list[Chance], device: torch.device) -> Chance:
        """Join the random numbers of several streams into one batch on `device`."""
        order_BN, gumbel_BNK = torch.cat([p.order_BN for p in parts]), torch.cat([p.gumbel_BNK for p in parts])
        return Chance(order_BN.to(device), gumbel_BNK.to(device))


def sample_frame(
    logits: Callable[[Tensor, Tensor], Tensor], chance: Chance, *, steps: int, temperature_B: Tensor
) -> Tensor:
    """Draw the tokens of one frame of each stream. A stream's result does not depend on the other streams.

    Args:
        logits: maps tokens (B, N), `codes` where hidden, and the indices (B, M) of those to reveal next, to their
            logits (B, M, codes).
        chance: the random numbers, on the device of `logits`.
        steps: MaskGIT steps, 1 to N.
        temperature_B: (B,) softmax temperature, > 0.

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
