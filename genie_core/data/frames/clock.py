"""Times of frames as files state them: numbers whose unit is inferred from the interval between frames."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from genie_core.errors import DatasetError

_UNITS = (("seconds", 1.0), ("milliseconds", 1e-3), ("microseconds", 1e-6), ("nanoseconds", 1e-9))
_SHORTEST_S, _LONGEST_S = 0.001, 1.0
"""Intervals between frames: 1 to 1000 frames a second. With three powers of ten between them only one unit fits."""


def seconds_of(times: NDArray[np.generic]) -> tuple[NDArray[np.float64], str]:
    """Return times, (T,) numbers in any unit, as seconds from the first, (T,), and the unit that they were in.

    Raises:
        DatasetError: they are fewer than 2, are not finite, do not increase, or are of no unit that gives 1 to 1000
            frames a second.

    """
    if times.ndim != 1 or len(times) < 2 or not np.isfinite(times).all():
        raise DatasetError(f"got times of shape {times.shape}, expected 2 or more finite numbers")
    relative = (times - times[0]).astype(np.float64)
    intervals = np.diff(relative)
    if intervals.min() <= 0:
        at = int(np.argmin(intervals > 0))
        raise DatasetError(f"the time of frame {at + 1} is not after that of frame {at}, expected times that increase")
    median = float(np.median(intervals))
    for unit, scale in _UNITS:
        if median * scale * (1 + 1e-9) > _SHORTEST_S and median * scale <= _LONGEST_S * (1 + 1e-9):
            return relative * scale, unit
    raise DatasetError(f"got times {median:g} apart, expected 1 to 1000 frames a second in s, ms, us or ns")


def parse_times(text: str) -> NDArray[np.generic]:
    """Return the times in a text of one line a frame, (T,): the only number of each line, or that after its index.

    Whole numbers stay whole: nanoseconds since 1970 do not fit into a floating-point number.

    Raises:
        DatasetError: a line but the first, which may be a heading, has no number.

    """
    rows: list[list[str]] = []
    for number, line in enumerate(text.splitlines()):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        fields = [field for field in re.split(r"[\s,;]+", line.strip()) if _is_number(field)]
        if not fields and number:
            raise DatasetError(f"line {number + 1}: got `{line[:40]}`, expected a time")
        if fields:
            rows.append(fields)
    if not rows:
        return np.empty(0)
    is_indexed = min(map(len, rows)) > 1 and [row[0] for row in rows] in (
        [str(index) for index in range(len(rows))],
        [str(index) for index in range(1, len(rows) + 1)],
    )
    column = [row[1 if is_indexed else 0] for row in rows]
    if all(field.lstrip("+-").isdigit() and len(field) < 20 for field in column):
        return np.array([int(field) for field in column], np.int64)
    return np.array([float(field) for field in column])


def _is_number(field: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", field) is not None


__all__ = ["parse_times", "seconds_of"]
