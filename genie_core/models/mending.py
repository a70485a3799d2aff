"""Mends moved frames by tokens (beyond the paper): what comes into view, and what bends that should not.

A moved frame can show only what the last one did. So its tokens are the dynamics model's previous tokens, and MaskGIT
draws those of the true frame, told what a rollout remembers of its start and where the flow is in doubt. Tokens that
come out as they were leave the moved pixels as they are; the others are decoded. Drawn, not averaged, they stay sharp.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from genie_core.models.flow import UNIT
from genie_core.models.motion import whole_motion
from genie_core.models.mover import FrameMover, Moving
from genie_core.models.refiner import candidates, done_share, told_of
from genie_core.models.warp import spread_to, warp

TOLD = 26
"""Maps that the dynamics model is told of each moved frame."""

_OUTSIDE_SCALE = 0.25


@dataclass(frozen=True)
class MovedFrame:
    """B frames that were moved, and what is to be said of them.

    Attributes:
        moving: the moved frames, as a model without tokens would show them, and what is remembered after the step.
        told_BCHW: `TOLD` maps for the dynamics model.
        doubt_Bhw: how far the flow is not to be trusted at each token's place, 0 to 1; exactly 0 where nothing moves.
        done_B1: share of the change to apply, exactly 0 for a latent of zero.

    """

    moving: Moving
    told_BCHW: Tensor
    doubt_Bhw: Tensor
    done_B1: Tensor


def move_in_doubt(mover: FrameMover, token_grid: tuple[int, int], now: Moving, latent_BD: Tensor) -> MovedFrame:
    """Move frames by latents (B, D), and say where that is in doubt. Raises ValueError if nothing is remembered."""
    if mover.mending is None:
        raise ValueError("mending: got a mover whose frames no tokens mend")
    frame_BCHW = now.frame_BCHW.float()
    H, W = frame_BCHW.shape[-2:]
    dtype = mover.fine_in.weight.dtype
    back_B2GG = mover(frame_BCHW.to(dtype), latent_BD.to(dtype))
    moving = mover.shown(now, back_B2GG, latent_BD)
    memory = moving.memory
    assert memory is not None  # `FrameMover.remembers` where tokens mend
    back_B2HW, whole_B2 = spread_to(back_B2GG, H, W), whole_motion(latent_BD).float()
    size_B1 = latent_BD.float().square().mean(1, keepdim=True).sqrt()
    shown_BCHW = moving.frame_BCHW
    others = (*candidates(frame_BCHW, whole_B2, memory), warp(frame_BCHW, back_B2HW))
    outside_B1HW = _outside(back_B2HW)
    doubt_Bhw = _doubt(back_B2HW + whole_B2[:, :, None, None], outside_B1HW, token_grid, mover.mending.doubt_px)
    doubt_B1HW = F.interpolate(doubt_Bhw[:, None], (H, W), mode="nearest")
    told = told_of(shown_BCHW, others, back_B2HW, whole_B2, size_B1, memory)
    told_BCHW = torch.cat((*told, _OUTSIDE_SCALE * outside_B1HW, doubt_B1HW), dim=1)
    return MovedFrame(moving, told_BCHW, doubt_Bhw, done_share(size_B1))


def mended(moved: MovedFrame, before_BN: Tensor, after_BN: Tensor, drawn_BCHW: Tensor) -> Tensor:
    """Show decoded tokens where they changed and the flow is in doubt, else the moved frames, to the bit.

    Args:
        moved: the moved frames.
        before_BN: their tokens.
        after_BN: the tokens that were drawn.
        drawn_BCHW: those decoded, in about [-0.5, 0.5].

    """
    frame_BCHW = moved.moving.frame_BCHW
    changed_Bhw = (before_BN != after_BN).view_as(moved.doubt_Bhw) * moved.doubt_Bhw * moved.done_B1[:, :, None]
    # Twice the interpolated mask: a changed token's own pixels are its own, and its edges run out within half a token.
    weight_B1HW = F.interpolate(changed_Bhw[:, None], frame_BCHW.shape[-2:], mode="bilinear", align_corners=False)
    return frame_BCHW + (2 * weight_B1HW).clamp(max=1) * (drawn_BCHW.float().clamp(-0.5, 0.5) - frame_BCHW)


def _outside(back_B2HW: Tensor) -> Tensor:
    """Return how far outside the frame before each pixel comes from, (B, 1, H, W), pixels of `UNIT` a side."""
    H, W = back_B2HW.shape[-2:]
    y = (torch.arange(H, device=back_B2HW.device) + 0.5) * UNIT / H
    x = (torch.arange(W, device=back_B2HW.device) + 0.5) * UNIT / W
    at_B2HW = torch.stack((x.expand(H, W), y[:, None].expand(H, W))) + back_B2HW
    return (F.relu(-at_B2HW) + F.relu(at_B2HW - UNIT)).sum(1, keepdim=True)


def _doubt(motion_B2HW: Tensor, outside_B1HW: Tensor, token_grid: tuple[int, int], doubt_px: float) -> Tensor:
    """Return doubt by token, (B, h, w): what moves beside the whole picture, what is beside it, and what comes in."""
    moves_B1HW = torch.maximum(motion_B2HW.square().sum(1, keepdim=True).sqrt(), outside_B1HW)
    moves_B1hw = F.max_pool2d(F.adaptive_max_pool2d(moves_B1HW, token_grid), 3, stride=1, padding=1)
    # Below half of `doubt_px` flow says nothing moves: no doubt at all, so that what stands still does not flicker.
    doubt_Bhw: Tensor = (2 * moves_B1hw[:, 0] / doubt_px - 1).clamp(0, 1)
    return doubt_Bhw


__all__ = ["TOLD", "MovedFrame", "mended", "move_in_doubt"]
