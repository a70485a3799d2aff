"""Finds the data that labels were made from again: the same dataset, read the same way, and the same episode in it."""

from __future__ import annotations

from collections.abc import Sequence

from genie_core.data.dataset import Dataset, ReadOptions
from genie_core.data.episode import Episode
from genie_core.data.formats import dataset_around, open_dataset
from genie_core.data.label_schema import LabelAttrs


def source_options(attrs: LabelAttrs) -> ReadOptions:
    """How the source has to be read to see the pictures that were labelled: camera, colours, way up, paths, rate."""
    convention = attrs.convention
    return ReadOptions(
        camera=None if attrs.frames_path else attrs.camera,
        fps=attrs.fps,
        colour=convention.colour,
        flip=convention.upside_down,
        frames_path=attrs.frames_path,
        actions_path=attrs.actions_path,
    )


def source_dataset(attrs: LabelAttrs) -> Dataset:
    """Open the dataset that the labels' source file belongs to: the folder around it, the file itself, or a URL.

    Of files whose actions the user has named, only the labelled episode's actions are right.

    Raises:
        DatasetError: it is not there any more, or cannot be read.

    """
    return open_dataset(dataset_around(attrs.source), options=source_options(attrs), check=False)


def source_episode(dataset: Dataset, attrs: LabelAttrs) -> Episode | None:
    """The episode of its `source_dataset` that was labelled, None where there is none of its name."""
    if dataset.format == "video":
        return dataset.episodes[0]
    return _named(dataset.episodes, attrs.source_name)


def _named(episodes: Sequence[Episode], name: str) -> Episode | None:
    """The episode called `name`, or so behind the path that its file had in the folder that was labelled."""
    ends = (episode for episode in episodes if f"/{name}".endswith(f"/{episode.name}"))
    return next((episode for episode in episodes if episode.name == name), next(ends, None))


__all__ = ["source_dataset", "source_episode", "source_options"]
