"""Reading the episodes of a bulk run, and what is wrong with one that cannot be labelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from genie_client.records import HostedAlignment
from genie_core.data import Episode, Frames, Step
from genie_core.errors import DatasetError

_LEAST_FRAMES = 2


class BadEpisodeError(DatasetError):
    """An episode cannot be labelled, through no fault of the server or the output."""


def count_frames(episode: Episode) -> int:
    """Return the number of frames. Raises BadEpisodeError if there are fewer than two, or the file is damaged."""
    try:
        count = episode.num_frames
    except DatasetError as error:
        raise BadEpisodeError(str(error)) from error
    if count < _LEAST_FRAMES:
        frames = "1 frame" if count == 1 else f"{count} frames"
        raise BadEpisodeError(f"{episode.source}: {episode.name}: got {frames}, expected at least 2")
    return count


def check_step(step: Callable[[], Step], episode: Episode, alignment: HostedAlignment | None) -> None:
    """Raise BadEpisodeError if the transition length is unknown, the stated frame rate is impossible, or the alignment
    is for another transition length.
    """
    try:
        frames = step().step
    except DatasetError as error:
        for _ in read_chunks(episode):  # frames that cannot be read are why no step was found in them, and told first
            pass
        raise BadEpisodeError(str(error)) from error
    if alignment is not None and alignment.step != frames:
        raise BadEpisodeError(
            f"{episode.source}: {episode.name}: step: got {frames} frames, "
            f"expected {alignment.step}, as alignment {alignment.name} decodes"
        )


def read_chunks(episode: Episode) -> Iterator[Frames]:
    """Yield an episode's frames, some at a time. Raises BadEpisodeError if the file is damaged."""
    try:
        yield from episode.chunks()
    except DatasetError as error:
        raise BadEpisodeError(str(error)) from error


__all__ = ["BadEpisodeError", "check_step", "count_frames", "read_chunks"]
