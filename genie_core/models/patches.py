"""Pixels to tokens and back: linear patches (the paper's) or a small convolutional stem.

Pixels are floats in [-0.5, 0.5]. Shape suffixes as in `transformer`; H, W pixels; C channels; h, w tokens.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def to_pixels(frames_BTHWC: Tensor) -> Tensor:
    """(B, T, H, W, 3) uint8 -> (B, T, 3, H, W) float in [-0.5, 0.5]."""
    return frames_BTHWC.permute(0, 1, 4, 2, 3).float() / 255 - 0.5


def to_frames(pixels_BTCHW: Tensor) -> Tensor:
    """(B, T, 3, H, W) float -> (B, T, H, W, 3) uint8, rounded and clipped to 0 .. 255."""
    return ((pixels_BTCHW.float() + 0.5) * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 1, 3, 4, 2)


def patchify(x_BTCHW: Tensor, patch: int) -> Tensor:
    """(B, T, C, H, W) -> (B, T, N, patch * patch * C), row by row."""
    B, T, C, H, W = x_BTCHW.shape
    x = x_BTCHW.view(B, T, C, H // patch, patch, W // patch, patch)
    return x.permute(0, 1, 3, 5, 4, 6, 2).reshape(B, T, (H // patch) * (W // patch), patch * patch * C)


def unpatchify(x_BTND: Tensor, patch: int, height: int, width: int) -> Tensor:
    """Return the inverse of `patchify`: (B, T, N, patch * patch * C) -> (B, T, C, height, width)."""
    B, T, _, D = x_BTND.shape
    C = D // patch**2
    x = x_BTND.view(B, T, height // patch, width // patch, patch, patch, C)
    return x.permute(0, 1, 6, 2, 4, 3, 5).reshape(B, T, C, height, width)


class LinearPatches(nn.Module):
    """One linear map per patch."""

    def __init__(self, patch: int, channels: int, dim: int) -> None:
        super().__init__()
        self.patch = patch
        self.linear = nn.Linear(patch * patch * channels, dim)

    def forward(self, x_BTCHW: Tensor) -> Tensor:
        """(B, T, C, H, W) -> (B, T, N, dim)."""
        out: Tensor = self.linear(patchify(x_BTCHW, self.patch))
        return out


class LinearPixels(nn.Module):
    """The inverse direction: one linear map per token."""

    def __init__(self, patch: int, channels: int, dim: int, height: int, width: int) -> None:
        super().__init__()
        self.patch, self.height, self.width = patch, height, width
        self.linear = nn.Linear(dim, patch * patch * channels)

    def forward(self, x_BTND: Tensor) -> Tensor:
        """(B, T, N, dim) -> (B, T, C, H, W)."""
        return unpatchify(self.linear(x_BTND), self.patch, self.height, self.width)


class _Residual(nn.Module):
    """Two 3 x 3 convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


def _widths(patch: int, width: int, dim: int) -> list[int]:
    """Return the channels after each halving of the picture; the last is the tokens' width."""
    stages = int(math.log2(patch))
    if 2**stages != patch:
        raise ValueError(f"patch: got {patch}, expected a power of 2 for a convolutional stem")
    return [width * min(2**i, 2) // 2 for i in range(stages - 1)] + [dim]


class ConvPatches(nn.Module):
    """Stride-2 convolutions, each followed by a residual block: tokens see a little beyond their patch."""

    def __init__(self, patch: int, channels: int, dim: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for w in _widths(patch, width, dim):
            layers += [nn.Conv2d(channels, w, 4, stride=2, padding=1), _Residual(w)]
            channels = w
        self.layers = nn.Sequential(*layers)

    def forward(self, x_BTCHW: Tensor) -> Tensor:
        """(B, T, C, H, W) -> (B, T, N, dim)."""
        B, T = x_BTCHW.shape[:2]
        y = self.layers(x_BTCHW.flatten(0, 1).contiguous(memory_format=torch.channels_last))
        tokens_BTND: Tensor = y.flatten(2).transpose(1, 2).reshape(B, T, -1, y.shape[1])
        return tokens_BTND


class ConvPixels(nn.Module):
    """Mirror of `ConvPatches`: residual blocks and pixel shuffles."""

    def __init__(self, patch: int, channels: int, dim: int, width: int, height: int, frame_width: int) -> None:
        super().__init__()
        self.grid = (height // patch, frame_width // patch)
        widths = [channels, *_widths(patch, width, dim)][::-1]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [_Residual(before), nn.Conv2d(before, 4 * after, 3, padding=1), nn.PixelShuffle(2)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x_BTND: Tensor) -> Tensor:
        """(B, T, N, dim) -> (B, T, C, H, W)."""
        B, T = x_BTND.shape[:2]
        x = x_BTND.flatten(0, 1).transpose(1, 2).reshape(B * T, -1, *self.grid)
        y: Tensor = self.layers(x.contiguous(memory_format=torch.channels_last))
        return y.reshape(B, T, *y.shape[1:])


class ConvMaps(nn.Module):
    """Maps of a frame's size to one vector a place (`group` x `group` tokens), which sees its surroundings."""

    def __init__(self, token_grid: tuple[int, int], group: int, channels: int, dim: int) -> None:
        super().__init__()
        w = max(1, dim // 2)
        self.token_grid, self.group = token_grid, group
        self.fine_in = nn.Conv2d(channels, max(1, w // 2), 4, stride=2, padding=1)
        self.coarse_in = nn.Conv2d(max(1, w // 2), w, 4, stride=2, padding=1)
        self.block = nn.Conv2d(w, w, 3, padding=1)
        self.out = nn.Linear(w * group**2, dim)

    def forward(self, x_BTCHW: Tensor) -> Tensor:
        """(B, T, C, H, W) -> (B, T, P, dim)."""
        B, T = x_BTCHW.shape[:2]
        y = F.gelu(self.coarse_in(F.gelu(self.fine_in(x_BTCHW.flatten(0, 1)))))
        y = F.adaptive_avg_pool2d(y + F.gelu(self.block(y)), self.token_grid)
        y = F.pixel_unshuffle(y, self.group).flatten(2).transpose(1, 2)
        places_BTPD: Tensor = self.out(y).view(B, T, -1, self.out.out_features)
        return places_BTPD


class Beside(nn.Module):
    """Sum of two modules with the same input and output shapes."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both outputs."""
        out: Tensor = self.first(x) + self.second(x)
        return out


__all__ = [
    "Beside",
    "ConvMaps",
    "ConvPatches",
    "ConvPixels",
    "LinearPatches",
    "LinearPixels",
    "patchify",
    "to_frames",
    "to_pixels",
    "unpatchify",
]
