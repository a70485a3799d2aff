"""Draws a field of motion as arrows over a picture. numpy only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genie_core.data.frames.resize import Frames, resize_frames

Ink = tuple[int, int, int]

_FADED = 0.55
_HEAD = 0.35
_STEPS = 48


def draw_motion(
    frame_HWC: Frames,
    motion_GG2: NDArray[np.float64],
    unit: float,
    colour: Ink,
    side: int = 192,
) -> Frames:
    """Draw an arrow in each of G x G cells over a paled picture.

    Args:
        frame_HWC: the picture, uint8.
        motion_GG2: motion (right, down) of each cell.
        unit: length of a motion whose arrow is as long as a cell is wide; longer ones are drawn at that length.
        colour: of the arrows.
        side: height and width of the drawing, pixels.

    Returns:
        (side, side, 3) uint8.

    """
    grey = resize_frames(frame_HWC[None], side, side)[0].mean(axis=2, keepdims=True)
    canvas = np.repeat(255 - (255 - grey) * _FADED, 3, axis=2)
    cells = len(motion_GG2)
    cell = side / cells
    for row in range(cells):
        for column in range(cells):
            move = motion_GG2[row, column] / max(unit, 1e-9)
            length = float(np.hypot(*move))
            if length < 0.15:
                continue
            arrow = move * cell * min(1.0, 1.0 / length)
            middle = np.array([(column + 0.5) * cell, (row + 0.5) * cell])
            _arrow(canvas, middle - arrow / 2, middle + arrow / 2, colour)
    drawn: Frames = np.clip(canvas.round(), 0, 255).astype(np.uint8)
    return drawn


def _arrow(canvas: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64], colour: Ink) -> None:
    along = end - start
    across = np.array([-along[1], along[0]])
    strokes = [(start, end), (end, end - _HEAD * (along + across)), (end, end - _HEAD * (along - across))]
    inks: tuple[tuple[int, Ink], ...] = ((2, (0, 0, 0)), (0, colour))
    for width, ink in inks:  # a dark edge, so that it shows on any picture
        for first, last in strokes:
            _stroke(canvas, first, last, width, ink)


def _stroke(
    canvas: NDArray[np.float64], first: NDArray[np.float64], last: NDArray[np.float64], width: int, ink: Ink
) -> None:
    """Draw a line `width` + 1 pixels wide, clipped to the canvas."""
    side = len(canvas)
    place_N2 = first + np.linspace(0, 1, _STEPS)[:, None] * (last - first)
    reach = np.arange(width + 1) - width // 2
    column = np.round(place_N2[:, 0]).astype(int)[:, None, None] + reach[None, :, None]
    row = np.round(place_N2[:, 1]).astype(int)[:, None, None] + reach[None, None, :]
    column, row = np.broadcast_arrays(column, row)
    inside = (column >= 0) & (column < side) & (row >= 0) & (row < side)
    canvas[row[inside], column[inside]] = np.array(ink, np.float64)


__all__ = ["draw_motion"]
