"""Reading episodes as the client needs them: in chunks of bounded memory, and the frames that labels belong to."""

from __future__ import annotations

from collections.abc import Iterator

from genie_core.data import Episode, Frames, LabelledFile
from genie_core.data.label_source import Originals
from genie_core.errors import DatasetError

_CHUNK_BYTES = 8 * 1024 * 1024
_CHUNK_FRAMES = 256


def read_chunks(episode: Episode) -> Iterator[Frames]:
    """All frames of an episode in order, about 8 MiB at a time, (n, H, W, 3) uint8."""
    frame_bytes = episode.height * episode.width * 3
    return episode.chunks(max(1, min(_CHUNK_FRAMES, _CHUNK_BYTES // frame_bytes)))


def frames_of(labelled: LabelledFile, name: str, originals: Originals) -> Episode | None:
    """The frames of a labelled episode, from the file itself or else its source; None where neither has them."""
    episode = labelled.episode(name)
    if episode is not None:
        return episode
    _, attrs = labelled.labels(name)
    try:
        return originals.episode(attrs, name)
    except DatasetError:
        return None


__all__ = ["frames_of", "read_chunks"]
