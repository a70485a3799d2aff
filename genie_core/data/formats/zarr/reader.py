"""Reads one episode from a Zarr replay buffer: rows of arrays that all episodes share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from genie_core.data.formats.zarr.store import check_chunks, open_group
from genie_core.data.frames.clock import seconds_of
from genie_core.data.frames.floats import highest_of, to_bytes
from genie_core.data.frames.resize import Frames, frames_problem
from genie_core.data.frames.stacking import rate_of
from genie_core.data.frames.timing import is_rate
from genie_core.data.robot import Proprioception, first_known
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError

DATA = "data"
_ACTIONS = ("action", "actions")
_TIMES = ("timestamp", "timestamps")
_PROPRIOCEPTION = (
    ("state",),
    ("agent_pos",),
    ("robot0_eef_pos", "robot0_eef_rot_axis_angle", "robot0_gripper_width"),
    ("robot_eef_pose",),
    ("robot_joint",),
)
"""Names in Diffusion Policy (PushT, then real robots) and in UMI."""

_RATES = ("fps", "frequency")

ChannelAxis = Literal["first", "last"]


@dataclass(frozen=True)
class Camera:
    """An array of pictures that all episodes share.

    Attributes:
        path: the Zarr group.
        key: name of the array in ``data``.
        channels: position of its channel axis.
        is_float: whether it holds floating-point numbers.

    """

    path: SourcePath
    key: str
    channels: ChannelAxis
    is_float: bool

    @cached_property
    def highest(self) -> float:
        """Full brightness of floating-point pictures: 1 or 255. Raises DatasetError if the values fit neither."""
        with open_group(self.path) as group:
            array = group[DATA][self.key]
            check_chunks(array, self.where)
            count = array.shape[0]
            samples = dict.fromkeys(row for row in (0, count // 2, count - 1) if 0 <= row < count)
            try:  # all of them only where those say nothing
                return highest_of(array[row] for row in (*samples, *range(count)))
            except DatasetError as error:
                raise DatasetError(f"{self.where}: {error}") from error

    @property
    def where(self) -> str:
        """Name of the array in errors."""
        return f"{self.path}: {DATA}/{self.key}"


@dataclass(frozen=True)
class ZarrReader:
    """Reads one episode through one camera; the `FrameReader` of Zarr.

    Attributes:
        path: the Zarr group.
        camera: shared by all episodes.
        start: first row.
        stop: row after the last.

    """

    path: SourcePath
    camera: Camera
    start: int
    stop: int

    @property
    def num_frames(self) -> int:
        """Number of rows."""
        return self.stop - self.start

    @cached_property
    def frame_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        with self._pictures() as array:
            height, width = array.shape[1:3] if self.camera.channels == "last" else array.shape[2:4]
            return int(height), int(width)

    @cached_property
    def fps(self) -> float | None:
        """Attribute ``fps`` of the pictures or the group, else the rate of ``data/timestamp``; None if neither is."""
        with open_group(self.path) as group:
            for holder in (group[DATA][self.camera.key], group[DATA], group):
                for key in _RATES:
                    if key in holder.attrs:
                        return self._rate(key, holder.attrs[key])
        return rate_of(self.times_s)

    @cached_property
    def times_s(self) -> NDArray[np.float64] | None:
        """Times of the frames, (T,) seconds from the first; None if there are none."""
        times = next((found for found in map(self.array, _TIMES) if found is not None), None)
        if times is None or self.num_frames < 2:
            return None
        try:
            return seconds_of(times.reshape(len(times)))[0]
        except (ValueError, DatasetError) as error:
            raise DatasetError(f"{self._where}: timestamp: {error}; give the frame rate that is true (fps)") from error

    def read(self, start: int, stop: int) -> Frames:
        """Return frames start .. stop - 1, (n, H, W, 3) uint8."""
        with self._pictures() as array:
            return self._frames(array, start, stop)

    def chunks(self, size: int) -> Iterator[Frames]:
        """Yield all frames, `size` at a time."""
        with self._pictures() as array:
            for start in range(0, self.num_frames, size):
                yield self._frames(array, start, min(start + size, self.num_frames))

    def array(self, key: str) -> NDArray[Any] | None:
        """Return the episode's rows of the array `key` in ``data``, (T, ...); None if there is none."""
        with open_group(self.path) as group:
            found = group[DATA].get(key.strip("/").removeprefix(f"{DATA}/"))
            if found is None or not hasattr(found, "chunks"):
                return None
            check_chunks(found, f"{self.path}: {DATA}/{key}")
            if not found.shape or found.shape[0] < self.stop:
                raise DatasetError(
                    f"{self._where}: `{key}` is of shape {found.shape}, expected {self.stop} rows or more"
                )
            return np.asarray(found[self.start : self.stop])

    @property
    def actions(self) -> NDArray[Any] | None:
        """``data/action`` or ``data/actions``."""
        return next((found for found in map(self.array, _ACTIONS) if found is not None), None)

    @property
    def proprioception(self) -> Proprioception | None:
        """The usual names of Diffusion Policy and UMI: the first that exists."""
        return first_known(self.array, _PROPRIOCEPTION, "", self._where)

    @property
    def task(self) -> None:
        """None: replay buffers have no place for it."""

    @property
    def group(self) -> None:
        """None."""

    @contextmanager
    def _pictures(self) -> Iterator[Any]:
        with open_group(self.path) as group:
            array = group[DATA].get(self.camera.key)
            if array is None:
                raise DatasetError(f"{self._where}: has no {DATA}/{self.camera.key}")
            check_chunks(array, self.camera.where)
            yield array

    def _frames(self, array: Any, start: int, stop: int) -> Frames:
        frames = np.asarray(array[self.start + start : self.start + stop])
        if self.camera.channels == "first":
            frames = np.ascontiguousarray(frames.transpose(0, 2, 3, 1))
        if self.camera.is_float:
            try:
                frames = to_bytes(frames, self.camera.highest)
            except DatasetError as error:
                raise DatasetError(
                    f"{self._where}: frames {start} to {stop - 1} of {self.camera.key}: {error}"
                ) from error
        problem = frames_problem(frames.shape, frames.dtype) if len(frames) else None
        if problem:
            raise DatasetError(f"{self._where}: {self.camera.key}: {problem}")
        return frames

    def _rate(self, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not is_rate(value):
            raise DatasetError(
                f"{self._where}: attribute {key}: got {value}, expected frames a second above 0; "
                "give the frame rate that is true (fps)"
            )
        return float(value)

    @property
    def _where(self) -> str:
        return f"{self.path}: rows {self.start} to {self.stop - 1}"


__all__ = ["DATA", "Camera", "ChannelAxis", "ZarrReader"]
