"""The palette of a bundle as one picture, a row for each code. Needs no Rerun."""

from __future__ import annotations

import numpy as np

from genie_core.data import Frames, decode_image, resize_frames
from genie_core.data.code_meanings import EXAMPLE_PX, CodeMeanings
from genie_core.data.frames.palette import code_palette
from genie_core.errors import DatasetError
from genie_view.sheet import Image, SheetRow, contact_sheet

_PX = 112


def palette_sheet(meanings: CodeMeanings) -> Image:
    """Draw, for every code in use, its mean motion and its clearest transitions. DatasetError if there is none."""
    rows = []
    for code, one in enumerate(meanings.codes):
        if not one.picture:
            continue
        motion = resize_frames(decode_image(one.picture)[None], _PX, _PX)
        frames = np.concatenate([motion, resize_frames(_cut(decode_image(one.examples)), _PX, _PX)])
        read = "" if one.round_trip is None else f", read back {one.round_trip:.0%}"
        title = f"{code} {one.words}"
        note = f"{one.share:.0%}{read}{'' if one.robot is None else f', {one.robot}'}"
        codes: list[int | None] = [code, *[code, None] * (len(frames) // 2)]
        rows.append(SheetRow(title, note, frames, codes, code))
    if not rows:
        raise DatasetError(f"{meanings.data}: got no transition with a code, expected some to draw")
    heading = f"codes of {meanings.bundle_name}: mean motion, clearest transitions (before, after)"
    return contact_sheet(heading, rows, code_palette(len(meanings.codes)), frame_px=_PX)


def _cut(strip_HWC: Frames) -> Frames:
    """Cut a strip of frames into (n, EXAMPLE_PX, EXAMPLE_PX, 3)."""
    return np.stack(np.split(strip_HWC, strip_HWC.shape[1] // EXAMPLE_PX, axis=1))


__all__ = ["palette_sheet"]
