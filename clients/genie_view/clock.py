"""Places the frames of a video on a recording's timelines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import rerun as rr
from numpy.typing import NDArray


class Timeline(Protocol):
    """Says when each frame is shown."""

    def columns(self, index_T: NDArray[np.int64]) -> Sequence[rr.TimeColumn]:
        """Return the times of the video's frames `index_T`, on every timeline."""


@dataclass(frozen=True)
class Clock:
    """Times of a video's frames on the timelines ``frame`` and, if `fps` is known, ``time``: at start + step * n."""

    fps: float | None
    start: int = 0
    step: int = 1

    def columns(self, index_T: NDArray[np.int64]) -> list[rr.TimeColumn]:
        """Return the timelines of the video's frames `index_T`."""
        frame_T = self.start + self.step * index_T
        columns = [rr.TimeColumn("frame", sequence=frame_T)]
        if self.fps:
            columns.append(rr.TimeColumn("time", duration=frame_T / self.fps))
        return columns


@dataclass(frozen=True)
class Moments:
    """Times of frames as another recording has them.

    Attributes:
        sequences: by timeline: (T,) int64.
        durations_ns: by timeline: (T,) int64 nanoseconds.
        timestamps_ns: by timeline: (T,) int64 nanoseconds since 1970.

    """

    sequences: Mapping[str, NDArray[np.int64]]
    durations_ns: Mapping[str, NDArray[np.int64]]
    timestamps_ns: Mapping[str, NDArray[np.int64]]

    def columns(self, index_T: NDArray[np.int64]) -> list[rr.TimeColumn]:
        """Return the timelines of the recording's frames `index_T`."""
        found = [rr.TimeColumn(name, sequence=times_T[index_T]) for name, times_T in self.sequences.items()]
        for name, times_T in self.durations_ns.items():
            found.append(rr.TimeColumn(name, duration=times_T[index_T].astype("timedelta64[ns]")))
        for name, times_T in self.timestamps_ns.items():
            found.append(rr.TimeColumn(name, timestamp=times_T[index_T].astype("datetime64[ns]")))
        return found


__all__ = ["Clock", "Moments", "Timeline"]
