"""What pictures show, whatever their format: which are of one colour, which repeat the one before, which freeze.

Cheap enough to run beside labelling: a sample of each picture is looked at, and all of it only where that says nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from genie_core.data.frames.resize import Frames

BLANK_RANGE = 16
"""Largest difference between two values of one channel in a picture that counts as blank: black, white or of one
colour, with the noise of a dark sensor or of compression."""

LEAST_FROZEN = 5
"""Fewest repeats in a row that count as frozen, whatever the frame rate."""

FROZEN_S = 0.5
"""Shortest time without any change that counts as frozen, seconds."""

_SAMPLES = 16
"""About as many rows of a picture are in its sample, each whole: the bytes of a row lie beside each other."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Pictures:
    """What was seen of the pictures of an episode, or of consecutive ones of it.

    Attributes:
        blank: (T,) whether all of the picture is of one colour, to `BLANK_RANGE`.
        repeats: (T,) whether it is the one before, to the bit; False at 0.

    """

    blank: Flags
    repeats: Flags

    def frozen(self, fps: float | None) -> Flags:
        """Return (T,) whether a picture repeats the one before as one of a long row of repeats.

        Long is `FROZEN_S` at `fps` frames a second, and `LEAST_FROZEN` at least. No camera gives the same bits twice
        for so long, nor does video of one; a simulated one does while nothing moves.
        """
        least = LEAST_FROZEN if fps is None else max(LEAST_FROZEN, math.ceil(FROZEN_S * fps))
        frozen = np.zeros_like(self.repeats)
        for start, stop in runs(self.repeats):
            frozen[start:stop] = stop - start >= least
        return frozen


@dataclass
class PictureWatch:
    """Looks at the pictures of an episode as they go by, in chunks of any length."""

    _blank: list[bool] = field(default_factory=list)
    _repeats: list[bool] = field(default_factory=list)
    _last_HWC: Frames | None = None

    def add(self, frames_THWC: Frames) -> None:
        """Look at the next pictures, (n, H, W, 3) uint8."""
        if not len(frames_THWC):
            return
        rows_TRWC = np.ascontiguousarray(frames_THWC[:, :: max(1, frames_THWC.shape[1] // _SAMPLES)])
        plain = _range(rows_TRWC) <= BLANK_RANGE
        self._blank += [bool(flag) and _is_blank(frame) for flag, frame in zip(plain, frames_THWC, strict=True)]
        self._repeats.append(self._last_HWC is not None and np.array_equal(self._last_HWC, frames_THWC[0]))
        rows = [frame.tobytes() for frame in rows_TRWC]
        for index, (before, after) in enumerate(pairwise(frames_THWC)):
            self._repeats.append(rows[index] == rows[index + 1] and np.array_equal(before, after))
        self._last_HWC = frames_THWC[-1].copy()

    @property
    def seen(self) -> Pictures:
        """What was seen so far."""
        return Pictures(np.array(self._blank, np.bool_), np.array(self._repeats, np.bool_))


def runs(flags: Flags) -> list[tuple[int, int]]:
    """Return start and stop of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _range(frames_THWC: Frames) -> NDArray[np.uint8]:
    """Return for each picture the largest difference within a channel, (T,)."""
    count, height, width, channels = frames_THWC.shape
    rows_THX = frames_THWC.reshape(count, height, width * channels)
    low_TX, high_TX = rows_THX.min(axis=1), rows_THX.max(axis=1)  # whole rows at once are much faster than both axes
    of_channels = [high_TX[:, c::channels].max(axis=1) - low_TX[:, c::channels].min(axis=1) for c in range(channels)]
    largest_T: NDArray[np.uint8] = np.max(of_channels, axis=0)
    return largest_T


def _is_blank(frame_HWC: Frames) -> bool:
    return bool(_range(frame_HWC[None])[0] <= BLANK_RANGE)


__all__ = ["BLANK_RANGE", "FROZEN_S", "LEAST_FROZEN", "PictureWatch", "Pictures", "runs"]
