"""Draws frames as a grid, each with a bar in the colour of its latent action code. Contact sheets and reports use it.

Draws no text: `genie_view.sheet` adds its own, a report says it beside the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genie_core.data.frames.palette import code_palette, rgb
from genie_core.data.frames.resize import Frames

Colour = tuple[int, int, int]
"""RGB, 0 to 255 each."""


@dataclass(frozen=True)
class CodedFrame:
    """A frame, (h, w, 3) uint8, and its code; None: no code."""

    frame_HWC: Frames
    code: int | None = None


@dataclass(frozen=True)
class GridStyle:
    """Style of a grid; lengths in pixels.

    Attributes:
        background: colour between the frames.
        uncoded: colour of the bar of a frame without a code.
        bar: height of the bars.
        bar_below: whether bars are below their frames instead of above.
        row_gap, column_gap: space after each row and column.
        top, right, bottom, left: margins.

    """

    background: Colour
    uncoded: Colour
    bar: int
    bar_below: bool
    row_gap: int
    column_gap: int
    top: int = 0
    right: int = 0
    bottom: int = 0
    left: int = 0

    def bar_at(self, row: int, column: int, size: tuple[int, int]) -> tuple[int, int]:
        """Return the upper left corner (y, x) of a bar in a grid of frames of `size`, (h, w)."""
        y, x = self._cell_at(row, column, size)
        return y + (size[0] if self.bar_below else 0), x

    def frame_at(self, row: int, column: int, size: tuple[int, int]) -> tuple[int, int]:
        """Return the upper left corner (y, x) of a frame in a grid of frames of `size`, (h, w)."""
        y, x = self._cell_at(row, column, size)
        return y + (0 if self.bar_below else self.bar), x

    def extent(self, rows: int, columns: int, size: tuple[int, int]) -> tuple[int, int]:
        """Return the height and width of a whole grid of frames of `size`, (h, w)."""
        y, x = self._cell_at(rows, columns, size)
        return y + self.bottom, x + self.right

    def _cell_at(self, row: int, column: int, size: tuple[int, int]) -> tuple[int, int]:
        height, width = size
        return self.top + row * (height + self.bar + self.row_gap), self.left + column * (width + self.column_gap)


_WHITE = (255, 255, 255)
_REPORT = GridStyle(_WHITE, _WHITE, bar=5, bar_below=False, row_gap=4, column_gap=4, top=4, left=4)
_SHORTER_SIDE = 96


def frame_grid(rows: Sequence[Sequence[CodedFrame]], style: GridStyle, palette: Sequence[int] | None = None) -> Frames:
    """Draw rows of any length, of frames of one size; returns an image (H, W, 3) uint8.

    `palette` holds a colour 0xRRGGBB per code; None: `code_palette`.
    """
    size = rows[0][0].frame_HWC.shape[0], rows[0][0].frame_HWC.shape[1]
    height, width = size
    image = np.full((*style.extent(len(rows), max(map(len, rows)), size), 3), style.background, np.uint8)
    for i, row in enumerate(rows):
        for j, coded in enumerate(row):
            y, x = style.bar_at(i, j, size)
            image[y : y + style.bar, x : x + width] = _bar_colour(coded.code, style, palette)
            y, x = style.frame_at(i, j, size)
            image[y : y + height, x : x + width] = coded.frame_HWC
    return image


def report_grid(rows: Sequence[Sequence[CodedFrame]]) -> Frames:
    """Draw a grid for a report: on white, bars above, frames enlarged to a shorter side of at least 96 pixels."""
    return frame_grid([[CodedFrame(_enlarged(one.frame_HWC), one.code) for one in row] for row in rows], _REPORT)


def _bar_colour(code: int | None, style: GridStyle, palette: Sequence[int] | None) -> Colour:
    if code is None:
        return style.uncoded
    return rgb((palette or code_palette(code + 1))[code])


def _enlarged(frame_HWC: Frames) -> Frames:
    factor = max(1, -(-_SHORTER_SIDE // min(frame_HWC.shape[:2])))
    return frame_HWC.repeat(factor, axis=0).repeat(factor, axis=1)


__all__ = ["CodedFrame", "Colour", "GridStyle", "frame_grid", "report_grid"]
