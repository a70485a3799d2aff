"""A short look at a trained model on held-out episodes: the figures that its card states."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from genie_core.models.dynamics import previous_tokens
from genie_core.models.genie import Genie
from genie_core.models.patches import to_pixels
from genie_core.models.quantizer import perplexity
from genie_core.training.clips import ClipStore
from genie_core.training.losses import psnr

MOST_FRAMES = 200
"""Longest piece of an episode that is looked at, frames at the model's rate."""
MOST_EPISODES = 40


@dataclass(frozen=True)
class Validation:
    """Means over held-out transitions; PSNR in dB over pixels of all three colours.

    Attributes:
        tokenizer_psnr_db: of frames decoded from their tokens.
        tokenizer_codes_used: share of the codebook that occurs, 0 to 1.
        lam_psnr_db: of the next frame as the latent action decoder predicts it from the inferred code.
        lam_over_copy_db: that, over repeating the last frame. One that does not beat copying has learnt nothing.
        lam_over_random_db: that, over a code drawn at random.
        lam_perplexity: effective number of codes in use, 1 to the number of codes.
        dynamics_accuracy: share of a wholly hidden next frame's tokens that are predicted right.
        episodes: how many were looked at.
        transitions: how many were looked at.

    """

    tokenizer_psnr_db: float
    tokenizer_codes_used: float
    lam_psnr_db: float
    lam_over_copy_db: float
    lam_over_random_db: float
    lam_perplexity: float
    dynamics_accuracy: float
    episodes: int
    transitions: int


@torch.inference_mode()
def validate(genie: Genie, store: ClipStore) -> Validation:
    """Measure a model, in evaluation mode, on the (first) episodes of a store."""
    device = genie.tokenizer.decoder_position_ND.device
    spans = store.spans[:MOST_EPISODES]
    generator = torch.Generator().manual_seed(0)
    errors: list[Tensor] = []
    tokens, codes = [], []
    for span in spans:
        pixels = to_pixels(torch.from_numpy(store.episode(span)[:MOST_FRAMES])[None].to(device))
        found, token_BTN, code_BT = _episode_errors(genie, pixels, generator)
        errors.append(found)
        tokens.append(token_BTN.flatten())
        codes.append(code_BT.flatten())
    weights = torch.tensor([len(c) for c in codes], dtype=torch.float64)
    tokenizer, lam, copy, random, accuracy = (
        (torch.stack(errors).double() * weights[:, None]).sum(0) / weights.sum()
    ).tolist()
    config = genie.config
    return Validation(
        tokenizer_psnr_db=psnr(tokenizer),
        tokenizer_codes_used=torch.bincount(torch.cat(tokens)).count_nonzero().item()
        / config.tokenizer.quantizer.codes,
        lam_psnr_db=psnr(lam),
        lam_over_copy_db=psnr(lam) - psnr(copy),
        lam_over_random_db=psnr(lam) - psnr(random),
        lam_perplexity=perplexity(torch.cat(codes), config.lam.quantizer.codes),
        dynamics_accuracy=accuracy,
        episodes=len(spans),
        transitions=int(weights.sum()),
    )


def _episode_errors(genie: Genie, pixels_1TCHW: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Squared errors of tokenizer, inferred code, copying, random code, and the dynamics' accuracy; tokens; codes."""
    token_1TN = genie.tokenizer.encode(pixels_1TCHW)
    drawn = genie.tokenizer.decode(token_1TN).float().clamp(-0.5, 0.5)
    view = genie.lam_view(pixels_1TCHW)
    code_1T = genie.lam.quantizer.nearest(genie.lam.latents(view))
    random_1T = torch.randint(genie.config.lam.quantizer.codes, code_1T.shape, generator=generator).to(code_1T.device)
    before, after = view[:, :-1], view[:, 1:]
    action_1TD = genie.lam.quantizer.lookup(code_1T)

    def error(predicted: Tensor) -> Tensor:
        return (predicted.float() - after).square().mean()

    accuracy = _next_frame_accuracy(genie, token_1TN, action_1TD)
    errors = torch.stack(
        (
            (drawn - pixels_1TCHW).square().mean(),
            error(genie.lam.predict(before, action_1TD)),
            error(before),
            error(genie.lam.predict(before, genie.lam.quantizer.lookup(random_1T))),
            accuracy,
        )
    )
    return errors.cpu(), token_1TN.cpu(), code_1T.cpu()


def _next_frame_accuracy(genie: Genie, token_1TN: Tensor, action_1TD: Tensor) -> Tensor:
    """Share of right tokens where each frame in turn is wholly hidden and all before it are visible."""
    dynamics = genie.dynamics
    state = dynamics.initial_state(1)
    previous_1TN = previous_tokens(token_1TN, dynamics.mask_token)
    action_1TD = torch.cat((torch.zeros_like(action_1TD[:, :1]), action_1TD), dim=1)
    right = []
    for t in range(token_1TN.shape[1]):
        now = slice(t, t + 1)
        blank = torch.full_like(token_1TN[:, now], dynamics.mask_token)
        logits, _ = dynamics.stream(blank, previous_1TN[:, now], action_1TD[:, now], state)
        if t:
            right.append((logits.argmax(-1) == token_1TN[:, now]).float().mean())
        _, state = dynamics.stream(token_1TN[:, now], previous_1TN[:, now], action_1TD[:, now], state)
    return torch.stack(right).mean()


__all__ = ["Validation", "validate"]
