"""Loss and metrics of each stage: pure functions of a network, a batch and torch's random state."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from genie_core.models.dynamics import DynamicsModel, previous_tokens
from genie_core.models.lam import LatentActionModel
from genie_core.models.quantizer import perplexity
from genie_core.models.tokenizer import VideoTokenizer
from genie_core.training.config import AugmentConfig, DynamicsTraining, LatentActionTraining, TokenizerTraining

Metrics = dict[str, Tensor | float]

# Squared errors of pixels are a few thousandths: this brings the loss to the order of 1.
PIXEL_WEIGHT = 20.0


def psnr(mse: Tensor | float) -> float:
    """Return the peak signal-to-noise ratio in dB of a mean squared error over pixels in a range of 1."""
    return -10 * math.log10(max(float(mse), 1e-10))


def tokenizer_loss(
    tokenizer: VideoTokenizer, pixels_BTCHW: Tensor, training: TokenizerTraining, *, step: int
) -> tuple[Tensor, Metrics]:
    """Compute reconstruction and commitment loss on clips in [-0.5, 0.5], at a training step."""
    out = tokenizer(pixels_BTCHW, quantize=step >= training.continuous_steps, noise=training.continuous_noise)
    loss = PIXEL_WEIGHT * out.reconstruction_loss + out.commitment_loss
    codes = tokenizer.quantizer.config.codes
    return loss, {
        "loss": loss.detach(),
        "psnr_db": psnr(out.reconstruction_loss.detach()),
        "perplexity": perplexity(out.token_BTN, codes),
        "codes_used": float((tokenizer.quantizer.idle_K < tokenizer.quantizer.config.revive_after).sum()),
    }


def lam_loss(
    lam: LatentActionModel, x_BTCHW: Tensor, training: LatentActionTraining, *, step: int
) -> tuple[Tensor, Metrics]:
    """Compute the loss of next-frame prediction through the action bottleneck, and commitment, at a training step."""
    quantize = 0.0 if step < training.continuous_steps else training.quantized_share
    seen = augment(x_BTCHW, training.augment) if lam.from_pixels else None
    out = lam(x_BTCHW, seen, quantize=quantize, noise=training.continuous_noise)
    target, last = x_BTCHW[:, 1:], x_BTCHW[:, :-1]
    error = (out.predicted_BTCHW - target).square()
    copy = (last - target).square()
    weight = 1 + training.motion_weight * (copy.amax(dim=2, keepdim=True) > 0.05**2).float()
    loss = PIXEL_WEIGHT * (error * weight).mean() / weight.mean() + out.commitment_loss
    return loss, {
        "loss": loss.detach(),
        "psnr_db": psnr(error.detach().mean()),
        "over_copy_db": psnr(error.detach().mean()) - psnr(copy.mean()),
        "perplexity": perplexity(out.code_BT, lam.quantizer.config.codes),
        "spread": spread(out.latent_BTD.detach().flatten(0, 1)),
    }


def spread(latent_ND: Tensor) -> float:
    """Return the share of the latents' energy outside their mean: 0 if all are the same, 1 if they are about 0."""
    latent_ND = latent_ND.float()
    mean = latent_ND.mean(0).square().sum()
    return float(1 - mean / latent_ND.square().sum(1).mean().clamp_min(1e-12))


def augment(x_BTCHW: Tensor, config: AugmentConfig) -> Tensor:
    """Change brightness, contrast and position of whole clips, and add noise; drawn separately for each clip."""
    B, T, C, H, W = x_BTCHW.shape
    if config.contrast or config.brightness:
        gain = 1 + config.contrast * (2 * torch.rand(B, 1, C, 1, 1, device=x_BTCHW.device) - 1)
        lift = config.brightness * (2 * torch.rand(B, 1, C, 1, 1, device=x_BTCHW.device) - 1)
        x_BTCHW = x_BTCHW * gain + lift
    if config.shift:
        s = config.shift
        padded = F.pad(x_BTCHW.flatten(1, 2), (s, s, s, s), mode="replicate").view(B, T, C, H + 2 * s, W + 2 * s)
        offsets = torch.randint(2 * s + 1, (B, 2)).tolist()
        x_BTCHW = torch.stack([p[..., dy : dy + H, dx : dx + W] for p, (dy, dx) in zip(padded, offsets, strict=True)])
    return x_BTCHW + config.noise * torch.randn_like(x_BTCHW) if config.noise else x_BTCHW


def dynamics_loss(
    dynamics: DynamicsModel, token_BTN: Tensor, action_BTD: Tensor, training: DynamicsTraining
) -> tuple[Tensor, Metrics]:
    """Compute the cross-entropy of hidden tokens (paper, Section 2.1); the first frame is always visible.

    Args:
        dynamics: the network.
        token_BTN: (B, T, N) tokens of the clips.
        action_BTD: (B, T - 1, D) quantized latent actions; no gradient flows into them.
        training: mask rates.

    """
    hidden_BTN = mask(token_BTN, training)
    shown = token_BTN.masked_fill(hidden_BTN, dynamics.mask_token)
    actions = F.pad(action_BTD.detach(), (0, 0, 1, 0))
    logits = dynamics(shown, previous_tokens(token_BTN, dynamics.mask_token), actions)[hidden_BTN].float()
    target = token_BTN[hidden_BTN]
    loss = F.cross_entropy(logits, target)
    return loss, {"loss": loss.detach(), "accuracy": (logits.detach().argmax(-1) == target).float().mean()}


def mask(token_BTN: Tensor, training: DynamicsTraining) -> Tensor:
    """Draw which tokens are hidden, (B, T, N) bool: none in the first frame, at least one in the clip."""
    B, T, _ = token_BTN.shape
    rate_BT1 = training.mask_low + (1 - training.mask_low) * torch.rand(B, T, 1)
    if training.clean_frames:  # a rate of its own for each frame, some shown whole
        rate_BT1 = rate_BT1 * (torch.rand(B, T, 1) >= training.clean_frames)
    else:
        rate_BT1 = rate_BT1[:, :1].expand(B, T, 1)
    rate_BT1 = rate_BT1.clone()
    rate_BT1[:, 0] = 0
    hidden = (torch.rand(token_BTN.shape) < rate_BT1).to(token_BTN.device)
    hidden[:, -1, 0] = True
    return hidden


__all__ = ["augment", "dynamics_loss", "lam_loss", "mask", "psnr", "spread", "tokenizer_loss"]
