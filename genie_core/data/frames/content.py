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

_SAMPLES = 32
"""About as many rows and columns of a picture are in its sample."""

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
        height, width = frames_THWC.shape[1:3]
        samples_THWC = frames_THWC[:, :: max(1, height // _SAMPLES), :: max(1, width // _SAMPLES)]
        plain = _range(samples_THWC) <= BLANK_RANGE
        self._blank += [bool(flag) and _is_blank(frame) for flag, frame in zip(plain, frames_THWC, strict=True)]
        self._repeats.append(self._last_HWC is not None and np.array_equal(self._last_HWC, frames_THWC[0]))
        alike = (samples_THWC[1:] == samples_THWC[:-1]).all(axis=(1, 2, 3))
        for same, (before, after) in zip(alike, pairwise(frames_THWC), strict=True):
            self._repeats.append(bool(same) and np.array_equal(before, after))
        self._last_HWC = frames_THWC[-1].copy()

    @property
    def seen(self) -> Pictures:
        """What was seen so far."""
        return Pictures(np.array(self._blank, np.bool_), np.array(self._repeats, np.bool_))


def runs(flags: Flags) -> list[tuple[int, int]]:
    """Return start and stop of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _range(frames_THWC: Frames) -> NDArray[np.int64]:
    """Return for each picture the largest difference within a channel, (T,)."""
    low = frames_THWC.min(axis=1).min(axis=1).astype(np.int64)  # whole rows at once are much faster than both axes
    high = frames_THWC.max(axis=1).max(axis=1).astype(np.int64)
    largest: NDArray[np.int64] = (high - low).max(axis=-1)
    return largest


def _is_blank(frame_HWC: Frames) -> bool:
    return bool(_range(frame_HWC[None])[0] <= BLANK_RANGE)


__all__ = ["BLANK_RANGE", "FROZEN_S", "LEAST_FROZEN", "PictureWatch", "Pictures", "runs"]
