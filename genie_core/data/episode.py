"""One episode of robot video, in any format: its frames, read on demand, and its metadata."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from genie_core.data.frames.convention import Convention
from genie_core.data.frames.image_structure import MAX_PIXELS
from genie_core.data.frames.resize import Frames
from genie_core.data.robot import Proprioception
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError


class FrameReader(Protocol):
    """Reads one episode from one file.

    It is picklable and holds no open file between calls, so that workers, forked or spawned, can share it. Every member
    raises DatasetError, naming file and episode, if the file is malformed.
    """

    @property
    def num_frames(self) -> int:
        """Exact number of frames."""

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width in pixels."""

    @property
    def fps(self) -> float | None:
        """Frames a second according to the file; None if it does not say."""

    def read(self, start: int, stop: int) -> Frames:
        """Return frames start .. stop - 1, where 0 <= start <= stop <= num_frames."""

    def chunks(self, size: int) -> Iterator[Frames]:
        """Return all frames in one pass at constant memory, `size` at a time, the last chunk shorter."""

    def array(self, key: str) -> NDArray[Any] | None:
        """Return the file's array `key` beside the frames; None if there is none."""

    @property
    def actions(self) -> NDArray[Any] | None:
        """The robot's actions, from where the format has them; None if there are none."""

    @property
    def proprioception(self) -> Proprioception | None:
        """Proprioception, from where the format usually has it; None if there is none."""

    @property
    def task(self) -> str | None:
        """Task of the robot in words; None if the file does not say."""

    @property
    def group(self) -> str | None:
        """Path of the episode's group if the file is HDF5; None otherwise."""


@runtime_checkable
class Timed(Protocol):
    """A reader that knows when each of its frames was taken."""

    @property
    def times_s(self) -> NDArray[np.float64] | None:
        """(T,) seconds in order; None if this file does not say."""


@runtime_checkable
class Numbered(Protocol):
    """A reader whose frames bear numbers by which their recorder counted, also those that were lost."""

    @property
    def frame_numbers(self) -> NDArray[np.int64] | None:
        """(T,) in order; None if this file has none, or says when its frames were taken."""


@runtime_checkable
class Noted(Protocol):
    """A reader with notes on its file, known once the file is open."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts in the file that reading acts on, a sentence each."""


@runtime_checkable
class Pictured(Protocol):
    """A reader whose frames are stored as a JPEG or PNG each."""

    def pictures(self) -> Iterator[bytes] | None:
        """Return the frames as they are stored, in order, unchecked; None if this file stores them otherwise."""


@dataclass(frozen=True)
class FilmSpan:
    """A run of consecutive frames in a video file: `count` from number `first` on, in order of presentation."""

    path: SourcePath
    first: int
    count: int


@runtime_checkable
class Filmed(Protocol):
    """A reader whose frames are stored in a video file exactly as they are shown."""

    @property
    def film(self) -> FilmSpan | None:
        """Where they lie; None if they are not shown as they are stored."""


_AS_IT_IS = Convention()

_CHUNK_BYTES = 8 * 1024 * 1024
_CHUNK_FRAMES = 256


@dataclass(frozen=True)
class Episode:
    """One episode seen by one camera. Creating one reads nothing; members raise DatasetError if reading fails.

    Attributes:
        name: unique in its dataset: ``demo_3``, or a video's path in its folder without the suffix.
        source: file that holds the frames.
        camera: name of the camera.
        reader: source of the frames.
        fps_override: frames a second given by the user, in place of what the file says.
        convention: how the pictures are stored; `frames` and `chunks` return upright RGB.
        actions_path: path of the robot's actions in its HDF5 file, given by the user; None: where the format has
            them.
        views: the same episode seen by other cameras, whose labels are to be fused with this one's.

    """

    name: str
    source: SourcePath
    camera: str
    reader: FrameReader = field(repr=False)
    fps_override: float | None = None
    convention: Convention = _AS_IT_IS
    actions_path: str | None = None
    views: tuple[Episode, ...] = ()

    @property
    def num_frames(self) -> int:
        """Exact number of frames, >= 0. Counted on first use if the file does not state it (video)."""
        return self.reader.num_frames

    @property
    def height(self) -> int:
        """Height of a frame in pixels."""
        return self.convention.size(self.reader.frame_size)[0]

    @property
    def width(self) -> int:
        """Width of a frame in pixels."""
        return self.convention.size(self.reader.frame_size)[1]

    @property
    def fps(self) -> float | None:
        """Frames a second given by the user, else by the file; None if unknown."""
        return self.reader.fps if self.fps_override is None else self.fps_override

    @property
    def times_s(self) -> NDArray[np.float64] | None:
        """Times of the frames, (T,) seconds in order; None if the file has none, or the user gave the frame rate."""
        if self.fps_override is not None or not isinstance(self.reader, Timed):
            return None
        return self.reader.times_s

    @property
    def frame_numbers(self) -> NDArray[np.int64] | None:
        """Numbers by which the recorder counted its frames, (T,) in order; None if unknown, or times are known."""
        return self.reader.frame_numbers if isinstance(self.reader, Numbered) else None

    @property
    def moments(self) -> NDArray[np.float64] | None:
        """When the frames were taken, (T,) in order and in any unit: `times_s`, else by `frame_numbers`."""
        numbers = self.frame_numbers
        return self.times_s if numbers is None else numbers.astype(np.float64)

    @property
    def film(self) -> FilmSpan | None:
        """Where in a video file the frames lie; None if in none, or reading turns them or changes their colours."""
        if self.convention != _AS_IT_IS or not isinstance(self.reader, Filmed):
            return None
        return self.reader.film

    def pictures(self) -> Iterator[bytes] | None:
        """Return the JPEG or PNG of each frame as it is stored, in order, for viewers; unchecked: strangers wrote them.

        Their red and blue are exchanged where `convention` says so. None if frames are stored otherwise, or reading
        turns them. Raises DatasetError if they cannot be read.
        """
        turns = self.convention != Convention(colour=self.convention.colour)
        if turns or not isinstance(self.reader, Pictured):
            return None
        self._check_size()
        return self.reader.pictures()

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts in the episode's file that reading acts on, a sentence each."""
        return self.reader.notes if isinstance(self.reader, Noted) else ()

    def frames(self, start: int = 0, stop: int | None = None) -> Frames:
        """Return frames start .. stop - 1 as (n, H, W, 3) uint8; the bounds are those of a Python slice."""
        self._check_size()
        begin, end, _ = slice(start, stop).indices(self.num_frames)
        return self.convention.undone(self.reader.read(begin, max(begin, end)))

    def chunks(self, size: int | None = None) -> Iterator[Frames]:
        """Yield all frames in order as (n, H, W, 3) uint8, n = `size` >= 1 but for the last, at constant memory.

        Without `size`, a chunk is about 8 MiB, at most 256 frames.
        """
        self._check_size()
        if size is None:
            size = max(1, min(_CHUNK_FRAMES, _CHUNK_BYTES // max(1, self.height * self.width * 3)))
        if size < 1:
            raise ValueError(f"chunk size: got {size}, expected 1 or more frames")
        return map(self.convention.undone, self.reader.chunks(size))

    def _check_size(self) -> None:
        """Raise DatasetError if frames are larger than any that is labelled, before one is decoded."""
        if self.height * self.width > MAX_PIXELS:
            raise DatasetError(
                f"{self.source}: {self.name}: got frames of {self.height} x {self.width} pixels, expected at most "
                f"{MAX_PIXELS} pixels a frame: make them smaller first"
            )

    def array(self, key: str) -> NDArray[Any] | None:
        """Return the array `key` beside the frames (``states``, ``obs/object``); None if there is none."""
        return self.reader.array(key)

    @property
    def actions(self) -> NDArray[Any] | None:
        """The robot's actions, (T,) or (T, A), None where there are none; read anew at each use.

        actions[t] takes frame t to frame t + 1. Where one frame more than actions is stored, the last frame has none:
        NaN. Raises DatasetError if there are none at the user's path, or their number does not fit the frames.
        """
        stored = self.stored_actions
        if stored is None or len(stored) == self.num_frames:
            return stored
        missing = np.full((1, *stored.shape[1:]), np.nan)
        return np.concatenate([stored, missing.astype(stored.dtype if stored.dtype.kind == "f" else np.float64)])

    @property
    def lacks_last_action(self) -> bool:
        """Whether one frame more than actions is stored: those recorders keep the frame that the last action led to."""
        stored = self.stored_actions
        return stored is not None and len(stored) < self.num_frames

    @property
    def stored_actions(self) -> NDArray[Any] | None:
        """The robot's actions as they are stored, one for each frame, or for each but the last; see `actions`."""
        if self.actions_path is None:
            found = self.reader.actions
        else:
            found = self.array(f"/{self.actions_path.lstrip('/')}")
            if found is None:
                raise DatasetError(f"{self.source}: {self.name}: has no actions at `{self.actions_path}`")
        if found is not None and (found.ndim < 1 or len(found) not in {self.num_frames, self.num_frames - 1}):
            raise DatasetError(
                f"{self.source}: {self.name}: got actions of shape {found.shape} for {self.num_frames} frames, "
                "expected one for each frame, or for each but the last"
            )
        if found is not None and len(found) < self.num_frames and found.dtype.kind not in "fiub":
            raise DatasetError(f"{self.source}: {self.name}: got actions of {found.dtype}, expected numbers")
        return found

    @property
    def proprioception(self) -> Proprioception | None:
        """Proprioception of the robot in each frame, if the file has it in a usual place; read at each use."""
        return self.reader.proprioception

    @property
    def task(self) -> str | None:
        """The task in words; None if the file does not say."""
        return self.reader.task


@dataclass(frozen=True)
class Unreadable:
    """A `FrameReader` for what cannot be read: every member raises DatasetError with the reason.

    With it a damaged file among good ones is an episode too, so that it is named, and left out only if so asked.
    """

    reason: str

    @property
    def num_frames(self) -> int:
        """Raises."""
        raise DatasetError(self.reason)

    @property
    def frame_size(self) -> tuple[int, int]:
        """Raises."""
        raise DatasetError(self.reason)

    @property
    def fps(self) -> float | None:
        """Raises."""
        raise DatasetError(self.reason)

    def read(self, start: int, stop: int) -> Frames:
        """Raises."""
        raise DatasetError(self.reason)

    def chunks(self, size: int) -> Iterator[Frames]:
        """Raises."""
        raise DatasetError(self.reason)

    def array(self, key: str) -> NDArray[Any] | None:
        """Raises."""
        raise DatasetError(self.reason)

    @property
    def actions(self) -> NDArray[Any] | None:
        """Raises."""
        raise DatasetError(self.reason)

    @property
    def proprioception(self) -> Proprioception | None:
        """Raises."""
        raise DatasetError(self.reason)

    @property
    def task(self) -> str | None:
        """Raises."""
        raise DatasetError(self.reason)

    @property
    def group(self) -> None:
        """None: the group is unknown."""


__all__ = ["Episode", "FilmSpan", "FrameReader", "Unreadable"]
