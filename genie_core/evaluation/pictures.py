"""Arrangement of frames into one picture: rows of frames with coloured edges, enlarged by an integer factor.

Draws no text, which the report adds. `genie_view.sheet` draws for people: titles, code numbers, frames of equal height.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genie_core.data import Frames
from genie_core.data.frames.palette import code_palette, rgb

_GAP = 4
_CHIP = 5
_SHORTER_SIDE = 96
"""Frames are enlarged by an integer factor until their shorter side has at least this many pixels."""


@dataclass(frozen=True)
class Cell:
    """One frame, (h, w, 3) uint8, and the code whose colour is painted above it, if any."""

    frame_HWC: Frames
    code: int | None = None


def frame_grid(rows: Sequence[Sequence[Cell]]) -> Frames:
    """Return all rows on white, (H, W, 3) uint8; frames of the same size, rows of any length."""
    height, width = rows[0][0].frame_HWC.shape[:2]
    scale = max(1, -(-_SHORTER_SIDE // min(height, width)))
    tall, wide = _CHIP + height * scale + _GAP, width * scale + _GAP
    columns = max(len(row) for row in rows)
    sheet = np.full((len(rows) * tall + _GAP, columns * wide + _GAP, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            top, left = _GAP + i * tall, _GAP + j * wide
            if cell.code is not None:
                sheet[top : top + _CHIP, left : left + width * scale] = rgb(code_palette(cell.code + 1)[cell.code])
            large = cell.frame_HWC.repeat(scale, axis=0).repeat(scale, axis=1)
            sheet[top + _CHIP : top + _CHIP + height * scale, left : left + width * scale] = large
    return sheet


__all__ = ["Cell", "frame_grid"]
