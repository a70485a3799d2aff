"""Reading episodes as the client needs them: in chunks of bounded memory, and the frames that labels belong to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from genie_core.data import Episode, Frames, LabelledFile, open_dataset
from genie_core.errors import DatasetError

_CHUNK_BYTES = 8 * 1024 * 1024
_CHUNK_FRAMES = 256


def read_chunks(episode: Episode) -> Iterator[Frames]:
    """All frames of an episode in order, about 8 MiB at a time, (n, H, W, 3) uint8."""
    frame_bytes = episode.height * episode.width * 3
    return episode.chunks(max(1, min(_CHUNK_FRAMES, _CHUNK_BYTES // frame_bytes)))


def frames_of(labelled: LabelledFile, name: str) -> Episode | None:
    """The frames of a labelled episode, from the file itself or else its source; None where neither has them."""
    episode = labelled.episode(name)
    if episode is not None:
        return episode
    _, attrs = labelled.labels(name)
    try:
        source = open_dataset(dataset_of(Path(attrs.source)), camera=attrs.camera, fps=attrs.fps)
    except DatasetError:
        return None
    wanted = attrs.source_name.rpartition("/")[2]
    return next((episode for episode in source.episodes if source.format == "video" or episode.name == wanted), None)


def dataset_of(source: Path) -> Path:
    """The dataset that a file of frames belongs to: the LeRobot folder around it, or else the file itself."""
    return next((folder for folder in source.parents if (folder / "meta" / "info.json").is_file()), source)


__all__ = ["dataset_of", "frames_of", "read_chunks"]
