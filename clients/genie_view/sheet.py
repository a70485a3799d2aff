"""Draws contact sheets: rows of frames, each above a strip in the colour of the code taken from it. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Frames, LabelledFile, resize_frames
from genie_core.data.frames.grid import CodedFrame, Colour, GridStyle, frame_grid
from genie_core.data.frames.palette import code_palette, rgb
from genie_core.data.labelled.originals import Originals
from genie_core.errors import DatasetError
from genie_view import font
from genie_view.reading import frames_of

Image = NDArray[np.uint8]
"""(H, W, 3) RGB."""

_BACKGROUND: Colour = (22, 24, 29)
_EMPTY: Colour = (44, 47, 54)
_TEXT: Colour = (232, 234, 237)
_FAINT: Colour = (150, 155, 165)
_MARGIN = 18
_GAP = 6
_STRIP = 18
_ROW_GAP = 12
_CHIP = 14
_TEXT_SCALE = 2
_LINE = (font.HEIGHT + 4) * _TEXT_SCALE


@dataclass(frozen=True)
class SheetRow:
    """One row of a sheet.

    Attributes:
        title: first line of the caption on the left.
        note: second line, fainter.
        frames_THWC: frames, uint8, of one size in all rows.
        codes: the code taken from each frame; None: no code.
        chip: code whose colour is shown beside the title; None: no chip.

    """

    title: str
    note: str
    frames_THWC: Frames
    codes: Sequence[int | None]
    chip: int | None = None


def contact_sheet(heading: str, rows: Sequence[SheetRow], palette: Sequence[int], *, frame_px: int = 128) -> Image:
    """Draw `rows` under `heading`, with frames scaled to a height of `frame_px` pixels.

    `palette` holds a colour 0xRRGGBB per code. Raises ValueError if there is nothing to draw.
    """
    if not rows or not all(len(row.frames_THWC) for row in rows):
        raise ValueError("a contact sheet needs at least one row, and each row a frame")
    _, height, width, _ = rows[0].frames_THWC.shape
    size = frame_px, max(1, round(frame_px * width / height))
    style = GridStyle(
        _BACKGROUND,
        _EMPTY,
        bar=_STRIP,
        bar_below=True,
        row_gap=_ROW_GAP,
        column_gap=_GAP,
        top=_MARGIN + 2 * _LINE,
        right=_MARGIN,
        bottom=_MARGIN,
        left=_MARGIN + _label_width(rows),
    )
    frames = [
        [CodedFrame(*one) for one in zip(resize_frames(row.frames_THWC, *size), row.codes, strict=True)] for row in rows
    ]
    canvas = frame_grid(frames, style, palette)
    _draw_text(canvas, _MARGIN, _MARGIN, heading, _TEXT, _TEXT_SCALE)
    for index, row in enumerate(rows):
        _draw_label(canvas, style.frame_at(index, 0, size)[0] + size[0] // 2 - _LINE, row, palette)
        for column, code in enumerate(row.codes):
            if code is not None:
                y, x = style.bar_at(index, column, size)
                _draw_number(canvas[y : y + _STRIP, x : x + size[1]], code, palette)
    return canvas


def labelled_sheet(labelled: LabelledFile, names: Sequence[str], *, columns: int = 12) -> Image:
    """Draw a contact sheet with a row per episode: `columns` frames evenly spaced over those that start a transition.

    Raises DatasetError if an episode has no labels, or its frames no longer exist.
    """
    rows, originals = [], Originals()
    for name in names:
        labels, attrs = labelled.labels(name)
        found, valid = frames_of(labelled, name, originals), np.flatnonzero(labels.valid)
        episode = found.episode
        if episode is None:
            raise DatasetError(f"{labelled.path}: {name}: its frames cannot be shown: {found.note}")
        if not len(valid):
            raise DatasetError(f"{labelled.path}: {name}: got no labelled frames, expected some to show")
        shown = valid[np.linspace(0, len(valid) - 1, min(columns, len(valid))).round().astype(np.int64)]
        frames_THWC = np.concatenate([episode.frames(index, index + 1) for index in shown.tolist()])
        note = f"{len(labels)} frames, step {attrs.step}"
        rows.append(SheetRow(name, note, frames_THWC, labels.code[shown].tolist()))
    palette = code_palette(len(labelled.model.codebook))
    return contact_sheet(f"{labelled.path.name}: latent actions of {labelled.model.bundle_name}", rows, palette)


def _label_width(rows: Sequence[SheetRow]) -> int:
    longest = max(len(text) for row in rows for text in (row.title, row.note))
    return _CHIP + _GAP + longest * (font.WIDTH + font.SPACING) * _TEXT_SCALE + _GAP


def _draw_label(canvas: Image, y: int, row: SheetRow, palette: Sequence[int]) -> None:
    if row.chip is not None:
        canvas[y : y + _CHIP, _MARGIN : _MARGIN + _CHIP] = rgb(palette[row.chip])
    x = _MARGIN + _CHIP + _GAP
    _draw_text(canvas, y, x, row.title, _TEXT, _TEXT_SCALE)
    _draw_text(canvas, y + _LINE, x, row.note, _FAINT, _TEXT_SCALE)


def _draw_number(strip: Image, code: int, palette: Sequence[int]) -> None:
    """Draw the code's number in the centre of its bar."""
    mask = font.text_mask(str(code), _TEXT_SCALE)
    y, x = (strip.shape[0] - mask.shape[0]) // 2, (strip.shape[1] - mask.shape[1]) // 2
    _draw_text(strip, max(0, y), max(0, x), str(code), _ink_on(rgb(palette[code])), _TEXT_SCALE)


def _ink_on(color: Colour) -> Colour:
    """Black or white, whichever is more legible on `color`."""
    red, green, blue = color
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 128 else (255, 255, 255)


def _draw_text(canvas: Image, y: int, x: int, text: str, color: Colour, scale: int) -> None:
    """Draw `text` with its upper left corner at (y, x), clipped to the image."""
    mask = font.text_mask(text, scale)
    region = canvas[y : y + mask.shape[0], x : x + mask.shape[1]]
    region[mask[: region.shape[0], : region.shape[1]]] = color


__all__ = ["Image", "SheetRow", "contact_sheet", "labelled_sheet"]
