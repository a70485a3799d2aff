"""A dataset: the episodes of a file or folder of robot video in any format, seen by one camera.

Holds what all formats share. `opening` finds the format of a path; each package in `formats` reads one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, Protocol

from genie_core.data.episode import Episode, Unreadable
from genie_core.data.frames.convention import Colour, Convention
from genie_core.data.frames.timing import check_rate
from genie_core.data.frames.turning import Rotation
from genie_core.data.storage.location import SourcePath, path_within
from genie_core.errors import DatasetError

Format = Literal[
    "aloha",
    "calvin",
    "hdf5",
    "images",
    "lerobot",
    "libero",
    "mcap",
    "rlds",
    "robomimic",
    "rosbag",
    "video",
    "webdataset",
    "zarr",
]
"""How a dataset stores frames.

``aloha``: HDF5 files of ALOHA / ACT, one episode each. ``calvin``: CALVIN's folders of .npz files, one a frame.
``hdf5``: HDF5 files whose frames the user has named. ``images``: folders of JPEG or PNG files, one a frame.
``lerobot``: a folder in one of LeRobot's formats. ``libero``: robomimic's layout with LIBERO's attributes. ``mcap``:
MCAP files with messages of ROS 2. ``rlds``: TFRecords of RLDS / Open X-Embodiment. ``robomimic``: HDF5 files in
robomimic's layout. ``rosbag``: bags of ROS 1, and of ROS 2 with SQLite files. ``video``: video files, one episode each.
``webdataset``: tar files with a video for each episode.
``zarr``: replay buffers of Diffusion Policy and UMI.
"""

NAMED_ACTIONS: frozenset[Format] = frozenset({"calvin", "images", "mcap", "rosbag", "zarr"})
"""Formats whose own files say where the frames are, and whose actions can be named all the same."""

ROBOMIMIC_LAYOUT: frozenset[Format] = frozenset({"libero", "robomimic"})
"""Formats stored in robomimic's layout, ``data/demo_N``."""

HDF5_SUFFIXES = frozenset({".h5", ".hdf5"})
VIDEO_SUFFIXES = frozenset({".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".ts", ".webm"})
BAG_SUFFIXES = frozenset({".bag", ".db3"})
MCAP_SUFFIXES = frozenset({".mcap"})
IMAGE_SUFFIXES = frozenset({".jpeg", ".jpg", ".png"})
LABELLED_SUFFIX = ".labelled.hdf5"
"""Default end of a labelled file's name; inside a folder such files are outputs and are never read as input."""


LABELLED_FOLDER = ".labelled"
"""Default end of a labelled folder's name."""


@dataclass(frozen=True)
class ReadOptions:
    """The user's statements about the data, which override what the data say. None: use what the data say.

    Attributes:
        camera: name of the camera, if there are several.
        fps: frames a second, above 0.
        colour: order of the channels in the stored pictures (of JPEG and PNG, as their standards decode them).
        flip: whether stored pictures are upside down; reading turns them over.
        rotate: by how many degrees clockwise reading turns pictures, beyond what their files ask for.
        include: of a folder, only files whose path or name matches, or a folder around them; ``*`` for anything.
        frames_path: where an HDF5 file in an unknown layout has its frames: a path in the file, ``*`` for any name.
        actions_path: where it has its actions; each ``*`` takes the value that it has in `frames_path`. In formats of
            `NAMED_ACTIONS` the name of the array, or of the topic.
        channels: where the channels of its arrays are: ``first`` (T, 3, H, W) or ``last`` (T, H, W, 3).

    """

    camera: str | None = None
    fps: float | None = None
    colour: Colour | None = None
    flip: bool | None = None
    frames_path: str | None = None
    actions_path: str | None = None
    channels: Literal["first", "last"] | None = None
    rotate: Rotation | None = None
    include: str | None = None

    def __post_init__(self) -> None:
        if self.fps is not None:
            check_rate("fps", self.fps)

    def convention(self, stored: Convention) -> Convention:
        """Return the convention to read with, given the one that the file or its format states."""
        return Convention(
            stored.colour if self.colour is None else self.colour,
            stored.upside_down if self.flip is None else self.flip,
            self.rotate,
        )


@dataclass(frozen=True)
class Dataset:
    """Episodes of one format, seen by one camera.

    Attributes:
        format: how the frames are stored.
        path: file or folder that was opened.
        cameras: names of the cameras; for several files, of those that all files have.
        camera: camera that `episodes` are seen by.
        episodes: in a fixed order: demos by number, files by name.
        options: what the user said about the data.
        masks: names of episodes by the name of robomimic's filter key or LeRobot's split (``train``, ``valid``); empty
            for most formats.
        facts: what was detected and is acted on, and how the format is interpreted; one sentence each.
        warnings: oddities that do not stop reading.
        fused: cameras, `camera` first, whose labels are to be fused: each episode has the others as `Episode.views`;
            empty: of `camera` alone.

    """

    format: Format
    path: SourcePath
    cameras: tuple[str, ...]
    camera: str
    episodes: Sequence[Episode]
    options: ReadOptions = ReadOptions()
    masks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    facts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    fused: tuple[str, ...] = ()

    @property
    def fps_override(self) -> float | None:
        """Frames a second given by the user, in place of what the files say."""
        return self.options.fps

    @cached_property
    def fps(self) -> float | None:
        """Frames a second of all episodes; None if unknown or not the same for all (see each episode's then).

        The first access opens every file.
        """
        rates = {episode.fps for episode in self.episodes}
        return rates.pop() if len(rates) == 1 else None


@dataclass(frozen=True)
class Sources:
    """The files of a dataset and their format.

    Attributes:
        format: how the files store frames.
        path: file or folder that was asked for.
        files: at least one, sorted by path; the folder itself if it is one dataset as a whole (LeRobot, RLDS).
        why: how the format was recognised, in words.
        warnings: what else lies there and is left out, a sentence each.

    """

    format: Format
    path: SourcePath
    files: tuple[SourcePath, ...]
    why: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Survey:
    """Findings about a dataset from names, shapes and metadata alone.

    Attributes:
        dataset: None if an obstacle rules it out. It may hold episodes that cannot be read (`Unreadable`).
        cameras: names of the cameras that every file has.
        files: number of files that hold frames.
        fps_source: where the frame rate comes from, in words; None if the data give none.
        facts: what was detected and will be acted on, and how the format is interpreted; one sentence each.
        obstacles: why it cannot be read as it is; the first is what opening raises.
        warnings: oddities that do not stop reading.

    """

    dataset: Dataset | None
    cameras: tuple[str, ...] = ()
    files: int = 1
    fps_source: str | None = None
    facts: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Layout(Protocol):
    """One format: how to recognise and survey it. `opening.LAYOUTS` lists all of them."""

    @property
    def name(self) -> Format:
        """Name of the format."""

    @property
    def looks_for(self) -> str:
        """Describes what `recognise` looks for, for a user whose file is in no known format."""

    def recognise(self, path: SourcePath) -> str | None:
        """Return how `path` was recognised as this format, in words; None if it is not.

        It is quick, and raises DatasetError only if `path` claims this format but is damaged.
        """

    def survey(self, sources: Sources, options: ReadOptions) -> Survey:
        """Survey files of this format without reading frames. Problems are reported, not raised."""


def choose_camera(path: SourcePath, cameras: Sequence[str], camera: str | None, default: str | None = None) -> str:
    """Return the camera to use: `camera`, else the only one, else `default` if it is among several.

    `camera` may be the last part of a name (``wrist`` of ``observation.images.wrist``) if no other ends so.

    Raises:
        DatasetError: `camera` does not exist, or the choice is ambiguous; the message lists those that exist.

    """
    if camera is None and len(cameras) == 1:
        return cameras[0]
    if camera is None and default in cameras:
        return str(default)
    if camera in cameras:
        return str(camera)
    exist = ", ".join(cameras) or "none"
    if camera is not None:
        ending = [name for name in cameras if re.split(r"[./]", name)[-1] == camera] or [
            name for name in cameras if name.endswith((f"_{camera}", f".{camera}", f"/{camera}"))
        ]
        if len(ending) == 1:
            return ending[0]
        several = f"several cameras end in `{camera}`" if ending else f"no camera `{camera}`"
        raise DatasetError(f"{path}: {several}; the cameras are: {exist}")
    if cameras:
        raise DatasetError(f"{path}: several cameras, expected a choice of one: {exist} (--camera NAME; --camera all)")
    raise DatasetError(f"{path}: no camera images")


def fused_views(datasets: Sequence[Dataset]) -> Dataset:
    """Return the first of several datasets, which are one seen by several cameras, with the others as its views.

    Episodes belong together by their names. One that another camera lacks has a view that cannot be read.

    Raises:
        DatasetError: fewer than two cameras, or one twice; or they store pictures in different ways, of which the
            provenance of labels can say but one.

    """
    first, *others = datasets
    cameras = tuple(dataset.camera for dataset in datasets)
    if not others or len(set(cameras)) < len(cameras):
        raise DatasetError(f"{first.path}: got the cameras {', '.join(cameras)}, expected two or more different ones")
    ways = {dataset.camera: dataset.episodes[0].convention for dataset in datasets if dataset.episodes}
    if len(set(ways.values())) > 1:
        said = ", ".join(f"{camera} {way.said()}" for camera, way in ways.items())
        raise DatasetError(
            f"{first.path}: got cameras that store pictures in different ways, expected one (--colour, --flip): {said}"
        )
    named = [{episode.name: episode for episode in dataset.episodes} for dataset in others]

    def seen_by(episode: Episode, other: Dataset, episodes: Mapping[str, Episode]) -> Episode:
        missing = Unreadable(f"{other.path}: {episode.name}: is not seen by camera {other.camera}")
        return episodes.get(episode.name) or replace(episode, camera=other.camera, reader=missing)

    return replace(
        first,
        fused=cameras,
        episodes=[
            replace(
                episode,
                views=tuple(seen_by(episode, *other) for other in zip(others, named, strict=True)),
            )
            for episode in first.episodes
        ],
        facts=tuple(dict.fromkeys(fact for dataset in datasets for fact in dataset.facts)),
        warnings=tuple(dict.fromkeys(warning for dataset in datasets for warning in dataset.warnings)),
    )


def camera_label(camera: str, cameras: Sequence[str]) -> str:
    """Return a short name of a camera for files: the end of its name if that is unique."""
    short = re.split(r"[./]", camera)[-1]
    others = [re.split(r"[./]", name)[-1] for name in cameras if name != camera]
    return re.sub(r"[^\w-]+", "_", camera if short in others else short)


def file_names(sources: Sources) -> list[str]:
    """Name each file by its path in the folder, without the suffix unless two files differ only in that.

    A file's name does not change when other files join the folder.
    """
    if sources.files == (sources.path,):
        return [sources.path.stem]
    paths = [path_within(file, sources.path) for file in sources.files]
    without_suffix = Counter(path.with_suffix("") for path in paths)
    return [(path if without_suffix[path.with_suffix("")] > 1 else path.with_suffix("")).as_posix() for path in paths]


__all__ = [
    "BAG_SUFFIXES",
    "HDF5_SUFFIXES",
    "IMAGE_SUFFIXES",
    "LABELLED_FOLDER",
    "LABELLED_SUFFIX",
    "MCAP_SUFFIXES",
    "NAMED_ACTIONS",
    "ROBOMIMIC_LAYOUT",
    "VIDEO_SUFFIXES",
    "Dataset",
    "Format",
    "Layout",
    "ReadOptions",
    "Sources",
    "Survey",
    "camera_label",
    "choose_camera",
    "file_names",
    "fused_views",
]
