"""Decodes the labels of one episode while they are made: actions beside labels, the same however the frames were cut.

Not here: what an action is, which is `Alignment.decode`'s, and making labels, which is the `Labeller`'s.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from genie_core.alignment.alignment import Alignment
from genie_core.data import Frames, Labels, conform_frames
from genie_core.errors import RequestError

ROWS = 4
"""Labels that are decoded at once. Always as many: sums of another shape may be rounded otherwise.

So few that the products (at most 4 x 64 x 1,000) are too small for BLAS to compute in several threads, which would take
several times as long beside networks that compute in all cores.
"""

_Number = TypeVar("_Number", bound=np.generic)


class ActionStream:
    """One episode on its way through an `Alignment`. Not for several threads at once.

    `feed` every frame; `decode` the parts of the labels in order, as a `LabelStream` gives them. Those parts are cut at
    places fixed by the index alone, and so are the rows within them: an action is the same bit for bit however frames
    came. Frames are kept back only until their labels are decoded, and not at all where the alignment reads none.
    """

    def __init__(self, alignment: Alignment) -> None:
        self._alignment = alignment
        self._numbers = len(alignment.info.actions)
        self._frames: list[Frames] = []
        self._first = 0  # index in the episode of the first frame that is kept

    @property
    def kept(self) -> int:
        """Frames that are kept back."""
        return sum(map(len, self._frames))

    def feed(self, frames_THWC: Frames) -> None:
        """Take the episode's next frames, (T, H, W, 3) uint8, all of one size. Raises RequestError for others."""
        if self._alignment.needs_frames:
            self._frames.append(conform_frames(frames_THWC))

    def decode(self, labels: Labels) -> Labels:
        """The next labels with their actions, zeros where not valid.

        Raises:
            RequestError: labels of which the frames have not come, or not of the alignment's bundle.

        """
        frames = self._take(labels) if self._alignment.needs_frames else None
        action_TA = np.zeros((len(labels), self._numbers), np.float32)
        for at in range(0, len(labels), ROWS):
            rows = slice(at, at + ROWS)
            if labels.valid[rows].any():
                some = None if frames is None else _filled(frames[rows])
                decoded = self._alignment.decode(_filled(labels.latent[rows]), _filled(labels.code[rows]), some)
                action_TA[rows] = decoded[: len(labels.code[rows])]
        action_TA[~labels.valid] = 0
        return replace(labels, action=action_TA)

    def _take(self, labels: Labels) -> Frames:
        """The frames of these labels, which are given up."""
        if labels.start != self._first or len(labels) > self.kept:
            raise RequestError(
                "labels",
                f"got those of frames {labels.start} to {labels.start + len(labels)}, "
                f"expected some of {self._first} to {self._first + self.kept}, the frames that came",
            )
        taken: list[Frames] = []
        missing = len(labels)
        while missing:
            chunk = self._frames[0]
            taken.append(chunk[:missing])
            self._frames[:1] = [chunk[missing:]] if len(chunk) > missing else []
            missing -= len(taken[-1])
        self._first += len(labels)
        return np.concatenate(taken) if taken else np.zeros((0, 1, 1, 3), np.uint8)


def _filled(rows: NDArray[_Number]) -> NDArray[_Number]:
    """`ROWS` rows: those given, and zeros."""
    if len(rows) == ROWS:
        return rows
    return np.concatenate((rows, np.zeros((ROWS - len(rows), *rows.shape[1:]), rows.dtype)))


__all__ = ["ROWS", "ActionStream"]
