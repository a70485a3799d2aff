"""Finds the datasets and episodes that labels were made from, and reads them as they were read for labelling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from genie_core.data.dataset import VIDEO_SUFFIXES, ReadOptions
from genie_core.data.episode import Episode
from genie_core.data.labelled.provenance import Provenance
from genie_core.data.opening import dataset_around, is_shard, open_dataset
from genie_core.data.storage.location import SourcePath, source_path
from genie_core.errors import DatasetError, SourceGoneError

_Place = tuple[SourcePath, ReadOptions]


@dataclass(frozen=True)
class Originals:
    """The datasets that labels were made from, where they still exist; each is opened once.

    Results are cached as long as the object lives, so make one per task.
    """

    _folders: dict[tuple[SourcePath, bool], SourcePath | None] = field(default_factory=dict, init=False, repr=False)
    _opened: dict[_Place, Mapping[str, Episode] | DatasetError] = field(default_factory=dict, init=False, repr=False)

    def around(self, source: str) -> SourcePath:
        """Return the dataset that a file of frames belongs to (`dataset_around`): a folder, or the file itself."""
        file = source_path(source)
        beside = file.parent, is_shard(file)  # files that share both belong to the same dataset, or to none
        if beside not in self._folders:
            found = dataset_around(source)
            self._folders[beside] = None if found == file else found
        return self._folders[beside] or file

    def episode(self, attrs: Provenance, labels: str) -> Episode:
        """Open the episode that was labelled; `labels` names its labels in errors.

        Raises:
            DatasetError: the dataset no longer exists, cannot be read, or has no such episode.

        """
        path = source_path(attrs.source)
        if isinstance(path, Path) and not path.exists():
            raise SourceGoneError(f"{path}: no longer exists; {labels} was labelled from it")
        episodes = self._episodes((self.around(attrs.source), _options(attrs)))
        found = next((episodes[name] for name in _ends(attrs.source_name) if name in episodes), None)
        if found is None:
            raise DatasetError(f"{path}: has no episode {attrs.source_name}; {labels} was labelled from it")
        return found if attrs.actions_path is None else replace(found, actions_path=attrs.actions_path)

    def _episodes(self, place: _Place) -> Mapping[str, Episode]:
        """Return the episodes by name. A dataset that failed to open is not tried again."""
        if place not in self._opened:
            try:
                self._opened[place] = _by_name(*place)
            except DatasetError as error:
                self._opened[place] = error
        found = self._opened[place]
        if isinstance(found, DatasetError):
            raise DatasetError(str(found)) from found
        return found


def _options(attrs: Provenance) -> ReadOptions:
    """Options that read the source as it was labelled: camera, channel order, orientation, path of frames, frame rate.

    The path of the actions is not among them: it is known per episode.
    """
    convention = attrs.convention
    return ReadOptions(
        camera=None if attrs.frames_path else attrs.camera,
        fps=attrs.fps,
        colour=convention.colour,
        flip=convention.upside_down,
        rotate=convention.rotate,
        frames_path=attrs.frames_path,
    )


def _by_name(path: SourcePath, options: ReadOptions) -> dict[str, Episode]:
    if path.suffix.lower() in VIDEO_SUFFIXES:  # one file is one camera, whatever its folder called it
        options = replace(options, camera=None)
    dataset = open_dataset(path, options=options, check=False)
    if dataset.format == "video":
        return {"": dataset.episodes[0]}  # its only episode, whatever the labelled folder called it
    return {episode.name: episode for episode in reversed(dataset.episodes)}  # the first of each name counts


def _ends(name: str) -> Iterator[str]:
    """``lift/demo_3``, ``demo_3`` and the empty name: a single file names its episodes without its parent folders."""
    while name:
        yield name
        name = name.partition("/")[2]
    yield ""


__all__ = ["Originals"]
