"""Video read with OpenCV, for machines without PyAV. Its pictures may differ from PyAV's in the last bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from genie_core.data import Episode
from genie_core.errors import DatasetError

VIDEO = (".mp4", ".mkv", ".mov", ".avi", ".webm")


@dataclass(frozen=True)
class OpenCvReader:
    """Frames of one video file, in order."""

    path: Path

    @cached_property
    def _facts(self) -> tuple[int, int, int, float]:
        video = _open(self.path)
        kinds = (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FPS)
        count, height, width, fps = (video.get(kind) for kind in kinds)
        return int(count), int(height), int(width), float(fps)

    @property
    def num_frames(self) -> int:
        """As the file says."""
        return self._facts[0]

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width, pixels."""
        return self._facts[1:3]

    @property
    def fps(self) -> float | None:
        """As the file says."""
        return self._facts[3] or None

    def chunks(self, size: int) -> Iterator[NDArray[np.uint8]]:
        """Yield (n, H, W, 3) uint8, n at most `size`."""
        video, frames = _open(self.path), list[NDArray[np.uint8]]()
        while True:
            there, frame_HWC = video.read()
            if there:
                frames.append(cv2.cvtColor(frame_HWC, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False))
            if frames and (len(frames) == size or not there):
                yield np.stack(frames)
                frames = []
            if not there:
                return

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return frames start .. stop - 1, (n, H, W, 3) uint8."""
        found = np.concatenate(list(self.chunks(256)))
        return found[start:stop]

    def array(self, key: str) -> None:
        """There are none."""

    actions: Any = None
    proprioception: Any = None
    task: Any = None
    group: Any = None


def episodes_of(data: Path) -> list[Episode]:
    """Return each video of a folder, or a file, as an episode. Raises DatasetError where there is none."""
    files = sorted(p for p in data.rglob("*") if p.suffix in VIDEO) if data.is_dir() else [data]
    if not files:
        raise DatasetError(f"{data}: got no video, expected files that end in {', '.join(VIDEO)}")
    return [Episode(path.stem, path, "video", OpenCvReader(path)) for path in files]


def _open(path: Path) -> cv2.VideoCapture:
    # One thread each: files are read in threads, and decoders of 16 threads each are in each other's way.
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not video.isOpened():
        raise DatasetError(f"{path}: OpenCV cannot read it")
    return video


__all__ = ["OpenCvReader", "episodes_of"]
