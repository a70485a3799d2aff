"""Decodes one episode's labels while they are computed; the same bits however the frames are chunked.

Uses `Alignment.decode` for the actions; `Labeller` computes the labels.
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
"""Number of labels decoded at once. Always the same: sums of another shape may be rounded differently.

So few that the products (at most 4 x 64 x 1,000) are too small for BLAS to use several threads, which would take
several times as long beside networks that occupy all cores.
"""

_Number = TypeVar("_Number", bound=np.generic)


class ActionStream:
    """Decodes the labels of one episode with an `Alignment`. Not thread-safe.

    `feed` every frame; `decode` the parts of the labels in the order in which a `LabelStream` returns them. Those parts
    end at places fixed by the index alone, and so do the rows within them: an action is the same bit for bit however
    frames are chunked. Frames are kept only until their labels are decoded, and not at all if the alignment reads none.
    """

    def __init__(self, alignment: Alignment) -> None:
        self._alignment = alignment
        self._numbers = len(alignment.info.actions)
        self._frames: list[Frames] = []
        self._first = 0  # index in the episode of the first frame that is kept

    @property
    def kept(self) -> int:
        """Number of frames currently kept."""
        return sum(map(len, self._frames))

    def feed(self, frames_THWC: Frames) -> None:
        """Add the episode's next frames, (T, H, W, 3) uint8, all of one size. Raises RequestError for anything else."""
        if self._alignment.needs_frames:
            self._frames.append(conform_frames(frames_THWC))

    def decode(self, labels: Labels) -> Labels:
        """Return the next labels with their actions, zeros where not valid.

        Raises:
            RequestError: the frames of these labels were not fed, or the labels are not of the alignment's bundle.

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
        """Return the frames of these labels and stop keeping them."""
        if labels.start != self._first or len(labels) > self.kept:
            raise RequestError(
                "labels",
                f"got those of frames {labels.start} to {labels.start + len(labels)}, "
                f"expected some of {self._first} to {self._first + self.kept}, the frames fed so far",
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
    """Pad to `ROWS` rows with zeros."""
    if len(rows) == ROWS:
        return rows
    return np.concatenate((rows, np.zeros((ROWS - len(rows), *rows.shape[1:]), rows.dtype)))


__all__ = ["ROWS", "ActionStream"]
