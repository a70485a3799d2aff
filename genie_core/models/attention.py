"""Attention over the patches of a frame, and over the same patch of past frames: the parts of `transformer`'s blocks.

Shape suffixes: B batch, T frames, N patches per frame, D width, H heads, E width of a head, S key frames.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_MOST_FUSED = 65_535
"""Rows that the fused kernel takes on a GPU: the size of a grid's last dimension."""


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax attention of q (B, T, ..., L, E) over k, v (B, T, ..., S, E); `mask`: (..., L, S), True where allowed.

    On a CPU the explicit product is about 1.7 times as fast as the fused kernel in training at these short lengths, 5
    times over the few keys of a temporal window, and faster in bfloat16; without gradients, over space and in float32,
    the fused kernel is faster. On a GPU it is, without a mask, and for one query over a window in bfloat16, where the
    unfused one computes in float32 (a quarter of the time of a rollout); in float32 it takes twice as long.
    """
    if mask is None:
        fuses = q.is_cuda or (q.dtype == torch.float32 and not torch.is_grad_enabled())
    else:
        fuses = q.is_cuda and q.dtype == torch.bfloat16 and q.shape[-2] == 1 and len(q) * q.shape[1] <= _MOST_FUSED
    if fuses:
        # Flattened, because more than one leading dimension would not reach the fused kernel.
        if mask is not None:
            mask = mask.expand(*q.shape[:2], *mask.shape[2:]).flatten(0, 1)
        fused = F.scaled_dot_product_attention(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), attn_mask=mask)
        return fused.view(q.shape)
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    mixed: Tensor = scores.softmax(dim=-1) @ v
    return mixed


class RotaryTime(nn.Module):
    """Rotary position encoding over frames (Su et al. 2021, RoFormer)."""

    frequencies_E: Tensor

    def __init__(self, head_dim: int, base: float = 100.0) -> None:
        super().__init__()
        exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
        self.register_buffer("frequencies_E", base**-exponents, persistent=False)

    def forward(self, x: Tensor, first: int) -> Tensor:
        """Rotate x (..., L, E), whose frames are at positions first .. first + L - 1."""
        positions_L = torch.arange(first, first + x.shape[-2], device=x.device, dtype=torch.float32)
        angles = positions_L[:, None] * self.frequencies_E
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        a, b = x.chunk(2, dim=-1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


class Attention(nn.Module):
    """Projections of multi-head attention; subclasses choose which tokens attend to which."""

    def __init__(self, dim: int, heads: int, qk_norm: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.q_norm: nn.Module = nn.LayerNorm(dim // heads, bias=False) if qk_norm else nn.Identity()
        self.k_norm: nn.Module = nn.LayerNorm(dim // heads, bias=False) if qk_norm else nn.Identity()

    def project(self, x_BTND: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, T, N, H, E); queries and keys normalised if configured (QK-norm)."""
        B, T, N, D = x_BTND.shape
        q, k, v = self.qkv(x_BTND).view(B, T, N, 3, self.heads, D // self.heads).unbind(3)
        return self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype), v


class SpatialAttention(Attention):
    """Every patch attends to all patches of its own frame."""

    def forward(self, x_BTND: Tensor) -> Tensor:
        """(B, T, N, D) -> (B, T, N, D)."""
        return self._mix(*self.project(x_BTND))

    def at(self, x_B1ND: Tensor, at_BM: Tensor) -> Tensor:
        """Compute `forward` for one frame at the places (B, M) only: (B, 1, M, D)."""
        B, _, N, D = x_B1ND.shape
        of_q, of_kv = torch.split(self.qkv.weight, [D, 2 * D])
        q = F.linear(places(x_B1ND, at_BM), of_q).view(B, 1, -1, self.heads, D // self.heads)
        k, v = F.linear(x_B1ND, of_kv).view(B, 1, N, 2, self.heads, D // self.heads).unbind(3)
        return self._mix(self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype), v)

    def _mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (y.transpose(2, 3) for y in (q, k, v))  # (B, T, H, N, E)
        out: Tensor = self.out(attention(q, k, v).transpose(2, 3).flatten(3))
        return out


class TemporalAttention(Attention):
    """Every patch attends to the same patch of its own frame and of the window - 1 frames before it."""

    def __init__(self, dim: int, heads: int, qk_norm: bool, window: int) -> None:
        super().__init__(dim, heads, qk_norm)
        self.window = window
        self.rotary = RotaryTime(dim // heads)

    def forward(
        self, x_BTND: Tensor, past: tuple[Tensor, Tensor] | None, mask: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(B, T, N, D) -> the same, and the keys and values (B, N, H, S, E) of past and new frames together."""
        q, k, v = (y.permute(0, 2, 3, 1, 4) for y in self.project(x_BTND))  # (B, N, H, T, E)
        if past is not None:
            k, v = torch.cat((past[0].to(k.dtype), k), dim=3), torch.cat((past[1].to(v.dtype), v), dim=3)
        # Positions count from the oldest key, not from the episode's start: they stay small, and exact forever.
        y_BNHTE = attention(self.rotary(q, k.shape[3] - q.shape[3]), self.rotary(k, 0), v, mask)
        out: Tensor = self.out(y_BNHTE.permute(0, 3, 1, 2, 4).flatten(3))
        return out, (k, v)

    def frame(self, x_B1ND: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Compute `forward` for one frame whose past is prepared in `keys` and `values`; overwrites their last slot.

        Returns (B, 1, N, D), and the frame's own unrotated keys and values (B, N, H, 1, E).
        """
        q, k, v = (y.permute(0, 2, 3, 1, 4) for y in self.project(x_B1ND))  # (B, N, H, 1, E)
        keys[:, :, :, -1:] = k
        values[:, :, :, -1:] = v
        y_BNH1E = attention(q, keys, values, mask)
        out: Tensor = self.out(y_BNH1E.permute(0, 3, 1, 2, 4).flatten(3))
        return out, (k, v)


def places(x_B1ND: Tensor, at_BM: Tensor) -> Tensor:
    """Select the places (B, M) of one frame: (B, 1, M, D)."""
    return x_B1ND.gather(2, at_BM[:, None, :, None].expand(-1, -1, -1, x_B1ND.shape[-1]))


__all__ = ["RotaryTime", "SpatialAttention", "TemporalAttention", "attention", "places"]
