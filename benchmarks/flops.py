"""Counts the arithmetic of the networks from their configuration: two operations for each multiply-add of a matrix.

Normalisation, softmax, activation and embedding are left out, as is usual: they are not what matrix units do.
"""

from __future__ import annotations

from itertools import pairwise

from genie_core.inference.sampler import revealed_after
from genie_core.models.config import LatentActionConfig, ModelConfig, TransformerConfig
from genie_core.models.dynamics import REVEAL_ROWS


def transformer_flops(config: TransformerConfig, frames: int, patches: int, keys: int) -> int:
    """Count the operations of a stack over `frames` frames of `patches` patches, each attending to `keys` frames."""
    return config.layers * _block_flops(config, frames * patches, patches, keys)


def _block_flops(config: TransformerConfig, queries: int, patches: int, keys: int) -> int:
    """Return the operations of one block for each of `queries` patches, keys and values in space included."""
    c = config
    hidden = int(c.dim * c.ffn_ratio)
    linear = 2 * (4 * c.dim * c.dim) + 2 * c.dim * hidden  # two attentions of four maps each, one feed-forward
    attention = 2 * c.dim * (patches + keys)  # scores and mixing, in space and in time
    return 2 * queries * (linear + attention)


def encoder_flops(config: LatentActionConfig, height: int, width: int, frames: int, keys: int) -> int:
    """Return the operations of the latent action encoder with linear patches over a clip of `frames` frames."""
    c = config
    patches = (height // c.patch) * (width // c.patch)
    embed = 2 * frames * patches * 3 * c.patch**2 * c.encoder.dim
    latent = 2 * (frames - 1) * c.encoder.dim * c.quantizer.dim
    return embed + transformer_flops(c.encoder, frames, patches, keys) + latent


def sampler_flops(config: ModelConfig, steps: int, window: int) -> int:
    """Count the operations of drawing one frame (group 1) whose past is cached.

    `steps` passes, in which the last block and the head run for the tokens that are revealed alone, and one pass that
    remembers the frame and needs no head.
    """
    c, tokens = config.dynamics.transformer, config.tokens_per_frame
    action = 2 * config.lam.quantizer.dim * c.dim
    shown = [0, *revealed_after(steps, tokens)]
    rows = [-(-(after - before) // REVEAL_ROWS) * REVEAL_ROWS for before, after in pairwise(shown) if after > before]
    full = transformer_flops(c, 1, tokens, window)
    but_last = full * (c.layers - 1) // c.layers
    others_keys = [2 * 2 * (tokens - n) * c.dim * c.dim for n in rows]
    heads = [2 * n * c.dim * config.tokenizer.quantizer.codes for n in rows]
    last = [_block_flops(c, n, tokens, window) for n in rows]
    return len(rows) * (action + but_last) + sum(others_keys) + sum(last) + sum(heads) + action + full


def full_window_flops(config: ModelConfig, steps: int, window: int) -> int:
    """Count the operations of drawing one frame (group 1) in `steps` passes over a whole window and its logits."""
    c, tokens = config.dynamics.transformer, config.tokens_per_frame
    action = 2 * window * config.lam.quantizer.dim * c.dim
    head = 2 * window * tokens * c.dim * config.tokenizer.quantizer.codes
    return steps * (action + transformer_flops(c, window, tokens, window) + head)


def decoder_flops(config: ModelConfig) -> int:
    """Count the operations of decoding one frame's tokens to pixels, with linear patches and a cached past."""
    c, tokens = config.tokenizer, config.tokens_per_frame
    ends = 2 * tokens * c.decoder.dim * (c.quantizer.dim + 3 * c.patch**2)
    return ends + transformer_flops(c.decoder, 1, tokens, c.decoder.window)


__all__ = ["decoder_flops", "encoder_flops", "full_window_flops", "sampler_flops", "transformer_flops"]
