"""How stored pictures differ from upright RGB: channels in another order, upside down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from genie_core.data.frames.resize import Frames

Colour = Literal["rgb", "bgr"]
"""Order of the channels in a stored picture; of a JPEG or PNG, in what a decoder that follows the standard gives."""


@dataclass(frozen=True)
class Convention:
    """How pictures are stored.

    Attributes:
        colour: order of the channels.
        upside_down: whether the first row is the bottom, as OpenGL has it.

    """

    colour: Colour = "rgb"
    upside_down: bool = False

    def undone(self, frames_THWC: Frames) -> Frames:
        """Return stored frames, (T, H, W, 3), as upright RGB."""
        if self.upside_down:
            frames_THWC = frames_THWC[:, ::-1]
        if self.colour == "bgr":
            frames_THWC = frames_THWC[..., ::-1]
        return np.ascontiguousarray(frames_THWC)


__all__ = ["Colour", "Convention"]
