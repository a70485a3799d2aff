"""MP4 files to read: of the kit's folder, or written with PyAV as H.264 where it is installed, else as MPEG-4."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.episodes import make_clip
from benchmarks.gpu.opencv_video import OpenCvReader, episodes_of
from benchmarks.gpu.stand_in import is_stand_in
from genie_core.data import Episode, ReadOptions, open_dataset, write_video

FILES = Path(os.environ.get("GENIE_GPU_FILES", "runs/gpu-files"))
"""Where ``make gpu-files`` puts what a machine without a network lacks."""

FPS = 30
_CHUNK = 128


@dataclass(frozen=True)
class Video:
    """A file, what it is encoded with, and the library that reads it."""

    path: Path
    codec: str
    library: str


def sample_video(folder: Path, height: int, width: int, frames: int) -> Video:
    """Return a video of that size: made in `folder`, or there already."""
    reader = "OpenCV" if is_stand_in() else "PyAV"
    name = f"clip-{width}x{height}x{frames}.mp4"
    for place in (FILES, folder):
        if (place / name).exists():
            return Video(place / name, "H.264", reader)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = _pictures(height, width, frames)
    if not is_stand_in():
        write_video(folder / name, pictures, FPS)
        return Video(folder / name, "H.264", reader)
    other = folder / f"mpeg4-{name}"
    if not other.exists():
        writer = cv2.VideoWriter(str(other), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (width, height))
        for picture in pictures:
            writer.write(picture)
        writer.release()
    return Video(other, "MPEG-4", reader)


def read_video(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Return the frames of a file, (n, H, W, 3) uint8 at a time."""
    if is_stand_in():
        return OpenCvReader(path).chunks(_CHUNK)
    return open_dataset(path).episodes[0].chunks(_CHUNK)


def training_episodes(data: str, fps: float | None) -> list[Episode]:
    """Whatever Genie reads, or, without PyAV, video files."""
    if is_stand_in():
        return episodes_of(Path(data))
    return list(open_dataset(data, options=ReadOptions(fps=fps)).episodes)


def _pictures(height: int, width: int, frames: int) -> NDArray[np.uint8]:
    """Return the squares that move, with noise as a camera has it, so that decoding costs what it does."""
    rng = np.random.default_rng(0)
    still = rng.integers(0, 24, (height, width, 3), np.uint8)
    clip = [cv2.resize(frame, (width, height)) for frame in make_clip(frames)]
    noise = rng.integers(0, 6, (8, height, width, 3), np.uint8)
    return np.stack([np.minimum(frame, 220) + still + noise[i % 8] for i, frame in enumerate(clip)])


__all__ = ["FILES", "Video", "read_video", "sample_video", "training_episodes"]
