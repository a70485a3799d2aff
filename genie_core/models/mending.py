"""Mends moved frames by tokens (beyond the paper): what comes into view, and what bends that should not.

A moved frame can show only what the last one did. So its tokens are the dynamics model's previous tokens, and MaskGIT
draws those of the true frame, told what else a rollout could show of what it remembers, and where the flow is in doubt.
A token of the moved frame that is drawn again leaves its pixels as they are; one of another picture shows that one's;
all others are decoded, where that tells more than the tokenizer's own errors. Drawn, not averaged, they stay sharp.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from genie_core.models.dynamics import Told
from genie_core.models.flow import UNIT
from genie_core.models.motion import whole_motion
from genie_core.models.mover import FrameMover, Moving
from genie_core.models.refiner import OTHERS, candidates, done_share, told_of
from genie_core.models.tokenizer import VideoTokenizer
from genie_core.models.warp import spread_to, warp

TOLD = 26
"""Maps that the dynamics model is told of each moved frame."""

_OUTSIDE_SCALE = 0.25

_SEAM = 3
"""Power of the interpolated weights of pictures where they meet."""

_AROUND = 3
"""Tokens a side over which the tokenizer's own error is averaged."""


@dataclass(frozen=True)
class MovedFrame:
    """B frames that were moved, and what is to be said of them.

    Attributes:
        moving: the moved frames, as a model without tokens would show them, and what is remembered after the step.
        other_BOCHW: `OTHERS` pictures that may be shown instead.
        told_BCHW: `TOLD` maps for the dynamics model.
        doubt_Bhw: how far the flow is not to be trusted at each token's place, 0 to 1; exactly 0 where nothing moves.
        done_B1: share of the change to apply, exactly 0 for a latent of zero.

    """

    moving: Moving
    other_BOCHW: Tensor
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
    others = candidates(frame_BCHW, whole_B2, memory)
    outside_B1HW = _outside(back_B2HW)
    doubt_Bhw = _doubt(back_B2HW + whole_B2[:, :, None, None], outside_B1HW, token_grid, mover.mending.doubt_px)
    doubt_B1HW = F.interpolate(doubt_Bhw[:, None], (H, W), mode="nearest")
    plain = warp(frame_BCHW, back_B2HW)
    told = told_of(shown_BCHW, (*others, plain), back_B2HW, whole_B2, size_B1, memory)
    told_BCHW = torch.cat((*told, _OUTSIDE_SCALE * outside_B1HW, doubt_B1HW), dim=1)
    return MovedFrame(moving, torch.stack(others, 1), told_BCHW, doubt_Bhw, done_share(size_B1))


def read(tokenizer: VideoTokenizer, moved: MovedFrame) -> tuple[Tensor, Told]:
    """Return the tokens of moved frames (B, N), and what the dynamics model is told beside."""
    pictures_BSCHW = torch.cat((moved.moving.frame_BCHW[:, None], moved.other_BOCHW), dim=1)
    B, S = pictures_BSCHW.shape[:2]
    token_BSN = tokenizer.encode(pictures_BSCHW.flatten(0, 1)[:, None]).view(B, S, -1)
    return token_BSN[:, 0], Told(moved.told_BCHW[:, None], token_BSN[:, None, 1:].transpose(2, 3))


def mended(
    moved: MovedFrame,
    before_BN: Tensor,
    told: Told,
    after_BN: Tensor,
    drawn_BCHW: Tensor,
    tells_BN: Tensor | None = None,
) -> Tensor:
    """Show what the tokens that were drawn are of, where the flow is in doubt, else the moved frames, to the bit.

    Args:
        moved: the moved frames.
        before_BN: their tokens.
        told: with the tokens of the other pictures.
        after_BN: the tokens that were drawn.
        drawn_BCHW: those decoded, in about [-0.5, 0.5].
        tells_BN: which of them may be shown decoded (`tells`); None: all.

    """
    frame_BCHW = moved.moving.frame_BCHW
    pictures = (*moved.other_BOCHW.unbind(1), drawn_BCHW.float().clamp(-0.5, 0.5))
    same_BNS = torch.cat((before_BN[..., None], told.other_BTNO[:, 0]), dim=-1) == after_BN[..., None]
    any_BN1 = ~same_BNS.any(-1, keepdim=True)  # of no picture: decoded
    of_BN = torch.cat((same_BNS, any_BN1), dim=-1).to(torch.uint8).argmax(-1)  # the first of those it may be
    if tells_BN is not None:
        of_BN = of_BN.masked_fill(any_BN1[..., 0] & ~tells_BN, 0)
    of_BhwS = F.one_hot(of_BN, len(pictures) + 1).float().view(*moved.doubt_Bhw.shape, -1)
    shown_BShw = of_BhwS.movedim(-1, 1)[:, 1:] * (moved.doubt_Bhw * moved.done_B1[:, :, None])[:, None]
    weight_BShw = torch.cat((1 - shown_BShw.sum(1, keepdim=True), shown_BShw), dim=1)
    # Seams are interpolated, and sharper than that: a token's own pixels are nearly its own.
    weight_BSHW = F.interpolate(weight_BShw, frame_BCHW.shape[-2:], mode="bilinear", align_corners=False) ** _SEAM
    weight_BSHW = weight_BSHW / weight_BSHW.sum(1, keepdim=True)
    change_BCHW = torch.zeros_like(frame_BCHW)
    for i, picture_BCHW in enumerate(pictures, 1):
        change_BCHW = change_BCHW + weight_BSHW[:, i : i + 1] * (picture_BCHW - frame_BCHW)
    return frame_BCHW + change_BCHW


def tells(moved: MovedFrame, drawn_BCHW: Tensor, own_BCHW: Tensor, least_change: float) -> Tensor:
    """Return which of the drawn tokens tell something, (B, N).

    Where a tokenizer knows a video badly, tokens of what looks the same differ by less than each of them from what it
    is of. To show the drawn one there would cost sharpness, and say nothing.

    Args:
        moved: the moved frames.
        drawn_BCHW: the drawn tokens, decoded.
        own_BCHW: those of the moved frames, decoded.
        least_change: how many times the tokenizer's squared error around it a token's picture has to differ by.

    """
    h, w = moved.doubt_Bhw.shape[1:]

    def by_token(change_BCHW: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(change_BCHW.float().square().mean(1, keepdim=True), (h, w))

    error_B1hw = by_token(moved.moving.frame_BCHW - own_BCHW)
    error_B1hw = F.avg_pool2d(error_B1hw, _AROUND, stride=1, padding=_AROUND // 2, count_include_pad=False)
    return (by_token(drawn_BCHW - own_BCHW) >= least_change * error_B1hw).flatten(1)


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


__all__ = ["OTHERS", "TOLD", "MovedFrame", "mended", "move_in_doubt", "read", "tells"]
