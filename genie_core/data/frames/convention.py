"""Conversion of stored pictures to upright RGB: channel order and vertical flip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from genie_core.data.frames.resize import Frames

Colour = Literal["rgb", "bgr"]
"""Channel order of a stored picture; for a JPEG or PNG, of what a standard decoder returns."""


@dataclass(frozen=True)
class Convention:
    """How pictures are stored.

    Attributes:
        colour: order of the channels.
        upside_down: whether the first row is the bottom of the picture, as OpenGL stores it.

    """

    colour: Colour = "rgb"
    upside_down: bool = False

    def undone(self, frames_THWC: Frames) -> Frames:
        """Convert stored frames, (T, H, W, 3), to upright RGB."""
        if self.upside_down:
            frames_THWC = frames_THWC[:, ::-1]
        if self.colour == "bgr":
            frames_THWC = frames_THWC[..., ::-1]
        return np.ascontiguousarray(frames_THWC)


__all__ = ["Colour", "Convention"]
