"""Reads one episode from an HDF5 file with frames at any path: an array, or one JPEG or PNG per row.

For ALOHA / ACT and files that the user describes. Nothing is kept open between calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from genie_core.data.formats.robomimic.reader import PROPRIOCEPTION, require_link, require_path
from genie_core.data.frames.images import decode_image
from genie_core.data.frames.resize import Frames, frames_problem
from genie_core.data.frames.timing import is_rate
from genie_core.data.robot import Proprioception, first_known
from genie_core.data.storage.hdf5 import check_sources, check_stored, read_array, read_hdf5
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError, RequestError

ALOHA_IMAGES, ALOHA_ACTIONS = "observations/images", "action"

_ROWS = 64
"""Rows of encoded pictures that are read at a time."""

Storage = Literal["images", "last", "first"]
"""How frames are stored: ``images`` (a PNG or JPEG per row), or arrays with the channels ``last`` or ``first``."""


@dataclass(frozen=True)
class Hdf5Reader:
    """Reads one episode; the `FrameReader` of HDF5 files other than robomimic's.

    Attributes:
        path: the file.
        where: name of the episode in error messages.
        group: the episode's group, in which `array` looks; ``/`` if the file is one episode.
        frames: path of the frames in the file.
        actions_key: path of the robot's actions in the episode's group.
        channels: position of an array's channel axis, if its shape does not show it.
        storage: required storage of the frames, so that a set is uniform; None: any.
        rows: first row of the episode and the one after its last, where several lie in the same arrays; None: all.

    """

    path: SourcePath
    where: str
    group: str
    frames: str
    actions_key: str = "actions"
    channels: Literal["first", "last"] | None = None
    storage: Storage | None = None
    rows: tuple[int, int] | None = None

    @property
    def num_frames(self) -> int:
        """Number of rows of the frames."""
        return self._facts[0]

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width in pixels; for encoded frames, of the first one; (0, 0) if there is none."""
        return self._facts[1]

    @cached_property
    def fps(self) -> float | None:
        """Attribute ``fps`` of the frames, the episode's group or the file. Raises DatasetError if invalid."""
        with self._open() as dataset:
            for holder in (dataset, dataset.file[self.group], dataset.file):
                if "fps" in holder.attrs:
                    return self._rate(holder.name, holder.attrs["fps"])
        return None

    @cached_property
    def _facts(self) -> tuple[int, tuple[int, int]]:
        with self._open() as dataset:
            storage = self._storage_of(dataset)
            if storage == "images":
                size = self._decode(dataset[0], 0).shape[:2] if len(dataset) else (0, 0)
            else:
                size = dataset.shape[1:3] if storage == "last" else dataset.shape[2:4]
            start, stop = self._span(dataset)
            return stop - start, (int(size[0]), int(size[1]))

    def _span(self, dataset: h5py.Dataset) -> tuple[int, int]:
        """Return the episode's first row and the one after its last."""
        return (0, len(dataset)) if self.rows is None else self.rows

    def read(self, start: int, stop: int) -> Frames:
        """Return frames start .. stop - 1, (n, H, W, 3) uint8; reads only the HDF5 chunks that hold them."""
        with self._open() as dataset:
            first, _ = self._span(dataset)
            return self._frames_between(dataset, first + start, first + stop)

    def chunks(self, size: int) -> Iterator[Frames]:
        """Yield all frames, `size` at a time."""
        with self._open() as dataset:
            first, end = self._span(dataset)
            for start in range(first, end, size):
                yield self._frames_between(dataset, start, min(start + size, end))

    def pictures(self) -> Iterator[bytes] | None:
        """Return the JPEG or PNG of each row; None if frames are stored as an array."""
        with self._open() as dataset:
            return self._stored() if self._storage_of(dataset) == "images" else None

    def _stored(self) -> Iterator[bytes]:
        with self._open() as dataset:
            first, end = self._span(dataset)
            for start in range(first, end, _ROWS):
                yield from map(_bytes_of, dataset[start : min(start + _ROWS, end)])

    def array(self, key: str) -> NDArray[Any] | None:
        """Return the array `key` in the episode's group, or in the file if `key` starts with ``/``."""
        with self._open() as dataset:
            holder = dataset.file[self.group]
            found = holder.get(key)
            if not isinstance(found, h5py.Dataset):
                require_link(holder, key, self.where)
                return None
            check_sources(found, self.where)
            if self.rows is None or found.shape[:1] != dataset.shape[:1]:
                return read_array(found)
            check_stored(found, in_parts=True)
            values: NDArray[Any] = found[slice(*self._span(dataset))]
            return values

    @property
    def actions(self) -> NDArray[Any] | None:
        """The array `actions_key`."""
        return self.array(self.actions_key)

    @property
    def proprioception(self) -> Proprioception | None:
        """ALOHA's joint positions, else robomimic's or LIBERO's: the first that exists."""
        return first_known(self.array, (("observations/qpos",), *PROPRIOCEPTION), "obs/", self.where)

    @property
    def task(self) -> None:
        """None: these formats have no place for it."""

    @contextmanager
    def _open(self) -> Iterator[h5py.Dataset]:
        """Open the dataset of frames."""
        with read_hdf5(self.path) as file:
            dataset = file.get(self.frames)
            if not isinstance(dataset, h5py.Dataset):
                holder = self.frames.rpartition("/")[0]
                group = file.get(holder or "/")
                require_path(file, self.frames, self.where)
                beside = (
                    f"`{holder or '/'}` holds {', '.join(group) or 'nothing'}" if group else f"no `{holder}` either"
                )
                raise DatasetError(f"{self.where}: has no frames at `{self.frames}`; {beside}")
            check_sources(dataset, self.where)
            check_stored(dataset, in_parts=True)
            yield dataset

    def _storage_of(self, dataset: h5py.Dataset) -> Storage:
        try:
            storage = storage_of(dataset, self.channels)
        except DatasetError as error:
            raise DatasetError(f"{self.where}: {self.frames}: {error}") from error
        if self.storage not in (None, storage):
            kinds = {"images": "JPEG or PNG", "last": "arrays (T, H, W, 3)", "first": "arrays (T, 3, H, W)"}
            raise DatasetError(
                f"{self.where}: {self.frames}: got {kinds[storage]}, expected {kinds[str(self.storage)]} like the rest"
            )
        return storage

    def _frames_between(self, dataset: h5py.Dataset, start: int, stop: int) -> Frames:
        storage = self._storage_of(dataset)
        if storage == "images":
            return self._decoded(dataset[start:stop], start)
        frames: Frames = dataset[start:stop]
        return np.ascontiguousarray(frames.transpose(0, 2, 3, 1)) if storage == "first" else frames

    def _decoded(self, rows: NDArray[Any], start: int) -> Frames:
        frames_THWC = np.empty((len(rows), *self.frame_size, 3), np.uint8)
        for number, row in enumerate(rows):
            frame_HWC = self._decode(row, start + number)
            if frame_HWC.shape[:2] != self.frame_size:
                raise DatasetError(
                    f"{self.where}: frame {start + number} of {self.frames} is of {frame_HWC.shape[:2]} pixels, "
                    f"expected {self.frame_size} like the first"
                )
            frames_THWC[number] = frame_HWC
        return frames_THWC

    def _decode(self, row: Any, number: int) -> NDArray[np.uint8]:
        try:
            return decode_image(_bytes_of(row))
        except RequestError as error:
            raise DatasetError(f"{self.where}: frame {number} of {self.frames}: {error}") from error

    def _rate(self, holder: str, value: Any) -> float:
        try:
            fps = float(value)
        except (TypeError, ValueError):
            fps = 0.0
        if not is_rate(fps):
            raise DatasetError(
                f"{self.where}: attribute fps of `{holder}`: got {value}, expected frames a second above 0; "
                "give the frame rate that is true (fps)"
            )
        return fps


def _bytes_of(row: Any) -> bytes:
    """Return the picture of a row, without what fills it up to the length of all rows."""
    return (row if isinstance(row, bytes) else np.asarray(row).tobytes()).rstrip(b"\0")


def aloha_frames(camera: str) -> str:
    """Return the path of a camera's frames in ALOHA's files."""
    return f"{ALOHA_IMAGES}/{camera}"


def storage_of(dataset: h5py.Dataset, channels: Literal["first", "last"] | None) -> Storage:
    """Return how a dataset stores frames. Raises DatasetError if it holds none, or the channel axis is ambiguous."""
    shape, dtype = dataset.shape, dataset.dtype
    row_type = h5py.check_vlen_dtype(dtype)
    is_bytes = dtype.kind in "SV" or (row_type is not None and row_type == np.uint8)
    if (len(shape) == 1 and is_bytes) or (len(shape) == 2 and dtype == np.uint8):
        return "images"
    if len(shape) == 4 and dtype == np.uint8:
        may_be = {"last": shape[3] == 3, "first": shape[1] == 3}
        if may_be["last"] and may_be["first"] and channels is None:
            raise DatasetError(f"shape {shape} may be (T, H, W, 3) or (T, 3, H, W): say where the channels are")
        if channels is None and may_be["first"] and not may_be["last"]:
            return "first"
        if channels == "first" and may_be["first"]:
            return "first"
        if channels == "first":
            raise DatasetError(f"got shape {shape}, expected (T, 3, H, W)")
    problem = frames_problem(shape, dtype)
    if problem:
        raise DatasetError(problem)
    return "last"


__all__ = ["ALOHA_ACTIONS", "ALOHA_IMAGES", "Hdf5Reader", "Storage", "aloha_frames", "storage_of"]
