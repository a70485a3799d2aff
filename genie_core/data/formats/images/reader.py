"""Reads one episode whose frames are JPEG or PNG files in a folder, one each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.data.frames.clock import parse_times, seconds_of
from genie_core.data.frames.images import decode_image
from genie_core.data.frames.resize import Frames
from genie_core.data.frames.stacking import StackedFrames, rate_of
from genie_core.data.robot import Proprioception, first_known
from genie_core.data.storage.location import SourcePath, local_file
from genie_core.data.storage.npy import read_npy
from genie_core.errors import DatasetError, RequestError

_MAX_FILE = 64 * 1024 * 1024
"""Largest picture file read; also the largest file of times."""

_TIMES = ("timestamps", "timestamp", "times")
_TIME_SUFFIXES = (".txt", ".csv", ".npy", ".json")
_WORDS = ("lang.txt", "language.txt", "instruction.txt", "task.txt")
_WORD_BYTES = 64 * 1024
_ACTIONS = ("actions", "action")
_PROPRIOCEPTION = (("state",), ("states",), ("proprio",), ("qpos",))


@dataclass(frozen=True)
class ImagesReader:
    """Reads one episode; the `FrameReader` of picture files.

    Attributes:
        folder: that holds the pictures.
        names: of the files, in order.
        around: the episode's folder, `folder` itself or around it, which may hold times, words and arrays.
        name_times: times in the names of the files; None if there are none.
        numbers: by which the names count pictures, also those that were lost; None if they do not.

    """

    folder: SourcePath
    names: tuple[str, ...]
    around: SourcePath
    name_times: tuple[int, ...] | None = None
    numbers: tuple[int, ...] | None = None

    @property
    def num_frames(self) -> int:
        """Number of pictures."""
        return len(self.names)

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of the first picture in pixels."""
        return self._frames.size

    @property
    def fps(self) -> float | None:
        """Average rate of the times beside the pictures or in their names; None if there are none."""
        return rate_of(self.times_s)

    @property
    def times_s(self) -> NDArray[np.float64] | None:
        """Times of the frames, (T,) seconds from the first; None if the files say none."""
        return self._clock[0]

    @property
    def clock(self) -> str | None:
        """Where the times come from, in words; None if there are none."""
        return self._clock[1]

    @property
    def frame_numbers(self) -> NDArray[np.int64] | None:
        """Numbers in the names, (T,) in order, where the files say no times; None if the names do not count."""
        return None if self.numbers is None or self._clock[0] is not None else np.array(self.numbers, np.int64)

    def read(self, start: int, stop: int) -> Frames:
        """Return frames start .. stop - 1, (n, H, W, 3) uint8."""
        return self._frames.read(start, stop)

    def chunks(self, size: int) -> Iterator[Frames]:
        """Yield all frames, `size` at a time."""
        return self._frames.chunks(size)

    def pictures(self) -> Iterator[bytes]:
        """Return the contents of each file."""
        return (self._bytes(self.folder / name, _MAX_FILE) for name in self.names)

    def array(self, key: str) -> NDArray[Any] | None:
        """Return the array of the file ``KEY.npy`` in the episode's folder; None if there is none."""
        name = key.strip("/")
        if ".." in name.split("/"):
            raise DatasetError(f"{self._where}: `{key}`: got a name that leads out of the episode's folder")
        path = self.around / f"{name}.npy"
        return read_npy(path) if path.is_file() else None

    @property
    def actions(self) -> NDArray[Any] | None:
        """``actions.npy`` or ``action.npy``: the first that exists."""
        return next((found for found in map(self.array, _ACTIONS) if found is not None), None)

    @property
    def proprioception(self) -> Proprioception | None:
        """``state.npy``, ``states.npy``, ``proprio.npy`` or ``qpos.npy``: the first that exists."""
        return first_known(self.array, _PROPRIOCEPTION, "", self._where)

    @property
    def task(self) -> str | None:
        """First line of ``lang.txt`` (BridgeData), ``language.txt``, ``instruction.txt`` or ``task.txt``."""
        for name in _WORDS:
            path = self.around / name
            if not path.is_file():
                continue
            text = self._bytes(path, _WORD_BYTES).decode("utf-8", "replace")
            lines = (line.strip() for line in text.splitlines())
            return next((line for line in lines if line and not line.startswith("confidence")), None)
        return None

    @property
    def group(self) -> None:
        """None."""

    @cached_property
    def _clock(self) -> tuple[NDArray[np.float64] | None, str | None]:
        found = self._find_times()
        if found is None or self.num_frames < 2:
            return None, None
        times, source = found
        if len(times) != self.num_frames:
            raise DatasetError(f"{source}: has {len(times)} times, expected {self.num_frames}, one a picture")
        try:
            times_s, unit = seconds_of(times)
        except DatasetError as error:
            raise DatasetError(f"{source}: {error}; give the frame rate that is true (fps)") from error
        return times_s, f"{unit} in {source}"

    def _find_times(self) -> tuple[NDArray[np.generic], str] | None:
        folders = [self.folder] if self.folder == self.around else [self.folder, self.around]
        stems = [*_TIMES, *(f"{self.folder.name}_{stem}" for stem in _TIMES)]
        for folder in folders:
            for path in (folder / f"{stem}{suffix}" for stem in stems for suffix in _TIME_SUFFIXES):
                if path.is_file():
                    return self._read_times(path), str(path)
        if self.name_times is not None:
            return np.array(self.name_times, np.int64), f"the names of {self.folder / '*'}"
        return None

    def _read_times(self, path: SourcePath) -> NDArray[np.generic]:
        if path.suffix == ".npy":
            return np.squeeze(read_npy(path))
        data = self._bytes(path, _MAX_FILE)
        try:
            if path.suffix == ".json":
                values = json.loads(data)
                return np.array(values if isinstance(values, list) else [], np.float64)
            return parse_times(data.decode("utf-8", "replace"))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise DatasetError(f"{path}: got no list of times: {error}") from error
        except DatasetError as error:
            raise DatasetError(f"{path}: {error}") from error

    @cached_property
    def _frames(self) -> StackedFrames:
        return StackedFrames(self.num_frames, self._decode, self._where)

    def _decode(self, number: int) -> NDArray[np.uint8]:
        path = self.folder / self.names[number]
        try:
            return decode_image(self._bytes(path, _MAX_FILE))
        except RequestError as error:
            raise DatasetError(f"{path}: {error}") from error

    def _bytes(self, path: SourcePath, most: int) -> bytes:
        try:
            with local_file(path).open("rb") as file:
                data = file.read(most + 1)
        except OSError as error:
            raise DatasetError(f"{path}: {error.strerror}") from error
        if len(data) > most:
            raise DatasetError(f"{path}: got more than {most} bytes, expected fewer")
        return data

    @property
    def _where(self) -> str:
        return str(self.folder)


def has_pickles(folder: SourcePath) -> bool:
    """Return whether a folder holds pickle files, in which raw BridgeData keeps its actions."""
    with suppress(OSError):
        return isinstance(folder, Path) and any(folder.glob("*.pkl"))
    return False


__all__ = ["ImagesReader", "has_pickles"]
