"""Prompt of a simulation: the frames of a picture, or those up to a frame of a video or an episode."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from genie_client.records import ModelInfo
from genie_core.data import Episode, Frames, open_dataset, read_image, resolve_step
from genie_core.errors import DatasetError

_IMAGE_SUFFIXES = frozenset({".jpeg", ".jpg", ".png"})


@dataclass(frozen=True)
class Moment:
    """A frame of a dataset: name of the episode, None for the first, and index of the frame, from 0."""

    episode: str | None = None
    frame: int = 0
    camera: str | None = None


def is_picture(path: Path) -> bool:
    """Return whether a path is named like a PNG or JPEG."""
    return path.suffix.lower() in _IMAGE_SUFFIXES


def read_prompt(path: Path, info: ModelInfo, moment: Moment) -> Frames:
    """Return the prompt at `path`: (1, H, W, 3) for a picture, else the moment's frame and those before it.

    From a video or HDF5 file, frames are taken at the model's rate, as many as exist and fit the model's context; if
    the file's own rate is unknown, only the one frame.

    Raises:
        DatasetError: `path` cannot be read, or has no such episode or frame.

    """
    if is_picture(path):
        return read_image(path)
    episode = _episode(path, moment)
    if episode.fps is None:
        return episode.frames(moment.frame, moment.frame + 1)
    step = resolve_step(episode.fps, info.fps).step
    count = min(info.context_frames, 1 + moment.frame // step)
    return episode.frames(moment.frame - (count - 1) * step, moment.frame + 1)[::step]


def read_future(path: Path, info: ModelInfo, moment: Moment, length: int, step: int | None = None) -> Frames:
    """Return what follows the moment in its video or episode: up to `length` frames, (n, H, W, 3), possibly none.

    They are `step` frames apart, None: as the model's rate asks, which gives none where the rate is unknown. Raises
    DatasetError as `read_prompt` does.
    """
    episode = _episode(path, moment)
    if step is None and episode.fps is None:
        return episode.frames(0, 0)
    apart = step or resolve_step(episode.fps, info.fps).step
    first = moment.frame + apart
    return episode.frames(first, first + (length - 1) * apart + 1)[::apart]


def _episode(path: Path, moment: Moment) -> Episode:
    """Open the moment's episode. Raises DatasetError if there is none, or no such frame in it."""
    dataset = open_dataset(path, camera=moment.camera)
    found = [episode for episode in dataset.episodes if moment.episode in (None, episode.name)]
    if not found:
        raise DatasetError(
            f"{path}: no episode `{moment.episode}`; there are {len(dataset.episodes)}: {dataset.episodes[0].name}, ..."
        )
    episode = found[0]
    if not 0 <= moment.frame < episode.num_frames:
        raise DatasetError(f"{path}: {episode.name} has no frame {moment.frame}, only 0 to {episode.num_frames - 1}")
    return episode


__all__ = ["Moment", "is_picture", "read_future", "read_prompt"]
