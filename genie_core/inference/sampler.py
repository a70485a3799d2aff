"""MaskGIT sampling of one frame's tokens (Chang et al. 2022; Bruce et al. 2024, Section 2.2).

The network is a function passed in. Hidden tokens are revealed in random order on a cosine schedule. (Revealing the
most confident first tends to copy the frame before.)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def revealed_after(steps: int, tokens: int) -> list[int]:
    """How many tokens are visible after each of `steps` steps: never falling, at last all `tokens`."""
    shown = [tokens - math.floor(tokens * math.cos(math.pi / 2 * (s + 1) / steps) + 1e-9) for s in range(steps - 1)]
    return [max(n, min(i + 1, tokens)) for i, n in enumerate(shown)] + [tokens]


def sample_frame(
    logits: Callable[[Tensor], Tensor],
    *,
    batch: int,
    tokens: int,
    codes: int,
    steps: int,
    temperature: float,
    generator: torch.Generator,
    device: torch.device,
) -> Tensor:
    """Draw the tokens of one frame for each of `batch` streams.

    All streams share one draw of the random numbers, so that branches differ by their actions alone and none depends on
    how many others there are.

    Args:
        logits: from tokens (B, N), `codes` where hidden, to logits (B, N, codes).
        batch: B.
        tokens: N.
        codes: size of the vocabulary; also the token that stands for a hidden one.
        steps: MaskGIT steps, 1 to N.
        temperature: of the softmax, > 0.
        generator: on the CPU, so that every device draws the same.
        device: where `logits` lives.

    Returns:
        (B, N) int64.

    """
    order_N = torch.randperm(tokens, generator=generator).to(device)
    # The largest of log-probabilities plus Gumbel noise is a draw from the softmax.
    gumbel_NK = -torch.empty(tokens, codes).exponential_(generator=generator).clamp(min=1e-20).log().to(device)
    token_BN = torch.full((batch, tokens), codes, dtype=torch.int64, device=device)
    shown = 0
    for until in revealed_after(steps, tokens):
        if until == shown:
            continue
        places = order_N[shown:until]
        scores = logits(token_BN)[:, places].float() / temperature + gumbel_NK[places]
        token_BN[:, places] = scores.argmax(dim=-1)
        shown = until
    return token_BN


__all__ = ["revealed_after", "sample_frame"]
