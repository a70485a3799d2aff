"""A spatio-temporal transformer as public code structures it: sequences folded into the batch, whole clips only.

Queries, keys and values have a projection each, each attention folds the axis it ignores into the batch and unfolds it
again, the causal mask and the rotary angles are made anew in every call, and nothing of the past is kept.

Shape suffixes: B batch, T frames, N patches a frame, D width, H heads, L tokens of one sequence, E width of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genie_core.models.config import TransformerConfig


class PlainAttention(nn.Module):
    """Self-attention over sequences (S, L, D); with `causal`, rotary positions and no look ahead."""

    def __init__(self, dim: int, heads: int, qk_norm: bool, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.query_norm: nn.Module = nn.LayerNorm(dim // heads, bias=False) if qk_norm else nn.Identity()
        self.key_norm: nn.Module = nn.LayerNorm(dim // heads, bias=False) if qk_norm else nn.Identity()

    def forward(self, x_SLD: Tensor) -> Tensor:
        """(S, L, D) -> (S, L, D)."""
        q = self.query_norm(self._split(self.query(x_SLD)))
        k = self.key_norm(self._split(self.key(x_SLD)))
        v = self._split(self.value(x_SLD))
        if self.causal:
            q, k = rotate(q), rotate(k)
        y_SHLE = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, is_causal=self.causal)
        out: Tensor = self.out(y_SHLE.transpose(1, 2).reshape(x_SLD.shape))
        return out

    def _split(self, x_SLD: Tensor) -> Tensor:
        """(S, L, D) -> (S, H, L, E)."""
        S, L, D = x_SLD.shape
        return x_SLD.reshape(S, L, self.heads, D // self.heads).transpose(1, 2)


def rotate(x_SHLE: Tensor, base: float = 100.0) -> Tensor:
    """Rotary positions 0 .. L - 1 (Su et al. 2021), with the base of `genie_core.models`."""
    half = x_SHLE.shape[-1] // 2
    frequency_E = base ** (-torch.arange(half, device=x_SHLE.device, dtype=torch.float32) / half)
    angle_LE = torch.outer(torch.arange(x_SHLE.shape[-2], device=x_SHLE.device, dtype=torch.float32), frequency_E)
    turn_LE = torch.cat((angle_LE, angle_LE), dim=-1)
    swapped = torch.cat((-x_SHLE[..., half:], x_SHLE[..., :half]), dim=-1)
    return x_SHLE * turn_LE.cos() + swapped * turn_LE.sin()


class PlainFeedForward(nn.Module):
    """Two linear maps and a GELU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.down = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        out: Tensor = self.down(self.act(self.up(x)))
        return out


class PlainBlock(nn.Module):
    """Attention in space, attention in time, feed-forward; each pre-normalised beside an identity."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        c = config
        self.space_norm = nn.LayerNorm(c.dim, bias=False)
        self.space = PlainAttention(c.dim, c.heads, c.qk_norm, causal=False)
        self.time_norm = nn.LayerNorm(c.dim, bias=False)
        self.time = PlainAttention(c.dim, c.heads, c.qk_norm, causal=True)
        self.ffn_norm = nn.LayerNorm(c.dim, bias=False)
        self.ffn = PlainFeedForward(c.dim, int(c.dim * c.ffn_ratio))

    def forward(self, x_BTND: Tensor) -> Tensor:
        """(B, T, N, D) -> (B, T, N, D)."""
        B, T, N, D = x_BTND.shape
        x = x_BTND.reshape(B * T, N, D)
        x = x + self.space(self.space_norm(x))
        x = x.reshape(B, T, N, D).transpose(1, 2).reshape(B * N, T, D)
        x = x + self.time(self.time_norm(x))
        x = x.reshape(B, N, T, D).transpose(1, 2)
        y: Tensor = x + self.ffn(self.ffn_norm(x))
        return y


class PlainTransformer(nn.Module):
    """A stack of blocks over whole clips of at most `config.window` frames, and a final normalisation."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PlainBlock(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim, bias=False)

    def forward(self, x_BTND: Tensor) -> Tensor:
        """(B, T, N, D) -> (B, T, N, D)."""
        for block in self.blocks:
            x_BTND = block(x_BTND)
        out: Tensor = self.norm(x_BTND)
        return out


class PlainLatentActionEncoder(nn.Module):
    """Frames -> one unit vector a transition; the encoder of a latent action model with linear patches."""

    def __init__(self, config: TransformerConfig, patch: int, latent_dim: int, height: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        patches = (height // patch) * (width // patch)
        self.embed = nn.Linear(3 * patch * patch, config.dim)
        self.position_ND = nn.Parameter(torch.zeros(patches, config.dim))
        self.transformer = PlainTransformer(config)
        self.to_latent = nn.Linear(config.dim, latent_dim)

    def forward(self, x_BTCHW: Tensor) -> Tensor:
        """(B, T, 3, H, W) floats -> (B, T - 1, latent_dim)."""
        B, T, C, H, W = x_BTCHW.shape
        p = self.patch
        x = x_BTCHW.reshape(B, T, C, H // p, p, W // p, p).permute(0, 1, 3, 5, 4, 6, 2)
        x_BTND = self.embed(x.reshape(B, T, -1, p * p * C)) + self.position_ND
        y_BTD = self.transformer(x_BTND)[:, 1:].mean(dim=2)
        return F.normalize(self.to_latent(y_BTD).float(), dim=-1)


class PlainDynamics(nn.Module):
    """Tokens and latent actions of a whole window -> logits of every token of every frame in it."""

    def __init__(self, config: TransformerConfig, tokens: int, codes: int, action_dim: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(codes + 1, config.dim)
        self.action = nn.Linear(action_dim, config.dim)
        self.position_ND = nn.Parameter(torch.zeros(tokens, config.dim))
        self.transformer = PlainTransformer(config)
        self.head = nn.Linear(config.dim, codes, bias=False)

    def forward(self, token_BTN: Tensor, action_BTD: Tensor) -> Tensor:
        """(B, T, N) int64, the last code + 1 where hidden, and (B, T, D) actions -> (B, T, N, codes)."""
        x_BTND = self.embed(token_BTN) + self.position_ND + self.action(action_BTD)[:, :, None]
        logits: Tensor = self.head(self.transformer(x_BTND))
        return logits


__all__ = ["PlainDynamics", "PlainLatentActionEncoder", "PlainTransformer", "rotate"]
