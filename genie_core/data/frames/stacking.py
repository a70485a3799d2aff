"""Single pictures into chunks of frames, at constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from genie_core.data.frames.resize import Frames
from genie_core.errors import DatasetError


def stack_frames(
    frames: Iterable[NDArray[np.uint8]], size: int, frame_size: tuple[int, int], where: str, first: int = 0
) -> Iterator[Frames]:
    """Yield pictures, each (H, W, 3) uint8, as (n, H, W, 3), `size` at a time, the last chunk shorter.

    Args:
        frames: the pictures, made one at a time.
        size: frames in a chunk, >= 1.
        frame_size: height and width that all must have, pixels.
        where: name of the episode in errors.
        first: number of the first picture.

    Raises:
        DatasetError: a picture is of another size.

    """
    chunk_THWC, filled = np.empty((size, *frame_size, 3), np.uint8), 0
    for number, frame_HWC in enumerate(frames, first):
        if frame_HWC.shape != (*frame_size, 3):
            raise DatasetError(
                f"{where}: frame {number} is of {frame_HWC.shape[:2]} pixels, expected {frame_size} like the first"
            )
        chunk_THWC[filled] = frame_HWC
        filled += 1
        if filled == size:
            yield chunk_THWC
            chunk_THWC, filled = np.empty((size, *frame_size, 3), np.uint8), 0
    if filled:
        yield chunk_THWC[:filled]


def read_stacked(
    frame: Callable[[int], NDArray[np.uint8]], start: int, stop: int, frame_size: tuple[int, int], where: str
) -> Frames:
    """Return pictures start .. stop - 1 that `frame` makes, (n, H, W, 3) uint8; raises what `stack_frames` does."""
    if start >= stop:
        return np.empty((0, *frame_size, 3), np.uint8)
    return next(stack_frames(map(frame, range(start, stop)), stop - start, frame_size, where, start))


@dataclass(frozen=True)
class StackedFrames:
    """The frames of an episode that lie apart, one a file.

    Attributes:
        count: how many there are.
        frame: makes the frame of a number, (H, W, 3) uint8.
        where: name of the episode in errors.

    """

    count: int
    frame: Callable[[int], NDArray[np.uint8]]
    where: str

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width of the first in pixels; (0, 0) of none."""
        if not self.count:
            return 0, 0
        height, width, _ = self.frame(0).shape
        return height, width

    def read(self, start: int, stop: int) -> Frames:
        """Return frames start .. stop - 1, (n, H, W, 3); raises what `stack_frames` does."""
        return read_stacked(self.frame, start, stop, self.size, self.where)

    def chunks(self, size: int) -> Iterator[Frames]:
        """Yield all frames, `size` at a time; raises what `stack_frames` does."""
        return stack_frames(map(self.frame, range(self.count)), size, self.size, self.where)


def rate_of(times_s: NDArray[np.float64] | None) -> float | None:
    """Return the average rate, frames a second, of frames at `times_s`, (T,); None if unknown or fewer than 2.

    It is rounded to a millionth, so that equal rates are equal.
    """
    if times_s is None or len(times_s) < 2 or not times_s[-1] > times_s[0]:
        return None
    return round(float((len(times_s) - 1) / (times_s[-1] - times_s[0])), 6)


__all__ = ["StackedFrames", "rate_of", "read_stacked", "stack_frames"]
