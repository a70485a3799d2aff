"""Converts stored pictures to upright RGB: channel order, vertical flip, quarter turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from genie_core.data.frames.resize import Frames
from genie_core.data.frames.turning import Rotation, turn_by

Colour = Literal["rgb", "bgr"]
"""Channel order of a stored picture; for a JPEG or PNG, of what a standard decoder returns."""


@dataclass(frozen=True)
class Convention:
    """How pictures are stored.

    Attributes:
        colour: order of the channels.
        upside_down: whether the first row is the bottom of the picture, as OpenGL stores it.
        rotate: by how many degrees clockwise pictures are turned, after that, to be upright; None: not at all.

    """

    colour: Colour = "rgb"
    upside_down: bool = False
    rotate: Rotation | None = None

    def said(self) -> str:
        """Return it in words: ``bgr, upside down``."""
        turned = () if self.rotate is None else (f"turned by {self.rotate}",)
        return ", ".join((self.colour, *(("upside down",) if self.upside_down else ()), *turned))

    def undone(self, frames_THWC: Frames) -> Frames:
        """Convert stored frames, (T, H, W, 3), to upright RGB."""
        if self.upside_down:
            frames_THWC = frames_THWC[:, ::-1]
        if self.colour == "bgr":
            frames_THWC = frames_THWC[..., ::-1]
        frames_THWC = turn_by(self.rotate).of(frames_THWC)
        return np.ascontiguousarray(frames_THWC)

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of a frame that is stored in `size`."""
        return turn_by(self.rotate).size(size)


__all__ = ["Colour", "Convention"]
