"""Moving pictures by backward flow."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from genie_core.models.flow import UNIT


def warp(x_NCHW: Tensor, back_N2hw: Tensor, how: Literal["bicubic", "bilinear"] = "bicubic") -> Tensor:
    """Move pictures: the pixel at p comes from p + back(p); what comes from outside repeats the edge.

    Args:
        x_NCHW: pictures.
        back_N2hw: flow from the moved picture back to `x_NCHW` on any grid, in pixels of a picture of `UNIT` a side.
        how: pictures are read between their pixels.

    """
    H, W = x_NCHW.shape[-2:]
    back_N2HW = spread_to(back_N2hw, H, W)
    y = (torch.arange(H, device=x_NCHW.device) + 0.5) * 2 / H - 1
    x = (torch.arange(W, device=x_NCHW.device) + 0.5) * 2 / W - 1
    at_NHW2 = torch.stack((x.expand(H, W), y[:, None].expand(H, W)), -1) + back_N2HW.permute(0, 2, 3, 1) * (2 / UNIT)
    return F.grid_sample(x_NCHW, at_NHW2, mode=how, padding_mode="border", align_corners=False)


def shifted(x_NCHW: Tensor, shift_N2: Tensor) -> Tensor:
    """Move whole pictures by (N, 2) columns and rows, pixels of a picture of `UNIT` a side; edges repeat."""
    N, _, H, W = x_NCHW.shape
    return warp(x_NCHW, -shift_N2[:, :, None, None].expand(N, 2, H, W))


def spread_to(back_N2hw: Tensor, height: int, width: int) -> Tensor:
    """Return flow at every pixel of a picture of that size, (N, 2, height, width)."""
    if back_N2hw.shape[-2:] == (height, width):
        return back_N2hw
    return F.interpolate(back_N2hw, (height, width), mode="bilinear", align_corners=False)


__all__ = ["shifted", "spread_to", "warp"]
