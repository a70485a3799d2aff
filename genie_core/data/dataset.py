"""A dataset: the episodes of a file or folder of robot video, whatever its format, and the camera they are seen by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import h5py

from genie_core.data.episode import Episode
from genie_core.data.lerobot import lerobot_readers
from genie_core.data.lerobot_meta import INFO, LeRobotMeta, is_lerobot, read_lerobot_meta
from genie_core.data.robomimic import RobomimicFile, read_robomimic
from genie_core.data.timing import check_rate
from genie_core.data.video import VIDEO_CAMERA, VideoReader
from genie_core.errors import DatasetError

Format = Literal["lerobot", "robomimic", "video"]
"""How a dataset stores frames.

``lerobot``: a folder in one of LeRobot's formats. ``robomimic``: HDF5 files in robomimic's layout. ``video``: video
files, one episode each.
"""

HDF5_SUFFIXES = frozenset({".h5", ".hdf5"})
VIDEO_SUFFIXES = frozenset({".avi", ".gif", ".mkv", ".mov", ".mp4", ".webm"})
LABELLED_SUFFIX = ".labelled.hdf5"
"""How the name of a labelled file ends by default; inside a folder such files are outputs and never read as input."""

DEFAULT_CAMERA = "agentview_image"
"""Robomimic's usual camera, taken where a file has several and none is asked for."""


@dataclass(frozen=True)
class Dataset:
    """Episodes of one format seen by one camera.

    Attributes:
        format: how the frames are stored.
        path: file or folder that was opened.
        cameras: cameras there are; of several files, those that all have.
        camera: the camera `episodes` are seen by.
        episodes: in a fixed order: demos by number, files by name.
        fps_override: frames a second as the user gave it, in place of what the files say.
        masks: names of episodes by the name of robomimic's filter key or LeRobot's split (``train``, ``valid``); empty
            for video.

    """

    format: Format
    path: Path
    cameras: tuple[str, ...]
    camera: str
    episodes: Sequence[Episode]
    fps_override: float | None
    masks: Mapping[str, tuple[str, ...]]

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
        files: at least one, sorted by path; of a LeRobot dataset its ``meta/info.json``.

    """

    format: Format
    path: Path
    files: tuple[Path, ...]


def open_dataset(path: Path, *, camera: str | None = None, fps: float | None = None) -> Dataset:
    """Open robot video to read: a LeRobot dataset, a robomimic HDF5 file, a video file, or a folder of such files.

    A folder is a LeRobot dataset if its ``meta/info.json`` says so, otherwise it is searched recursively. Opening is
    quick: of HDF5 files only names and shapes are read, of LeRobot datasets only what lies in ``meta``; video files
    are not opened before they are used.
    Episodes of 0 or 1 frames are listed; what to do about them is the reader's decision.

    Args:
        path: file or folder.
        camera: which camera; None: the only one there is, or ``agentview_image`` of several.
        fps: frames a second, in place of what the files say.

    Raises:
        DatasetError: there is no such path or nothing readable in it, formats are mixed, the camera does not exist or
            is not clear (the message lists those that do), a demo's frames are not (T, H, W, 3) uint8, or what lies in
            ``meta`` is damaged.

    """
    if fps is not None:
        check_rate("fps", fps)
    sources = find_sources(path)
    if sources.format == "video":
        return video_dataset(sources, camera, fps)
    if sources.format == "lerobot":
        return lerobot_dataset(read_lerobot_meta(path), camera, fps)
    files = [read_robomimic(file) for file in sources.files]
    dataset = robomimic_dataset(sources, files, choose_camera(path, files, camera), fps)
    for episode in dataset.episodes:
        _ = episode.num_frames  # raises where the demo is not what it should be
    return dataset


def find_sources(path: Path) -> Sources:
    """Find the files at `path` that hold robot video. Raises DatasetError where there are none, or of two formats."""
    if path.is_file():
        return Sources(_format_of(path), path, (path,))
    if not path.is_dir():
        raise DatasetError(f"{path}: no such file or folder")
    if is_lerobot(path):
        return Sources("lerobot", path, (path / INFO,))
    files = sorted(file for file in path.rglob("*") if _is_source(file.relative_to(path)) and file.is_file())
    _refuse_lerobot_below(path, files)
    hdf5 = tuple(file for file in files if file.suffix.lower() in HDF5_SUFFIXES)
    video = tuple(file for file in files if file.suffix.lower() in VIDEO_SUFFIXES)
    if hdf5 and video:
        raise DatasetError(
            f"{path}: the folder mixes HDF5 ({hdf5[0].name}, ...) and video ({video[0].name}, ...), wanted one format: "
            "give a file, or a folder that holds only one of them"
        )
    if not hdf5 and not video:
        raise DatasetError(f"{path}: the folder holds no robot video, wanted files that end in {_suffixes()}")
    return Sources("robomimic" if hdf5 else "video", path, hdf5 or video)


def choose_camera(path: Path, files: Sequence[RobomimicFile], camera: str | None) -> str:
    """Return the camera to read `files` by. Raises DatasetError where it does not exist or the choice is not clear."""
    cameras = common_cameras(files)
    if camera is not None and camera in cameras:
        return camera
    if camera is None and len(cameras) == 1:
        return cameras[0]
    if camera is None and DEFAULT_CAMERA in cameras:
        return DEFAULT_CAMERA
    exist = ", ".join(cameras) or "none"
    refused = {key: problem for file in files for key, problem in file.refused.items()}
    if camera is not None:
        detail = f" (obs/{camera}: {refused[camera]})" if camera in refused else ""
        raise DatasetError(f"{path}: no camera `{camera}`{detail}; the cameras are: {exist}")
    if cameras:
        raise DatasetError(f"{path}: several cameras, wanted a choice of one: {exist}")
    if refused:
        details = "; ".join(f"obs/{key}: {problem}" for key, problem in refused.items())
        raise DatasetError(f"{path}: no camera that can be read: {details}")
    raise DatasetError(
        f"{path}: no camera images in {'obs' if len(files) == 1 else 'the observations that all files share'}, wanted "
        "(T, H, W, 3) uint8; for a low-dimensional dataset render them with robomimic's dataset_states_to_obs.py"
    )


def common_cameras(files: Sequence[RobomimicFile]) -> tuple[str, ...]:
    """The cameras that all files have, in the order of the first."""
    return tuple(camera for camera in files[0].cameras if all(camera in file.cameras for file in files))


def robomimic_dataset(sources: Sources, files: Sequence[RobomimicFile], camera: str, fps: float | None) -> Dataset:
    """Return the dataset of robomimic files without looking at its demos.

    An episode bears its demo's name; in a folder, behind the file's path in it without suffix (``lift/demo_3``).
    """
    episodes: list[Episode] = []
    masks: dict[str, tuple[str, ...]] = {}
    for name, file in zip(_file_names(sources), files, strict=True):
        prefix = "" if file.path == sources.path else f"{name}/"
        for demo in file.demos:
            episodes.append(Episode(prefix + demo, file.path, camera, file.reader(demo, camera), fps))
        for key, names in file.masks.items():
            masks[key] = (*masks.get(key, ()), *(prefix + name for name in names))
    return Dataset("robomimic", sources.path, common_cameras(files), camera, tuple(episodes), fps, masks)


def video_dataset(sources: Sources, camera: str | None, fps: float | None) -> Dataset:
    """Return the dataset of video files without opening them. Raises DatasetError where `camera` does not exist."""
    if camera not in (None, VIDEO_CAMERA):
        raise DatasetError(f"{sources.path}: no camera `{camera}`; a video has one camera, {VIDEO_CAMERA}")
    episodes = tuple(
        Episode(name, file, VIDEO_CAMERA, VideoReader(file), fps)
        for name, file in zip(_file_names(sources), sources.files, strict=True)
    )
    return Dataset("video", sources.path, (VIDEO_CAMERA,), VIDEO_CAMERA, episodes, fps, {})


def lerobot_dataset(meta: LeRobotMeta, camera: str | None, fps: float | None) -> Dataset:
    """Return the dataset that `meta` describes without opening its episodes.

    Raises DatasetError where `camera` does not exist or is not clear.
    """
    camera = _choose_lerobot_camera(meta, camera)
    episodes = tuple(
        Episode(reader.entry.name, reader.pictures.path, camera, reader, fps)
        for reader in lerobot_readers(meta, camera)
    )
    return Dataset("lerobot", meta.path, meta.cameras, camera, episodes, fps, meta.masks)


def _choose_lerobot_camera(meta: LeRobotMeta, camera: str | None) -> str:
    if camera is not None and camera in meta.cameras:
        return camera
    if camera is None and len(meta.cameras) == 1:
        return meta.cameras[0]
    exist = ", ".join(meta.cameras) or "none"
    if camera is not None:
        detail = " (it is depth)" if camera in meta.depths else ""
        raise DatasetError(f"{meta.path}: no camera `{camera}`{detail}; the cameras are: {exist}")
    if meta.cameras:
        raise DatasetError(f"{meta.path}: several cameras, wanted a choice of one: {exist}")
    raise DatasetError(f"{meta.path}: no camera, wanted a feature of dtype video or image in {INFO}")


def _refuse_lerobot_below(path: Path, files: Sequence[Path]) -> None:
    """Raise DatasetError where `files` belong to datasets within the folder, whose shared videos are no episodes."""
    folders = {parent for file in files for parent in file.parents if parent.is_relative_to(path)}
    datasets = sorted(folder.relative_to(path).as_posix() for folder in folders if is_lerobot(folder))
    if datasets:
        raise DatasetError(f"{path}: the folder holds LeRobot datasets, wanted one of them: {', '.join(datasets[:8])}")


def _file_names(sources: Sources) -> list[str]:
    """What to call each file: its path in the folder without the suffix, or with it where that alone tells two apart.

    So a file's name stays the same when others join the folder.
    """
    if sources.files == (sources.path,):
        return [sources.path.stem]
    paths = [file.relative_to(sources.path) for file in sources.files]
    without_suffix = Counter(path.with_suffix("") for path in paths)
    return [(path if without_suffix[path.with_suffix("")] > 1 else path.with_suffix("")).as_posix() for path in paths]


def _is_source(path_in_folder: Path) -> bool:
    """Whether a file may be input: not hidden, not a labelled output, not a part of one."""
    hidden = any(part.startswith(".") or part.endswith(".parts") for part in path_in_folder.parts)
    return not hidden and not path_in_folder.name.endswith(LABELLED_SUFFIX)


def _format_of(file: Path) -> Format:
    if file.suffix.lower() in HDF5_SUFFIXES or h5py.is_hdf5(file):
        return "robomimic"
    if file.suffix.lower() in VIDEO_SUFFIXES:
        return "video"
    raise DatasetError(f"{file}: came a file that ends in `{file.suffix}`, wanted {_suffixes()}")


def _suffixes() -> str:
    return ", ".join(sorted(HDF5_SUFFIXES | VIDEO_SUFFIXES))


__all__ = [
    "LABELLED_SUFFIX",
    "Dataset",
    "Format",
    "Sources",
    "choose_camera",
    "common_cameras",
    "find_sources",
    "lerobot_dataset",
    "open_dataset",
    "robomimic_dataset",
    "video_dataset",
]
