"""Frames of labelled episodes, from the labelled file itself or from the data it was made from."""

from __future__ import annotations

from genie_core.data import Episode, LabelledFile
from genie_core.data.labelled.originals import Originals
from genie_core.errors import DatasetError


def frames_of(labelled: LabelledFile, name: str, originals: Originals) -> Episode | None:
    """Return the frames of a labelled episode, from the file or else its source; None if neither has them."""
    episode = labelled.episode(name)
    if episode is not None:
        return episode
    _, attrs = labelled.labels(name)
    try:
        return originals.episode(attrs, name)
    except DatasetError:
        return None


__all__ = ["frames_of"]
