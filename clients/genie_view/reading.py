"""Frames of labelled episodes, at their own size wherever they are: in the labelled file, or in the data behind it."""

from __future__ import annotations

from dataclasses import dataclass

from genie_core.data import Episode, LabelledFile
from genie_core.data.labelled.originals import Originals
from genie_core.errors import DatasetError


@dataclass(frozen=True)
class FoundFrames:
    """Frames of a labelled episode.

    Attributes:
        episode: the frames; None if there are none any more.
        note: why there are none, or why they are not those of the source, in words; None if all is well.

    """

    episode: Episode | None
    note: str | None = None


def frames_of(labelled: LabelledFile, name: str, originals: Originals) -> FoundFrames:
    """Find the frames of a labelled episode: the source's, and the file's own where they are as large or all there is.

    Raises DatasetError if the file has no such episode.
    """
    attrs = labelled.labels_attrs(name)
    own, why = _own(labelled, name)
    if own is not None and labelled.attrs.frames != "model":
        return FoundFrames(own)
    try:
        source = originals.episode(attrs, name)
        if own is not None and source.num_frames != own.num_frames:
            raise DatasetError(
                f"{source.source}: got {source.num_frames} frames, expected {own.num_frames}: it changed"
            )
        return FoundFrames(source)
    except DatasetError as error:
        return FoundFrames(own, why or str(error) if own is None else f"at the model's size: {error}")


def _own(labelled: LabelledFile, name: str) -> tuple[Episode | None, str | None]:
    try:
        return labelled.episode(name), None
    except DatasetError as error:
        return None, str(error)


__all__ = ["FoundFrames", "frames_of"]
