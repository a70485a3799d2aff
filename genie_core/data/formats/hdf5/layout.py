"""Formats ALOHA / ACT and user-described HDF5: how their files are recognised, and survey of their contents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise

import h5py
import numpy as np

from genie_core.data.dataset import Dataset, Format, ReadOptions, Sources, Survey, choose_camera, file_names
from genie_core.data.episode import Episode, Unreadable
from genie_core.data.formats.hdf5.known import EPISODE_ENDS, KNOWN, KnownHdf5, known_layout
from genie_core.data.formats.hdf5.mapping import Match, match_episodes, natural_key, propose_paths
from genie_core.data.formats.hdf5.reader import (
    ALOHA_ACTIONS,
    ALOHA_IMAGES,
    Hdf5Reader,
    Storage,
    aloha_frames,
    storage_of,
)
from genie_core.data.formats.robomimic.reader import require_link
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
    """HDF5 files for which the user has given the path of the frames, or of a layout that is known by that path."""

    name: Format = "hdf5"
    looks_for = "; ".join(f"{known.title}: `{known.frames.replace('{camera}', '<camera>')}`" for known in KNOWN)

    def recognise(self, path: SourcePath) -> str | None:
        """Recognise a known layout; of others only the user can say where the frames are."""
        with suppress(DatasetError), read_hdf5(path) as file:
            known = known_layout(file)
            if known is not None:
                return f"it holds {known.frames.replace('{camera}', '<camera>')}, as {known.title} writes it"
        return None

    def survey(self, sources: Sources, options: ReadOptions) -> Survey:
        """Find the episodes in every file."""
        count = len(sources.files)
        if options.frames_path is not None:
            camera = options.frames_path.rstrip("/").rpartition("/")[2]
            if options.camera not in (None, camera):
                problem = (
                    f"{sources.path}: no camera `{options.camera}`; `{options.frames_path}` is one camera, {camera}"
                )
                return Survey(None, (camera,), count, obstacles=(problem,))
            return _survey(sources, options, (camera,), camera)
        known, cameras, actions = _known_of(sources.files)
        if known is None:
            return Survey(None, files=count, obstacles=(f"{sources.path}: no file is in a layout that is known",))
        try:
            camera = choose_camera(sources.path, cameras, options.camera)
        except DatasetError as error:
            return Survey(None, cameras, count, obstacles=(str(error),))
        said = replace(
            options,
            frames_path=known.frames_path(camera),
            actions_path=actions,
            colour=options.colour or known.colour,
            camera=None,
        )
        survey = _survey(sources, said, cameras, camera)
        facts = (known.fact,) if known.fact and options.colour is None else ()
        return replace(survey, facts=(*facts, *(() if facts else survey.facts)))


def _known_of(files: Sequence[SourcePath]) -> tuple[KnownHdf5 | None, tuple[str, ...], str | None]:
    """Return the layout of the first file that has a known one, its cameras and where its actions are, if anywhere."""
    for path in files:
        with suppress(DatasetError), read_hdf5(path) as file:
            known = known_layout(file)
            if known is not None:
                return known, known.cameras(file), known.actions_path(file)
    return None, (), None


def _survey(sources: Sources, options: ReadOptions, cameras: tuple[str, ...], camera: str) -> Survey:
    """Find the episodes in every file, whose frames are at the path in `options`."""
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
    if len(obstacles) == len(sources.files):
        return Survey(None, cameras, len(sources.files), obstacles=tuple(obstacles))
    dataset = Dataset("hdf5", sources.path, cameras, camera, tuple(episodes), options)
    return Survey(
        dataset,
        cameras,
        len(sources.files),
        fps_source="attribute fps",
        facts=tuple(facts),
        warnings=tuple(warnings),
    )


def proposals(path: SourcePath) -> str:
    """Describe how to specify a file in no known layout."""
    with read_hdf5(path) as file:
        paths = propose_paths(file)
        for parts in (file, *(inner for inner in map(file.get, file) if isinstance(inner, h5py.Group))):
            for name in parts:
                try:
                    require_link(parts, name, str(path))
                except DatasetError as error:
                    return str(error).removeprefix(f"{path}: ")
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
        ends = _episode_ends(path, file, matches)
    prefix = "" if path == sources.path else f"{name}/"
    convention = options.convention(Convention())
    episodes = []
    for match in matches:
        inner = "/".join(match.wild)
        title = prefix + inner if inner else name
        actions = None if options.actions_path is None else match.filled(options.actions_path)
        where = f"{path}: {inner}" if inner else str(path)
        reader = Hdf5Reader(path, where, match.group, match.frames, channels=options.channels)
        if ends is None:
            episodes.append(Episode(title, path, camera, reader, options.fps, convention, actions))
            continue
        for number, rows in enumerate(pairwise([0, *ends])):
            part = f"{prefix}episode_{number}"
            own = replace(reader, where=f"{path}: episode_{number}", rows=rows)
            episodes.append(Episode(part, path, camera, own, options.fps, convention, actions))
    if ends is not None:
        fact = f"{fact or 'frames'}; `{EPISODE_ENDS}` divides them into {len(ends)} episodes"
    return episodes, fact, ignored


def _episode_ends(path: SourcePath, file: h5py.File, matches: Sequence[Match]) -> list[int] | None:
    """Return where the episodes end that lie in the same arrays; None if the file does not say so.

    Raises DatasetError if that does not fit the frames.
    """
    held = file.get(EPISODE_ENDS)
    if not isinstance(held, h5py.Dataset) or matches[0].wild:
        return None
    ends, count = np.asarray(held[()]), len(file[matches[0].frames])
    if ends.ndim != 1 or ends.dtype.kind not in "iu" or not len(ends):
        raise DatasetError(f"{path}: `{EPISODE_ENDS}` is {ends.shape} {ends.dtype}, expected whole numbers")
    if (np.diff(ends.astype(np.int64), prepend=0) < 0).any() or ends[-1] != count:
        raise DatasetError(
            f"{path}: `{EPISODE_ENDS}` ends at {ends[-1]}, or goes back, expected growing numbers up to {count} frames"
        )
    numbers: list[int] = ends.tolist()
    return numbers


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
                    require_link(images, key, str(path))
                    raise DatasetError("got a group, or a link that leads nowhere, expected an array or images")
                storages[key] = storage_of(dataset, "last")
            except DatasetError as error:
                refused.append(f"{path}: {ALOHA_IMAGES}/{key}: no camera: {error}")
        if not storages:
            raise DatasetError(f"{path}: no camera that can be read: {'; '.join(refused) or 'there is none'}")
        return _AlohaFile(storages, tuple(refused), "fps" in file.attrs)


__all__ = ["AlohaLayout", "MappedLayout", "proposals"]
