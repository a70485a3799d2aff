"""MaskGIT sampling that computes the whole window again at every step, as the public samplers do."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.baselines.plain import PlainDynamics


@torch.inference_mode()
def sample_frame_full_window(
    model: PlainDynamics,
    token_BTN: Tensor,
    action_BTD: Tensor,
    *,
    codes: int,
    steps: int,
    temperature: float,
    generator: torch.Generator,
) -> Tensor:
    """Draw the last frame of a window in `steps` steps: a cosine schedule, tokens revealed in random order.

    Args:
        model: the network.
        token_BTN: (B, T, N) int64 tokens; those of the last frame are ignored.
        action_BTD: (B, T, D) the latent action that led to each frame.
        codes: size of the vocabulary; also the token that stands for a hidden one.
        steps: passes over the whole window.
        temperature: of the softmax, > 0.
        generator: of the draws.

    Returns:
        (B, N) int64.

    """
    token_BTN = token_BTN.clone()
    token_BTN[:, -1] = codes
    B, _, N = token_BTN.shape
    hidden_BN = torch.ones(B, N, dtype=torch.bool)
    for step in range(steps):
        logits_BNK = model(token_BTN, action_BTD)[:, -1]
        probability = (logits_BNK.float() / temperature).softmax(dim=-1)
        drawn_BN = torch.multinomial(probability.flatten(0, 1), 1, generator=generator).view(B, N)
        rank_BN = torch.rand(B, N, generator=generator).masked_fill(~hidden_BN, 2.0)
        keep_hidden = 0 if step == steps - 1 else math.ceil(math.cos(math.pi / 2 * (step + 1) / steps) * N)
        stays_hidden_BN = torch.zeros_like(hidden_BN).scatter_(1, rank_BN.argsort(dim=1)[:, :keep_hidden], True)
        stays_hidden_BN &= hidden_BN
        token_BTN[:, -1] = torch.where(stays_hidden_BN, codes, torch.where(hidden_BN, drawn_BN, token_BTN[:, -1]))
        hidden_BN = stays_hidden_BN
    return token_BTN[:, -1]


__all__ = ["sample_frame_full_window"]
