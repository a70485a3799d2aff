"""Mends moved frames from what a rollout remembers of its start, by a rule or a small network (beyond the paper).

A frame that is moved step by step is resampled at every step; what stands still beside something that moves is bent;
what comes into view is stretched out of its surroundings. So a rollout remembers where it began. Where the flow summed
over its steps is right, the start frame is resampled once. What bends stands still in frames that are shifted as a
whole: the rule `steadied` shows the start frame wherever little has moved since. What an arm leaves, the oldest frame
of the prompt may have shown. The network chooses between all these pictures at every pixel, and adds what none of them
has; trained by squared error, it is nearer to what happens, but blurs what moves.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genie_core.models.config import RefinerConfig
from genie_core.models.flow import UNIT
from genie_core.models.warp import shifted, warp

OTHERS = 4
"""Pictures beside the moved frame: see `FrameRefiner.forward`."""

_MOVED_FIRST = 3.0
"""Logit of the moved frame before training, the others having 0."""

_SURE = 4.0
"""Factor on logits where one picture is to be chosen: seams are soft over a pixel or two."""

_FLOW_SCALE, _CHANGE_SCALE = 0.125, 0.25

_STILL = 0.05
"""Root mean square of a latent, of which the median pair has 1, at which half of what the network says is done."""


@dataclass(frozen=True)
class Memory:
    """What B rollouts remember of their start.

    Attributes:
        start_BCHW: the last frame of the prompt.
        oldest_BCHW: its first frame.
        flow_B2HW: from the newest frame's pixels back to the start frame's, pixels of a frame of `UNIT` a side.
        shift_B2: how far the whole picture has moved since the start frame, columns and rows, in the same unit.
        older_B2: how far it had moved from the oldest frame to the start frame.

    """

    start_BCHW: Tensor
    oldest_BCHW: Tensor
    flow_B2HW: Tensor
    shift_B2: Tensor
    older_B2: Tensor

    @staticmethod
    def begin(prompt_BTCHW: Tensor, whole_BT2: Tensor) -> Memory:
        """Remember prompts (B, T, 3, H, W), whose pictures moved as a whole by (B, T - 1, 2) between their frames."""
        start_BCHW = prompt_BTCHW[:, -1]
        nowhere_B2 = start_BCHW.new_zeros(len(start_BCHW), 2)
        flow_B2HW = torch.zeros_like(start_BCHW[:, :2])
        return Memory(start_BCHW, prompt_BTCHW[:, 0], flow_B2HW, nowhere_B2, nowhere_B2 + whole_BT2.sum(1))

    def after(self, back_B2HW: Tensor, whole_B2: Tensor) -> Memory:
        """Return what is remembered after a step more, of flow back to the frame before and a shift of the whole."""
        flow_B2HW = back_B2HW + warp(self.flow_B2HW, back_B2HW, "bilinear")
        return Memory(self.start_BCHW, self.oldest_BCHW, flow_B2HW, self.shift_B2 + whole_B2, self.older_B2)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Return all tensors, in the order of the attributes."""
        return tuple(getattr(self, field.name) for field in fields(self))

    @staticmethod
    def floats(height: int, width: int) -> int:
        """Return how many numbers one rollout's memory has."""
        return 8 * height * width + 4


class FrameRefiner(nn.Module):
    """Chooses at every pixel between pictures of what it may show; mixes them, unless the configuration says not to."""

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        self.chooses = config.chooses
        width, fine = config.width, max(1, config.width // 2)
        self.fine_in = nn.Conv2d(3 * (1 + OTHERS) + 6, fine, 3, padding=1, padding_mode="replicate")
        self.coarse_in = nn.Conv2d(fine, width, 4, stride=2, padding=1)
        dilations = (1, 2, 4)
        self.blocks = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=d, dilation=d, padding_mode="replicate")
            for d in (dilations[i % len(dilations)] for i in range(config.blocks))
        )
        self.coarse_out = nn.Conv2d(width, fine, 1)
        added = 0 if config.chooses else 3
        self.fine_out = nn.Conv2d(2 * fine, 1 + OTHERS + added, 3, padding=1, padding_mode="replicate")
        with torch.no_grad():
            self.fine_out.weight.zero_()
            self.fine_out.bias.zero_()  # type: ignore[union-attr]
            self.fine_out.bias[0] = _MOVED_FIRST  # type: ignore[index]

    def forward(
        self, frame_BCHW: Tensor, back_B2HW: Tensor, whole_B2: Tensor, size_B1: Tensor, memory: Memory
    ) -> Tensor:
        """Return the next frames, (B, 3, H, W). For latents of size 0 they are the moved frames, exactly.

        Args:
            frame_BCHW: the last frames, in [-0.5, 0.5].
            back_B2HW: flow from the next frames' pixels back to them, pixels of a frame of `UNIT` a side.
            whole_B2: how far the whole picture moves.
            size_B1: root mean square of the latents.
            memory: of the rollouts, with this step's motion in it.

        """
        moved, others, out = self._found(frame_BCHW, back_B2HW, whole_B2, size_B1, memory)
        logit_BKHW = out[:, : 1 + OTHERS]
        weight_BKHW = (_SURE * logit_BKHW if self.chooses else logit_BKHW).softmax(1)
        change = torch.zeros_like(moved) if self.chooses else _CHANGE_SCALE * out[:, 1 + OTHERS :]
        for i, other in enumerate(others, 1):
            change = change + weight_BKHW[:, i : i + 1] * (other - moved)
        refined_BCHW: Tensor = moved + done_share(size_B1)[:, :, None, None] * change
        return refined_BCHW

    def choice(
        self, frame_BCHW: Tensor, back_B2HW: Tensor, whole_B2: Tensor, size_B1: Tensor, memory: Memory
    ) -> tuple[Tensor, Tensor]:
        """Return the pictures, (B, 1 + OTHERS, 3, H, W), and their chances to be chosen, (B, 1 + OTHERS, H, W).

        Arguments are those of `forward`.
        """
        moved, others, out = self._found(frame_BCHW, back_B2HW, whole_B2, size_B1, memory)
        return torch.stack((moved, *others), 1), out[:, : 1 + OTHERS].softmax(1)

    def _found(
        self, frame_BCHW: Tensor, back_B2HW: Tensor, whole_B2: Tensor, size_B1: Tensor, memory: Memory
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """Return the moved frames, the other pictures, and what the network says of them."""
        moved = warp(frame_BCHW, back_B2HW)
        others = candidates(frame_BCHW, whole_B2, memory)
        told = told_of(moved, others, back_B2HW, whole_B2, size_B1, memory)
        fine = F.gelu(self.fine_in(torch.cat(told, dim=1).to(self.fine_in.weight.dtype)))
        coarse = F.gelu(self.coarse_in(fine))
        for block in self.blocks:
            coarse = coarse + F.gelu(block(coarse))
        up = F.interpolate(self.coarse_out(coarse), fine.shape[2:], mode="bilinear", align_corners=False)
        return moved, others, self.fine_out(torch.cat((fine, F.gelu(up)), dim=1)).float()


def candidates(frame_BCHW: Tensor, whole_B2: Tensor, memory: Memory) -> tuple[Tensor, ...]:
    """Return what may be shown beside the moved frame, `OTHERS` pictures (B, 3, H, W).

    They are the start frame resampled once by the summed flow; and the last frame, the start frame and the oldest one
    of the prompt, each shifted as a whole.
    """
    return (
        warp(memory.start_BCHW, memory.flow_B2HW),
        shifted(frame_BCHW, whole_B2),
        shifted(memory.start_BCHW, memory.shift_B2),
        shifted(memory.oldest_BCHW, memory.shift_B2 + memory.older_B2),
    )


def told_of(
    moved_BCHW: Tensor,
    others: tuple[Tensor, ...],
    back_B2HW: Tensor,
    whole_B2: Tensor,
    size_B1: Tensor,
    memory: Memory,
) -> tuple[Tensor, ...]:
    """Return what a network is told of a moved frame, as maps: pictures and how they differ, flow, stretch, size."""
    return (
        2 * moved_BCHW,
        *(4 * (other - moved_BCHW) for other in others),
        2 * _FLOW_SCALE * (back_B2HW + whole_B2[:, :, None, None]),
        _FLOW_SCALE * (memory.flow_B2HW + memory.shift_B2[:, :, None, None]),
        _stretch(back_B2HW),
        torch.log1p(size_B1)[:, :, None, None].expand(-1, 1, *back_B2HW.shape[2:]),
    )


def steadied(moved_BCHW: Tensor, size_B1: Tensor, memory: Memory, share: float, steady_px: float) -> Tensor:
    """Show the start frame, shifted as a whole, where little has moved since, and else the moved frame.

    Args:
        moved_BCHW: moved frames.
        size_B1: root mean square of the latents; for 0 they stay as they are, exactly.
        memory: of the rollouts, with this step's motion in it.
        share: of the farthest motion in the picture, at which either counts half, so that small motions are shown as
            large ones are.
        steady_px: at which either counts half, at most.

    """
    moved_B1HW = (memory.flow_B2HW + memory.shift_B2[:, :, None, None]).square().sum(1, keepdim=True)
    half_B111 = (share**2 * moved_B1HW.amax((1, 2, 3), keepdim=True)).clamp(1e-9, steady_px**2)
    # The fourth power: with the second, what moves is half its own ghost, and seems to have moved half as far.
    stays_B1HW = done_share(size_B1)[:, :, None, None] / (1 + (moved_B1HW / half_B111).square())
    shown_BCHW: Tensor = moved_BCHW + stays_B1HW * (shifted(memory.start_BCHW, memory.shift_B2) - moved_BCHW)
    return shown_BCHW


def done_share(size_N1: Tensor) -> Tensor:
    """Return the share of the networks' change to apply, by the root mean square of latents: exactly 0 at zero."""
    return size_N1 / (size_N1 + _STILL)


def _stretch(back_B2HW: Tensor) -> Tensor:
    """Return a place's area in the frame before over that now, less 1: below 0 where the frame is stretched."""
    H, W = back_B2HW.shape[2:]
    padded = F.pad(back_B2HW, (1, 1, 1, 1), mode="replicate") / 2
    by_x = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) * (W / UNIT)
    by_y = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) * (H / UNIT)
    return (1 + by_x[:, :1]) * (1 + by_y[:, 1:]) - by_x[:, 1:] * by_y[:, :1] - 1


__all__ = ["OTHERS", "FrameRefiner", "Memory", "candidates", "done_share", "steadied", "told_of"]
