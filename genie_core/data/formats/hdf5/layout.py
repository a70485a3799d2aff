"""Formats ALOHA / ACT and user-described HDF5: how their files are recognised, and survey of their contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import h5py

from genie_core.data.dataset import Dataset, Format, ReadOptions, Sources, Survey, choose_camera, file_names
from genie_core.data.episode import Episode, Unreadable
from genie_core.data.formats.hdf5.mapping import Match, match_episodes, natural_key, propose_paths
from genie_core.data.formats.hdf5.reader import (
    ALOHA_ACTIONS,
    ALOHA_IMAGES,
    Hdf5Reader,
    Storage,
    aloha_frames,
    storage_of,
)
from genie_core.data.frames.convention import Convention
from genie_core.data.storage.hdf5 import read_hdf5
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError

_ALOHA_COLOURS = {
    "last": "pictures are arrays, read as RGB, as ACT's own code takes them: say bgr if red and blue are exchanged",
    "images": "pictures are JPEG, read as BGR, since ACT's own code gives RGB arrays to OpenCV, which takes them "
    "for BGR: say rgb if red and blue are exchanged",
}
_ALOHA_RATE = "files of ALOHA state no frame rate; ACT's own code records and plays 50 frames a second (DT = 0.02 s)"


class AlohaLayout:
    """HDF5 files of ALOHA / ACT, one episode each: plain arrays, or compressed to one padded JPEG per row."""

    name: Format = "aloha"
    looks_for = f"`{ALOHA_IMAGES}/<camera>`, beside `action`"

    def recognise(self, path: SourcePath) -> str | None:
        """Recognise it by its group of images."""
        with suppress(DatasetError), read_hdf5(path) as file:
            if isinstance(file.get(ALOHA_IMAGES), h5py.Group):
                return f"it holds {ALOHA_IMAGES}/<camera>"
        return None

    def survey(self, sources: Sources, options: ReadOptions) -> Survey:
        """Survey the first readable file: its cameras, and how their pictures are stored."""
        count = len(sources.files)
        try:
            first = _first_readable(sources.files)
        except DatasetError as error:
            return Survey(None, files=count, obstacles=(str(error),))
        cameras = tuple(first.storages)
        rate = () if options.fps or first.has_rate else (_ALOHA_RATE,)
        try:
            camera = choose_camera(sources.path, cameras, options.camera)
        except DatasetError as error:
            return Survey(None, cameras, count, facts=rate, obstacles=(str(error),), warnings=first.refused)
        storage = first.storages[camera]
        convention = options.convention(Convention(colour="bgr" if storage == "images" else "rgb"))
        episodes = [
            Episode(name, file, camera, _aloha_reader(file, name, camera, storage), options.fps, convention)
            for name, file in zip(file_names(sources), sources.files, strict=True)
        ]
        episodes.sort(key=lambda episode: natural_key(episode.name))
        colour = () if options.colour else (_ALOHA_COLOURS.get(storage, _ALOHA_COLOURS["last"]),)
        return Survey(
            Dataset("aloha", sources.path, cameras, camera, tuple(episodes), options),
            cameras,
            count,
            fps_source="attribute fps" if first.has_rate else None,
            facts=(*colour, *rate),
            warnings=first.refused,
        )


class MappedLayout:
    """HDF5 files for which the user has given the path of the frames."""

    name: Format = "hdf5"
    looks_for = "the frames where you say they are: a path in the file with `*` for the episodes' names"

    def recognise(self, path: SourcePath) -> str | None:
        """Return None: it is never recognised by itself."""
        return None

    def survey(self, sources: Sources, options: ReadOptions) -> Survey:
        """Find the episodes in every file."""
        assert options.frames_path is not None
        pattern = options.frames_path
        camera = pattern.rstrip("/").rpartition("/")[2]
        count = len(sources.files)
        if options.camera not in (None, camera):
            problem = f"{sources.path}: no camera `{options.camera}`; `{pattern}` is one camera, {camera}"
            return Survey(None, (camera,), count, obstacles=(problem,))
        episodes: list[Episode] = []
        facts: list[str] = []
        warnings: list[str] = []
        obstacles: list[str] = []
        for name, path in zip(file_names(sources), sources.files, strict=True):
            try:
                found, fact, ignored = _mapped_episodes(name, path, sources, options, camera)
                episodes += found
                warnings += [f"{path}: ignored, no group: {', '.join(ignored)}"] if ignored else []
                facts += [fact] if fact and fact not in facts else []
            except DatasetError as error:
                obstacles.append(str(error))
                episodes.append(Episode(name, path, camera, Unreadable(str(error))))
        if len(obstacles) == count:
            return Survey(None, (camera,), count, obstacles=tuple(obstacles))
        dataset = Dataset("hdf5", sources.path, (camera,), camera, tuple(episodes), options)
        return Survey(
            dataset, dataset.cameras, count, fps_source="attribute fps", facts=tuple(facts), warnings=tuple(warnings)
        )


def proposals(path: SourcePath) -> str:
    """Describe how to specify a file in no known layout."""
    with read_hdf5(path) as file:
        paths = propose_paths(file)
    if not paths:
        return "it holds nothing that looks like frames, (T, H, W, 3) or (T, 3, H, W) uint8 or images as bytes"
    shown = ", ".join(f"--frames '{found}'" for found in paths[:4])
    return f"say where the frames are ({shown}{', ...' if len(paths) > 4 else ''}), and with --actions the actions"


def _mapped_episodes(
    name: str, path: SourcePath, sources: Sources, options: ReadOptions, camera: str
) -> tuple[list[Episode], str | None, list[str]]:
    """Return the episodes of one file, how their frames are stored, and other matches of the path.

    Raises DatasetError if nothing matches.
    """
    pattern = str(options.frames_path)
    with read_hdf5(path) as file:
        matches, ignored = match_episodes(file, pattern)
        if not matches or (not matches[0].wild and not isinstance(file.get(matches[0].frames), h5py.Dataset)):
            raise DatasetError(f"{path}: nothing at `{pattern}`; {_proposed(file)}")
        fact = _storage_fact(file, matches, options)
    prefix = "" if path == sources.path else f"{name}/"
    convention = options.convention(Convention())
    episodes = []
    for match in matches:
        inner = "/".join(match.wild)
        title = prefix + inner if inner else name
        actions = None if options.actions_path is None else match.filled(options.actions_path)
        where = f"{path}: {inner}" if inner else str(path)
        reader = Hdf5Reader(path, where, match.group, match.frames, channels=options.channels)
        episodes.append(Episode(title, path, camera, reader, options.fps, convention, actions))
    return episodes, fact, ignored


def _storage_fact(file: h5py.File, matches: Sequence[Match], options: ReadOptions) -> str | None:
    """Describe how the first existing frames are stored, if that is worth telling."""
    for match in matches:
        dataset = file.get(match.frames)
        if isinstance(dataset, h5py.Dataset):
            with suppress(DatasetError):
                storage = storage_of(dataset, options.channels)
                colour = options.colour or "rgb"
                said = {
                    "images": f"frames are JPEG or PNG, a row each, read as {colour.upper()}",
                    "first": f"frames are arrays (T, 3, H, W), channels first, read as {colour.upper()}",
                    "last": f"frames are arrays (T, H, W, 3), read as {colour.upper()}",
                }
                return said[storage]
            return None
    return None


def _proposed(file: h5py.File) -> str:
    paths = propose_paths(file)
    return "what looks like frames there: " + (", ".join(f"`{path}`" for path in paths[:8]) or "nothing")


def _aloha_reader(path: SourcePath, name: str, camera: str, storage: Storage) -> Hdf5Reader:
    where = str(path) if path.stem == name else f"{path}: {name}"
    return Hdf5Reader(path, where, "/", aloha_frames(camera), ALOHA_ACTIONS, storage=storage)


@dataclass(frozen=True)
class _AlohaFile:
    """Contents of an ALOHA file: storage by camera, what is not a camera and why, whether it has a rate."""

    storages: Mapping[str, Storage]
    refused: tuple[str, ...]
    has_rate: bool


def _first_readable(files: Sequence[SourcePath]) -> _AlohaFile:
    """Return the contents of the first readable file. Raises DatasetError about the first file if there is none."""
    problem: DatasetError | None = None
    for path in files:
        try:
            return _read_aloha(path)
        except DatasetError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _read_aloha(path: SourcePath) -> _AlohaFile:
    with read_hdf5(path) as file:
        images = file.get(ALOHA_IMAGES)
        if not isinstance(images, h5py.Group):
            raise DatasetError(f"{path}: holds no `{ALOHA_IMAGES}/<camera>`")
        storages: dict[str, Storage] = {}
        refused: list[str] = []
        for key in images:
            try:
                dataset = images.get(key)
                if not isinstance(dataset, h5py.Dataset):
                    raise DatasetError("got a group, or a link that leads nowhere, expected an array or images")
                storages[key] = storage_of(dataset, "last")
            except DatasetError as error:
                refused.append(f"{path}: {ALOHA_IMAGES}/{key}: no camera: {error}")
        if not storages:
            raise DatasetError(f"{path}: no camera that can be read: {'; '.join(refused) or 'there is none'}")
        return _AlohaFile(storages, tuple(refused), "fps" in file.attrs)


__all__ = ["AlohaLayout", "MappedLayout", "proposals"]
