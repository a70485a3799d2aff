"""Reads robot video in LeRobot's formats: v2.0 and v2.1 (one video and Parquet file per episode), v3.0 (shared).

Frames and rows of an episode must match the number that its dataset lists; otherwise none of it is read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from genie_core.data.episode import FilmSpan
from genie_core.data.formats.lerobot.meta import INFO, Entry, LeRobotMeta
from genie_core.data.formats.lerobot.rows import DataFile, EpisodeRows
from genie_core.data.formats.video.reader import VideoReader
from genie_core.data.frames.images import decode_image
from genie_core.data.frames.resize import Frames
from genie_core.data.frames.timing import is_rate, rate_of
from genie_core.data.robot import Proprioception, first_known
from genie_core.data.storage.location import SourcePath, local_file
from genie_core.data.storage.parquet import ParquetTable
from genie_core.errors import DatasetError, RequestError

_UNIT_TOLERANCE = 0.1
"""Relative difference from the dataset's rate, or a thousandth of it, up to which the rows' times say the same."""

_RATE_TOLERANCE = 0.01
"""Relative difference allowed between a video's rate and the dataset's: 29.97 is called 30."""


class Pictures(Protocol):
    """Stored frames of one episode."""

    @property
    def path(self) -> SourcePath:
        """File that holds them."""

    @property
    def num_frames(self) -> int:
        """Number of frames."""

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width in pixels."""

    @property
    def fps(self) -> float | None:
        """Frames a second as stored; None if unknown."""

    @property
    def times_s(self) -> NDArray[np.float64] | None:
        """(T,) times of the frames; None if unknown."""

    def chunks_between(self, start: int, stop: int, size: int) -> Iterator[Frames]:
        """Yield frames start .. stop - 1, `size` at a time."""


@dataclass(frozen=True)
class VideoPictures:
    """Frames in a video: all of it, or those shown between two times, seconds from its start.

    `length` is the number of frames that the dataset lists: some writers end an episode at the time of its last frame,
    not after it.
    """

    video: VideoReader
    between_s: tuple[float, float] | None
    length: int

    @property
    def path(self) -> SourcePath:
        """The video."""
        return self.video.path

    @property
    def num_frames(self) -> int:
        """Number of frames, counted on first use."""
        return len(self.span)

    @property
    def first(self) -> int:
        """Number of the episode's first frame in the video."""
        return self.span.start

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.video.frame_size

    @property
    def fps(self) -> float | None:
        """Rate of the episode's own frames; the header of a joined video may be wrong."""
        times_s = self.times_s
        return self.video.fps if times_s is None else rate_of(times_s)

    @property
    def times_s(self) -> NDArray[np.float64] | None:
        """Times of the episode's own frames, from the start of the video."""
        times_s = self.video.times_s
        return None if times_s is None else times_s[self.span.start : self.span.stop]

    def chunks_between(self, start: int, stop: int, size: int) -> Iterator[Frames]:
        """Yield frames start .. stop - 1, decoded from the key frame before them."""
        if self.between_s is None and (start, stop) == (0, self.num_frames):
            return self.video.chunks(size)
        return self.video.chunks_between(self.span.start + start, self.span.start + stop, size)

    @cached_property
    def span(self) -> range:
        """Which frames of the video are the episode's."""
        if self.between_s is None:
            return range(self.video.num_frames)
        times_s = self.video.times_s
        if times_s is None:
            raise DatasetError(f"{self.path}: its frames bear no times to find an episode by")
        # Start and end are sums of rounded lengths: half a frame early, no frame is mistaken for its neighbour.
        early_s = np.median(np.diff(times_s)) / 2 if len(times_s) > 1 else 0.0
        start, stop = np.searchsorted(times_s, np.array(self.between_s) - early_s).tolist()
        ends_at_last = stop < len(times_s) and abs(times_s[stop] - self.between_s[1]) <= early_s
        if stop - start == self.length - 1 and ends_at_last:
            stop += 1
        return range(start, stop)


@dataclass(frozen=True)
class ImagePictures:
    """Frames stored as PNG or JPEG in the Parquet file itself, or beside it in the folder `root`, by their paths."""

    rows: EpisodeRows
    camera: str
    root: SourcePath

    @property
    def path(self) -> SourcePath:
        """The Parquet file."""
        return self.rows.table.path

    @property
    def num_frames(self) -> int:
        """Number of rows."""
        return len(self._span)

    @cached_property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of the first frame."""
        height, width, _ = self._decode(next(self.rows.table.cells(self.camera, self._span[:1], 1))[0], 0).shape
        return height, width

    @cached_property
    def fps(self) -> float | None:
        """Frame rate from the column `timestamp`; None if there is none, or only one frame."""
        times_s = self.rows.array("timestamp")
        return None if times_s is None else rate_of(times_s.ravel().astype(np.float64))

    @property
    def times_s(self) -> None:
        """None beside those of the rows."""

    def chunks_between(self, start: int, stop: int, size: int) -> Iterator[Frames]:
        """Yield frames start .. stop - 1."""
        for cells in self.rows.table.cells(self.camera, self._span[start:stop], size):
            frames = [self._decode(cell, start + number) for number, cell in enumerate(cells)]
            for number, frame_HWC in enumerate(frames):
                if frame_HWC.shape[:2] != self.frame_size:
                    raise DatasetError(
                        f"{self._where(start + number)} is of {frame_HWC.shape[:2]} pixels, "
                        f"expected {self.frame_size} like the first"
                    )
            start += len(frames)
            yield np.stack(frames)

    @property
    def _span(self) -> range:
        if self.camera not in self.rows.table.columns:
            raise DatasetError(f"{self.path}: has no column `{self.camera}`, which its dataset calls a camera")
        return self.rows.span

    def _decode(self, cell: Any, number: int) -> NDArray[np.uint8]:
        image = cell.get("bytes") if isinstance(cell, dict) else cell
        if image is None and isinstance(cell, dict) and isinstance(cell.get("path"), str):
            image = self._beside(cell["path"], number)
        if not isinstance(image, bytes):
            raise DatasetError(f"{self._where(number)} is not in the file, expected the bytes of a PNG or JPEG")
        try:
            return decode_image(image)
        except RequestError as error:
            raise DatasetError(f"{self._where(number)}: {error}") from error

    def _beside(self, name: str, number: int) -> bytes:
        """Return the contents of a file in the dataset's folder; datasets are untrusted, so it must not lie outside."""
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise DatasetError(f"{self._where(number)} is at {name}, which leads out of the dataset")
        try:
            return local_file(self.root / path).read_bytes()
        except OSError as error:
            raise DatasetError(f"{self._where(number)} is at {self.root / path}: {error.strerror}") from error

    def _where(self, number: int) -> str:
        return f"{self.path}: {self.rows.entry.name}: frame {number} of {self.camera}"


@dataclass(frozen=True)
class LeRobotReader:
    """Reads one episode through one camera; the `FrameReader` of LeRobot datasets."""

    meta_path: SourcePath
    entry: Entry
    rows: EpisodeRows
    pictures: Pictures
    file_fps: float | None
    declared_size: tuple[int, int]

    @property
    def num_frames(self) -> int:
        """Number of frames, on which list of episodes, rows and pictures agree."""
        return len(self._span)

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width in pixels; for an episode without frames, as the dataset declares them."""
        return self.pictures.frame_size if self.num_frames else self.declared_size

    @property
    def fps(self) -> float:
        """Frames a second of ``info.json``. Raises DatasetError if invalid, or not the rate of the stored frames."""
        if self.file_fps is None or not is_rate(self.file_fps):
            raise DatasetError(
                f"{self.meta_path}: fps: got {self.file_fps}, expected frames a second above 0; "
                "give the frame rate that is true (fps)"
            )
        stored = self.pictures.fps if self.num_frames > 1 else None
        if stored is not None and abs(stored / self.file_fps - 1) > _RATE_TOLERANCE:
            raise DatasetError(
                f"{self.pictures.path}: {self.entry.name} is stored at {stored:g} frames a second, but fps of "
                f"{self.meta_path} is {self.file_fps:g}: give the frame rate that is true (fps)"
            )
        return self.file_fps

    @cached_property
    def times_s(self) -> NDArray[np.float64] | None:
        """Times of the frames, as far apart as the video or the column `timestamp` says, whichever says more.

        Intervals are in parts of the usual one, which is 1 / fps: columns of other units, and rounded, are about.
        """
        spaced = []
        for times_s in (self.pictures.times_s, self._row_times):
            spacing = None if times_s is None else _spacing(times_s)
            if spacing is not None and len(spacing) == self.num_frames - 1:
                spaced.append(spacing)
        if not spaced:
            return None
        usual_s = 1 / self.file_fps if self.file_fps is not None and is_rate(self.file_fps) else 1.0
        return np.concatenate([[0.0], np.cumsum(np.max(spaced, axis=0)) * usual_s])

    @property
    def film(self) -> FilmSpan | None:
        """Its part of the video; None if frames are stored as pictures, or turned when read."""
        if not isinstance(self.pictures, VideoPictures) or self.pictures.video.film is None:
            return None
        return replace(self.pictures.video.film, first=self.pictures.first, count=self.num_frames)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the video says that reading acts on, and whether the rows' times are of another rate than `fps`."""
        said = self.pictures.video.notes if isinstance(self.pictures, VideoPictures) else ()
        rate = None if self._row_times is None else rate_of(self._row_times)
        if rate is None or self.file_fps is None or not is_rate(self.file_fps):
            return said
        off = abs(math.log10(rate / self.file_fps))
        if min(off % 3, -off % 3) < math.log10(1 + _UNIT_TOLERANCE):  # the same, or in thousandths: ms, us, ns
            return said
        return (
            *said,
            "the column `timestamp` is of another rate than fps of meta/info.json, which is taken: give the frame rate "
            "that is true (fps) if it is not",
        )

    @cached_property
    def _row_times(self) -> NDArray[np.float64] | None:
        with suppress(DatasetError):  # frames are found without it
            times_s = self.rows.array("timestamp")
            return None if times_s is None else times_s.ravel().astype(np.float64)
        return None

    def read(self, start: int, stop: int) -> Frames:
        """Return frames start .. stop - 1, (n, H, W, 3) uint8."""
        if start >= stop:
            return np.empty((0, *self.frame_size, 3), np.uint8)
        _ = self.num_frames  # raises if frames and rows do not match
        return next(self.pictures.chunks_between(start, stop, stop - start))

    def chunks(self, size: int) -> Iterator[Frames]:
        """Yield all frames, `size` at a time."""
        if self.num_frames:
            yield from self.pictures.chunks_between(0, self.num_frames, size)

    def array(self, key: str) -> NDArray[Any] | None:
        """Return the numbers of the feature `key`, (T,) or (T, D)."""
        return self.rows.array(key)

    @property
    def actions(self) -> NDArray[Any] | None:
        """The feature ``actions`` of some datasets, else ``action``."""
        return self.rows.array("actions" if "actions" in self.rows.table.columns else "action")

    @property
    def proprioception(self) -> Proprioception | None:
        """The feature ``observation.state``."""
        return first_known(self.rows.array, (("observation.state",),), "", f"{self.rows.table.path}: {self.entry.name}")

    @property
    def task(self) -> str | None:
        """The episode's first task."""
        return self.entry.task

    @property
    def group(self) -> None:
        """None."""

    @cached_property
    def _span(self) -> range:
        span = self.rows.span
        if span and self.pictures.num_frames != len(span):
            raise DatasetError(
                f"{self.pictures.path}: {self.entry.name} has {self.pictures.num_frames} frames there, "
                f"but {len(span)} rows in {self.rows.table.path}"
            )
        return span


def _spacing(times_s: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the intervals between times, (T - 1,), in parts of the usual one; None if they make no sense."""
    intervals_s = np.diff(times_s)
    usual_s = float(np.median(intervals_s)) if len(intervals_s) else 0.0
    if not np.isfinite(intervals_s).all() or usual_s <= 0 or intervals_s.min() < 0:
        return None
    spacing: NDArray[np.float64] = intervals_s / usual_s
    return spacing


def lerobot_readers(meta: LeRobotMeta, camera: str) -> Iterator[tuple[Entry, LeRobotReader | DatasetError]]:
    """Yield the reader of each of the dataset's entries, or why it has none, without opening files.

    Episodes in the same file share its cached facts. Raises DatasetError if no file's name can be formed.
    """

    @cache
    def data_file(path: SourcePath) -> DataFile:
        return DataFile(ParquetTable(path), meta.is_shared)

    video = cache(VideoReader)
    feature = meta.info.features[camera]
    for entry in meta.entries:
        following = data_file(meta.data_file(entry, following=True)) if meta.is_shared else None
        rows = EpisodeRows(entry, data_file(meta.data_file(entry)), following)
        pictures: Pictures
        if feature.dtype == "image":
            pictures = ImagePictures(rows, camera, meta.path)
        else:
            try:
                file = meta.video_file(entry, camera)
            except DatasetError as error:
                yield entry, error
                continue
            pictures = VideoPictures(video(file), meta.between_s(entry, camera), entry.length)
        yield entry, LeRobotReader(meta.path / INFO, entry, rows, pictures, meta.info.fps, feature.frame_size)


__all__ = ["LeRobotReader", "lerobot_readers"]
