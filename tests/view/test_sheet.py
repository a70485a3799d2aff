"""Contact sheets: the right colours in the right places, and text that is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genie_core.data.frames.palette import code_palette
from genie_core.errors import DatasetError
from genie_view import font
from genie_view.sheet import SheetRow, contact_sheet, labelled_sheet, rgb
from tests.factories.data import make_frames, make_robomimic
from tests.factories.labelled import label_file

PALETTE = code_palette(8)
PX = 64


def count(sheet: np.ndarray, color: tuple[int, int, int]) -> int:
    """How many pixels of a sheet have just this colour."""
    return int((sheet == color).all(axis=-1).sum())


def solid(*colors: tuple[int, int, int]) -> np.ndarray:
    """(T, 16, 16, 3) frames of one colour each."""
    return np.array(colors, np.uint8)[:, None, None].repeat(16, axis=1).repeat(16, axis=2)


def test_every_frame_stands_over_the_colour_of_its_code() -> None:
    colors = [(200, 10, 10), (10, 200, 10), (10, 10, 200)]
    sheet = contact_sheet("heading", [SheetRow("row", "note", solid(*colors), [1, 5, None])], PALETTE, frame_px=PX)
    for color, code in zip(colors, [1, 5, None], strict=True):
        assert count(sheet, color) == PX * PX
        y, x = np.argwhere((sheet == color).all(axis=-1)).max(axis=0)
        below = tuple(sheet[y + 1, x].tolist())
        assert below == (44, 47, 54) if code is None else rgb(PALETTE[code])


def test_rows_of_different_lengths_and_wide_frames_fit() -> None:
    wide = make_frames(3, 32, 64)
    rows = [SheetRow("a", "", wide[:2], [0, 1]), SheetRow("a longer title", "", wide, [7, 7, 7], chip=7)]
    sheet = contact_sheet("", rows, PALETTE, frame_px=PX)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] > 3 * 2 * PX
    assert count(sheet, rgb(PALETTE[7])) > 3 * 2 * PX


def test_a_sheet_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        contact_sheet("", [], PALETTE)


def test_text_is_drawn_in_capitals_and_unknown_signs_as_question_marks() -> None:
    np.testing.assert_array_equal(font.text_mask("code é"), font.text_mask("CODE ?"))
    assert font.text_mask("ab", 2).shape == (2 * font.HEIGHT, 2 * (2 * font.WIDTH + font.SPACING))
    assert font.text_mask("").shape == (font.HEIGHT, 0)
    glyphs = {font.text_mask(sign).tobytes() for sign in "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:-+=/%()"}
    assert len(glyphs) == 46


def test_a_labelled_file_becomes_one_row_an_episode(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=2, frames=20), code=3)
    sheet = labelled_sheet(labelled, labelled.episodes, columns=6)
    painted = (sheet == rgb(PALETTE[3])).all(axis=-1)
    rows = painted.any(axis=1)
    assert (rows[:-1] < rows[1:]).sum() == 2
    strip = painted[rows.argmax()]
    assert (strip[:-1] < strip[1:]).sum() == 6


def test_a_labelled_file_whose_frames_have_gone_is_refused(tmp_path: Path) -> None:
    source = make_robomimic(tmp_path / "lift.hdf5", episodes=1)
    labelled = label_file(source, frames="none")
    source.unlink()
    with pytest.raises(DatasetError, match="demo_0"):
        labelled_sheet(labelled, labelled.episodes)
