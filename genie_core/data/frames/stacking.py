"""Single pictures into chunks of frames, at constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

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


def rate_of(times_s: NDArray[np.float64] | None) -> float | None:
    """Return the average rate, frames a second, of frames at `times_s`, (T,); None if unknown or fewer than 2.

    It is rounded to a millionth, so that equal rates are equal.
    """
    if times_s is None or len(times_s) < 2 or not times_s[-1] > times_s[0]:
        return None
    return round(float((len(times_s) - 1) / (times_s[-1] - times_s[0])), 6)


__all__ = ["rate_of", "read_stacked", "stack_frames"]
