"""Frames of labelled episodes, from the labelled file itself or from the data it was made from."""

from __future__ import annotations

from genie_core.data import Episode, LabelledFile
from genie_core.data.labelled.originals import Originals
from genie_core.errors import DatasetError


def frames_of(labelled: LabelledFile, name: str, originals: Originals) -> Episode | str:
    """Return the frames of a labelled episode, from the file or else its source; or why neither has them, in words."""
    try:
        episode = labelled.episode(name)
        return episode or originals.episode(labelled.labels_attrs(name), name)
    except DatasetError as error:
        return str(error)


__all__ = ["frames_of"]
