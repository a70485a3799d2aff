"""The motion encoder with a learnt correlation of features in place of optical flow: for `motion_ablation.py`.

Optical flow stays the target of its loss; labelling would need neither flow nor OpenCV.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genie_core.models.config import MotionActionConfig
from genie_core.models.motion import GRID, MotionDecoder, Pairs
from genie_core.models.motion_lam import MotionActionModel

REACH = 4
"""Cells to each side over which features are compared."""
FINE, COARSE = 2, 4
"""Pixels of a cell, at the two resolutions of the features."""
CHANNELS, HEAD = 16, 32
AT_ONCE = 16
"""Pairs whose features are compared at once: 4 MB each."""
SHARP = 10.0
"""First factor of cosines before they are made shares; learnt."""


class LocalCorrelation(nn.Module):
    """Says where each cell of a frame has gone, by features of both frames compared within `REACH` cells.

    The mean displacement under the softmax of the cosines, of cells of `FINE` pixels, corrected by a few convolutions
    that see the cosines of both resolutions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 5, stride=FINE, padding=2)
        self.fine = nn.Conv2d(24, CHANNELS, 3, padding=1)
        self.down = nn.Conv2d(24, 32, 3, stride=COARSE // FINE, padding=1)
        self.coarse = nn.Conv2d(32, CHANNELS, 3, padding=1)
        self.sharp = nn.Parameter(torch.full((2,), SHARP).log())
        cosines = 2 * (2 * REACH + 1) ** 2
        self.head = nn.Sequential(
            nn.Conv2d(cosines + 4, HEAD, 1),
            nn.GELU(),
            nn.Conv2d(HEAD, HEAD, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(HEAD, 2, 3, padding=1),
        )
        nn.init.zeros_(self.head[-1].weight)
        nn.init.zeros_(self.head[-1].bias)

    def forward(self, before_NCHW: Tensor, after_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) each, H and W multiples of `COARSE` -> flow there and back, (N, 2, H / 2, W / 2), pixels."""
        levels = [
            self._compare(*pair, cell, sharp)
            for pair, cell, sharp in zip(
                zip(self._features(before_NCHW), self._features(after_NCHW), strict=True),
                (FINE, COARSE),
                self.sharp.exp(),
                strict=True,
            )
        ]
        there, back = (self._flow(fine, coarse) for fine, coarse in zip(*levels, strict=True))
        return there, back

    def _features(self, frame_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        x = frame_NCHW - frame_NCHW.mean((2, 3), keepdim=True)
        x = F.gelu(self.stem(2 * x))
        return F.normalize(self.fine(x), dim=1), F.normalize(self.coarse(F.gelu(self.down(x))), dim=1)

    def _compare(
        self, before_NCHW: Tensor, after_NCHW: Tensor, cell: int, sharp: Tensor
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return cosines (N, K, h, w) and mean displacement (N, 2, h, w), pixels, there and back."""
        n, _, h, w = before_NCHW.shape
        cosine_NPP = torch.bmm(before_NCHW.flatten(2).transpose(1, 2), after_NCHW.flatten(2))
        here_P, there_KP, away_K2 = _window(h, w)
        found = []
        for index_KP in (here_P * h * w + there_KP, there_KP * h * w + here_P):
            cosine_NKhw = cosine_NPP.flatten(1).index_select(1, index_KP.flatten()).view(n, -1, h, w)
            share_NKhw = (sharp * cosine_NKhw).softmax(1)
            found.append((cosine_NKhw, torch.einsum("nkhw,kc->nchw", share_NKhw, cell * away_K2)))
        return found[0], found[1]

    def _flow(self, fine: tuple[Tensor, Tensor], coarse: tuple[Tensor, Tensor]) -> Tensor:
        coarse_up = [F.interpolate(x, scale_factor=COARSE // FINE, mode="nearest") for x in coarse]
        seen = torch.cat((fine[0], coarse_up[0], fine[1] / 4, coarse_up[1] / 4), dim=1)
        flow: Tensor = fine[1] + self.head(seen)
        return flow


def _window(h: int, w: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the index of each cell (P,), those of its neighbours (K, P), and how far each is (K, 2)."""
    row_P, column_P = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    away = torch.arange(-REACH, REACH + 1)
    down_K, right_K = (x.flatten() for x in torch.meshgrid(away, away, indexing="ij"))
    rows_KP = (row_P.flatten() + down_K[:, None]).clamp(0, h - 1)
    columns_KP = (column_P.flatten() + right_K[:, None]).clamp(0, w - 1)
    return torch.arange(h * w), rows_KP * w + columns_KP, torch.stack((right_K, down_K), dim=1).float()


class _DecoderOfFrames(MotionDecoder):
    """The decoder of flow, of frames of any size."""

    def forward(self, frame_NCHW: Tensor, latent_ND: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(F.adaptive_avg_pool2d(frame_NCHW, GRID), latent_ND)


class CorrelatingModel(MotionActionModel):
    """Reads pairs whose frames are at their own size, and their flow for nothing but the loss.

    `learnt`: the last pairs of which it made features, as the parent reads them, with the learnt flow.
    """

    learnt: Pairs | None = None

    def __init__(self, config: MotionActionConfig, height: int, width: int) -> None:
        super().__init__(config, height, width)
        self.motion_decoder = _DecoderOfFrames(config)
        self.correlation = LocalCorrelation()

    def see(self, before_NCHW: Tensor, after_NCHW: Tensor) -> Pairs:
        """As of the parent, with frames at their own size."""
        return replace(super().see(before_NCHW, after_NCHW), before_NCHW=before_NCHW, after_NCHW=after_NCHW)

    def features_of(self, pairs: Pairs) -> Tensor:
        """As of the parent, of pairs as `see` gives them."""
        self.learnt = self.correlated(pairs)
        return super().features_of(self.learnt)

    def correlated(self, pairs: Pairs) -> Pairs:
        """Return pairs as the parent reads them, with the learnt flow."""
        frames = pairs.before_NCHW, pairs.after_NCHW
        with torch.autocast("cpu", enabled=False):  # bfloat16 is too coarse for displacements below a pixel
            found = [self.correlation(*some) for some in zip(*(x.split(AT_ONCE) for x in frames), strict=True)]
        there, back = (torch.cat(flow) for flow in zip(*found, strict=True))
        small = (F.adaptive_avg_pool2d(x, GRID) for x in frames)
        return Pairs(*small, F.adaptive_avg_pool2d(there, GRID), F.adaptive_avg_pool2d(back, GRID)).steady()


def taught_loss(learnt: Pairs, told: Pairs, still: float) -> Tensor:
    """Return the squared error of the learnt flow of pairs beside their flow, over the pair's own motion."""
    own_N = told.there_NCHW.square().flatten(1).mean(1) + still
    errors = (
        (learnt.there_NCHW - told.there_NCHW).square().flatten(1).mean(1),
        (learnt.back_NCHW - told.back_NCHW).square().flatten(1).mean(1),
    )
    return ((errors[0] + errors[1]) / 2 / own_N).mean()


__all__ = ["CorrelatingModel", "LocalCorrelation", "taught_loss"]
