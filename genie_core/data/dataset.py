"""A dataset: the episodes of a file or folder of robot video, whatever its format, and the camera they are seen by.

Which format it is, and how each is read, is `formats` and the modules that it lists; this one holds what they share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

from genie_core.data.episode import Episode
from genie_core.data.frames.convention import Colour, Convention
from genie_core.data.frames.timing import check_rate
from genie_core.data.storage.location import SourcePath, path_within
from genie_core.errors import DatasetError

Format = Literal["aloha", "hdf5", "lerobot", "libero", "rlds", "robomimic", "video"]
"""How a dataset stores frames.

``aloha``: HDF5 files of ALOHA / ACT, one episode each. ``hdf5``: HDF5 files whose frames the user has named.
``lerobot``: a folder in one of LeRobot's formats. ``libero``: robomimic's layout with LIBERO's attributes. ``rlds``:
TFRecords of RLDS / Open X-Embodiment. ``robomimic``: HDF5 files in robomimic's layout. ``video``: video files, one
episode each.
"""

ROBOMIMIC_LAYOUT: frozenset[Format] = frozenset({"libero", "robomimic"})
"""Formats whose files are in robomimic's layout, ``data/demo_N``."""

HDF5_SUFFIXES = frozenset({".h5", ".hdf5"})
VIDEO_SUFFIXES = frozenset({".avi", ".gif", ".mkv", ".mov", ".mp4", ".webm"})
LABELLED_SUFFIX = ".labelled.hdf5"
"""How the name of a labelled file ends by default; inside a folder such files are outputs and never read as input."""


LABELLED_FOLDER = ".labelled"
"""The same of a folder of labelled files."""


@dataclass(frozen=True)
class ReadOptions:
    """What the user says of the data, in place of what the data say of themselves. None: what they say.

    Attributes:
        camera: which camera, where there are several.
        fps: frames a second, above 0.
        colour: order of the channels in the stored pictures (of JPEG and PNG, as their standards decode them).
        flip: whether stored pictures are upside down, so that reading turns them over.
        frames_path: where an HDF5 file of no known layout has its frames: a path in the file, ``*`` for any name.
        actions_path: where it has its actions; each ``*`` stands for what it stood for in `frames_path`.
        channels: where the channels of its arrays are: ``first`` (T, 3, H, W) or ``last`` (T, H, W, 3).

    """

    camera: str | None = None
    fps: float | None = None
    colour: Colour | None = None
    flip: bool | None = None
    frames_path: str | None = None
    actions_path: str | None = None
    channels: Literal["first", "last"] | None = None

    def __post_init__(self) -> None:
        if self.fps is not None:
            check_rate("fps", self.fps)
        if self.actions_path is not None and self.frames_path is None:
            raise DatasetError("actions path: came one without a path of frames, wanted both")

    def convention(self, stored: Convention) -> Convention:
        """How pictures are read that their file, or its format, says are `stored` so."""
        return Convention(
            stored.colour if self.colour is None else self.colour,
            stored.upside_down if self.flip is None else self.flip,
        )


@dataclass(frozen=True)
class Dataset:
    """Episodes of one format seen by one camera.

    Attributes:
        format: how the frames are stored.
        path: file or folder that was opened.
        cameras: cameras there are; of several files, those that all have.
        camera: the camera `episodes` are seen by.
        episodes: in a fixed order: demos by number, files by name.
        options: what the user said of the data.
        masks: names of episodes by the name of robomimic's filter key or LeRobot's split (``train``, ``valid``); empty
            for most formats.
        facts: what was detected and is acted on, or what the format is taken to mean, in sentences.

    """

    format: Format
    path: SourcePath
    cameras: tuple[str, ...]
    camera: str
    episodes: Sequence[Episode]
    options: ReadOptions = ReadOptions()
    masks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    facts: tuple[str, ...] = ()

    @property
    def fps_override(self) -> float | None:
        """Frames a second as the user gave it, in place of what the files say."""
        return self.options.fps

    @cached_property
    def fps(self) -> float | None:
        """Frames a second of all episodes; None where it is unknown or not the same (then see each episode's).

        The first use opens every file.
        """
        rates = {episode.fps for episode in self.episodes}
        return rates.pop() if len(rates) == 1 else None


@dataclass(frozen=True)
class Sources:
    """The files of a dataset and their format.

    Attributes:
        format: how the files store frames.
        path: file or folder that was asked for.
        files: at least one, sorted by path; the folder itself where that is one dataset as a whole (LeRobot, RLDS).
        why: by what the format was recognised, in words.

    """

    format: Format
    path: SourcePath
    files: tuple[SourcePath, ...]
    why: str = ""


@dataclass(frozen=True)
class Survey:
    """What a look into a dataset has found, as far as names, shapes and metadata tell.

    Attributes:
        dataset: None where an obstacle makes it impossible. It may hold episodes that cannot be read (`Unreadable`).
        cameras: names of the cameras that every file has.
        files: number of files that hold frames.
        fps_source: where the frame rate comes from, in words; None where the data say nothing.
        facts: what was detected and will be acted on, or what the format is taken to mean; a sentence each.
        obstacles: why it cannot be read as things are; the first is what opening raises.
        warnings: what is odd but stops nothing.

    """

    dataset: Dataset | None
    cameras: tuple[str, ...] = ()
    files: int = 1
    fps_source: str | None = None
    facts: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Layout(Protocol):
    """One format: how to tell it, and how to look into it. `formats.LAYOUTS` lists all there are."""

    @property
    def name(self) -> Format:
        """What the format is called."""

    @property
    def looks_for(self) -> str:
        """What `recognise` looks for, in words, for the user whose file is none of these."""

    def recognise(self, path: SourcePath) -> str | None:
        """By what the file or folder `path` is of this format, in words; None where it is not.

        It is quick, and raises DatasetError only where `path` says that it is of this format but is damaged.
        """

    def survey(self, sources: Sources, options: ReadOptions) -> Survey:
        """Look into files of this format without reading frames. What is wrong with them is reported, not raised."""


def choose_camera(path: SourcePath, cameras: Sequence[str], camera: str | None, default: str | None = None) -> str:
    """Return the camera to read by: `camera`, else the only one, else `default` if it is one of several.

    Raises:
        DatasetError: `camera` does not exist, or the choice is not clear; the message lists those that do.

    """
    if camera is None and len(cameras) == 1:
        return cameras[0]
    if camera is None and default in cameras:
        return str(default)
    if camera in cameras:
        return str(camera)
    exist = ", ".join(cameras) or "none"
    if camera is not None:
        raise DatasetError(f"{path}: no camera `{camera}`; the cameras are: {exist}")
    if cameras:
        raise DatasetError(f"{path}: several cameras, wanted a choice of one: {exist}")
    raise DatasetError(f"{path}: no camera images")


def file_names(sources: Sources) -> list[str]:
    """What to call each file: its path in the folder without the suffix, or with it where that alone tells two apart.

    So a file's name stays the same when others join the folder.
    """
    if sources.files == (sources.path,):
        return [sources.path.stem]
    paths = [path_within(file, sources.path) for file in sources.files]
    without_suffix = Counter(path.with_suffix("") for path in paths)
    return [(path if without_suffix[path.with_suffix("")] > 1 else path.with_suffix("")).as_posix() for path in paths]


__all__ = [
    "HDF5_SUFFIXES",
    "LABELLED_FOLDER",
    "LABELLED_SUFFIX",
    "ROBOMIMIC_LAYOUT",
    "VIDEO_SUFFIXES",
    "Dataset",
    "Format",
    "Layout",
    "ReadOptions",
    "Sources",
    "Survey",
    "choose_camera",
    "file_names",
]
