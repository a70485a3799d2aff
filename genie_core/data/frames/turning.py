"""Turns pictures that are stored sideways, upside down or mirrored, as their files say and players do."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np

from genie_core.data.frames.resize import Frames
from genie_core.errors import DatasetError

Rotation = Literal["90", "180", "270"]
"""Degrees by which pictures are turned clockwise when read, in words of the command line."""

_FIXED = 65536
_SLANT = 0.01
"""Largest part of the other axis in a matrix that still turns by whole quarters."""


@dataclass(frozen=True)
class Turn:
    """How a stored picture becomes the one that is shown.

    Attributes:
        transposed: first, rows become columns.
        left_right: then each row is reversed.
        up_down: then the order of the rows is.

    """

    transposed: bool = False
    left_right: bool = False
    up_down: bool = False

    def of(self, frames_THWC: Frames) -> Frames:
        """Turn frames, (T, H, W, 3); a view where possible."""
        if self.transposed:
            frames_THWC = frames_THWC.swapaxes(1, 2)
        if self.left_right:
            frames_THWC = frames_THWC[:, :, ::-1]
        return frames_THWC[:, ::-1] if self.up_down else frames_THWC

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of a picture that is stored in `size`."""
        return size[::-1] if self.transposed else size

    @property
    def words(self) -> str:
        """Describe the turn in words."""
        return {
            (False, False, False): "as it is",
            (False, True, False): "mirrored",
            (False, True, True): "turned by 180 degrees",
            (False, False, True): "turned upside down",
            (True, False, False): "turned by 90 degrees clockwise and mirrored",
            (True, True, False): "turned by 90 degrees clockwise",
            (True, True, True): "turned by 90 degrees anticlockwise and mirrored",
            (True, False, True): "turned by 90 degrees anticlockwise",
        }[self.transposed, self.left_right, self.up_down]


UPRIGHT = Turn()

_BY_ORIENTATION = (
    UPRIGHT,
    Turn(left_right=True),
    Turn(left_right=True, up_down=True),
    Turn(up_down=True),
    Turn(transposed=True),
    Turn(transposed=True, left_right=True),
    Turn(transposed=True, left_right=True, up_down=True),
    Turn(transposed=True, up_down=True),
)
"""EXIF's orientations 1 to 8 (CIPA DC-008, tag 0x0112)."""


def turn_by(clockwise: Rotation | None) -> Turn:
    """Return the turn by whole quarters."""
    return {None: UPRIGHT, "90": _BY_ORIENTATION[5], "180": _BY_ORIENTATION[2], "270": _BY_ORIENTATION[7]}[clockwise]


def turn_of_orientation(orientation: int) -> Turn:
    """Return the turn that EXIF's `orientation` asks for; none for undefined numbers."""
    return _BY_ORIENTATION[orientation - 1] if 1 <= orientation <= len(_BY_ORIENTATION) else UPRIGHT


def turn_of_matrix(matrix: bytes, where: str) -> Turn:
    """Return the turn that a display matrix (ISO/IEC 14496-12, 36 bytes in native order, as FFmpeg gives it) asks for.

    Raises DatasetError, naming `where`, if it is not by whole quarters.
    """
    right, down, _, below, across, *_ = (number / _FIXED for number in struct.unpack_from("=9i", matrix))
    # A stored point (x, y) is shown at (right x + below y, down x + across y).
    largest = max(map(abs, (right, down, below, across)))
    if not largest:
        return UPRIGHT
    if max(abs(down), abs(below)) <= _SLANT * largest:
        return Turn(left_right=right < 0, up_down=across < 0)
    if max(abs(right), abs(across)) <= _SLANT * largest:
        return Turn(transposed=True, left_right=below < 0, up_down=down < 0)
    angle = np.degrees(np.arctan2(down, right))
    raise DatasetError(
        f"{where}: is to be shown turned by {angle:.0f} degrees, expected a multiple of 90: encode it upright"
    )


__all__ = ["UPRIGHT", "Rotation", "Turn", "turn_by", "turn_of_matrix", "turn_of_orientation"]
