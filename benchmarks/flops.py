"""Counts the arithmetic of the networks from their configuration: two operations for each multiply-add of a matrix.

Normalisation, softmax, activation and embedding are left out, as is usual: they are not what matrix units do.
"""

from __future__ import annotations

from genie_core.models.config import LatentActionConfig, ModelConfig, TransformerConfig


def transformer_flops(config: TransformerConfig, frames: int, patches: int, keys: int) -> int:
    """Operations of a stack over `frames` frames of `patches` patches, each frame attending to `keys` frames."""
    c = config
    hidden = int(c.dim * c.ffn_ratio)
    linear = 2 * (4 * c.dim * c.dim) + 2 * c.dim * hidden  # two attentions of four maps each, one feed-forward
    attention = 2 * c.dim * (patches + keys)  # scores and mixing, in space and in time
    return 2 * c.layers * frames * patches * (linear + attention)


def encoder_flops(config: LatentActionConfig, height: int, width: int, frames: int, keys: int) -> int:
    """Operations of the latent action encoder with linear patches over a clip of `frames` frames."""
    c = config
    patches = (height // c.patch) * (width // c.patch)
    embed = 2 * frames * patches * 3 * c.patch**2 * c.encoder.dim
    latent = 2 * (frames - 1) * c.encoder.dim * c.quantizer.dim
    return embed + transformer_flops(c.encoder, frames, patches, keys) + latent


def dynamics_flops(config: ModelConfig, frames: int, keys: int) -> int:
    """Operations of one pass of the dynamics model (group 1) over `frames` frames, logits of all tokens included."""
    c = config.dynamics.transformer
    tokens = config.tokens_per_frame
    action = 2 * frames * config.lam.quantizer.dim * c.dim
    head = 2 * frames * tokens * c.dim * config.tokenizer.quantizer.codes
    return action + transformer_flops(c, frames, tokens, keys) + head


def sampler_flops(config: ModelConfig, steps: int, window: int) -> int:
    """Operations that drawing one frame takes with its past at hand: `steps` passes, and one that remembers it."""
    head = 2 * config.tokens_per_frame * config.dynamics.transformer.dim * config.tokenizer.quantizer.codes
    return (steps + 1) * dynamics_flops(config, 1, window) - head  # the last pass needs no logits


def decoder_flops(config: ModelConfig) -> int:
    """Operations that turning one frame's tokens into pixels takes, with linear patches and the past at hand."""
    c, tokens = config.tokenizer, config.tokens_per_frame
    ends = 2 * tokens * c.decoder.dim * (c.quantizer.dim + 3 * c.patch**2)
    return ends + transformer_flops(c.decoder, 1, tokens, c.decoder.window)


__all__ = ["decoder_flops", "dynamics_flops", "encoder_flops", "sampler_flops", "transformer_flops"]
