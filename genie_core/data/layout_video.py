"""The formats of video: files of one episode each, and LeRobot's folders. How they are told and looked into."""

from __future__ import annotations

from genie_core.data.convention import Convention
from genie_core.data.dataset import (
    VIDEO_SUFFIXES,
    Dataset,
    Format,
    ReadOptions,
    Sources,
    Survey,
    choose_camera,
    file_names,
)
from genie_core.data.episode import Episode
from genie_core.data.lerobot import lerobot_readers
from genie_core.data.lerobot_meta import INFO, LeRobotMeta, is_lerobot, read_lerobot_meta
from genie_core.data.location import SourcePath
from genie_core.data.video import VIDEO_CAMERA, VideoReader
from genie_core.errors import DatasetError


class VideoLayout:
    """Video files, one episode each."""

    name: Format = "video"
    looks_for = f"a name that ends in {', '.join(sorted(VIDEO_SUFFIXES))}"

    def recognise(self, path: SourcePath) -> str | None:
        """By its name; no file is opened."""
        suffix = path.suffix.lower()
        return f"its name ends in {suffix}" if suffix in VIDEO_SUFFIXES else None

    def survey(self, sources: Sources, options: ReadOptions) -> Survey:
        """Open nothing: a video is read through before anything is known of it."""
        if options.camera not in (None, VIDEO_CAMERA):
            problem = f"{sources.path}: no camera `{options.camera}`; a video has one camera, {VIDEO_CAMERA}"
            return Survey(None, (VIDEO_CAMERA,), len(sources.files), obstacles=(problem,))
        convention = options.convention(Convention())
        episodes = tuple(
            Episode(name, file, VIDEO_CAMERA, VideoReader(file), options.fps, convention)
            for name, file in zip(file_names(sources), sources.files, strict=True)
        )
        dataset = Dataset("video", sources.path, (VIDEO_CAMERA,), VIDEO_CAMERA, episodes, options)
        return Survey(dataset, dataset.cameras, len(sources.files), fps_source="average rate of the video")


class LeRobotLayout:
    """A folder in LeRobot's format v2.0, v2.1 or v3.0."""

    name: Format = "lerobot"
    looks_for = f"{INFO} with a codebase_version"

    def recognise(self, path: SourcePath) -> str | None:
        """By its metadata."""
        return f"it holds {INFO} with a codebase_version" if is_lerobot(path) else None

    def survey(self, sources: Sources, options: ReadOptions) -> Survey:
        """Read what lies in ``meta``."""
        cameras: tuple[str, ...] = ()
        try:
            meta = read_lerobot_meta(sources.path)
            cameras = meta.cameras
            dataset = _lerobot_dataset(meta, options)
        except DatasetError as error:
            return Survey(None, cameras, len(sources.files), obstacles=(str(error),))
        files = len({episode.source for episode in dataset.episodes})
        fps_source = f"fps of {INFO}, {meta.info.codebase_version}"
        return Survey(dataset, cameras, files, fps_source=fps_source, warnings=meta.warnings)


def _lerobot_dataset(meta: LeRobotMeta, options: ReadOptions) -> Dataset:
    """The dataset that `meta` describes; its episodes are not opened."""
    camera = _choose_camera(meta, options.camera)
    convention = options.convention(Convention())
    episodes = tuple(
        Episode(reader.entry.name, reader.pictures.path, camera, reader, options.fps, convention)
        for reader in lerobot_readers(meta, camera)
    )
    return Dataset("lerobot", meta.path, meta.cameras, camera, episodes, options, meta.masks)


def _choose_camera(meta: LeRobotMeta, camera: str | None) -> str:
    if camera in meta.depths:
        exist = ", ".join(meta.cameras) or "none"
        raise DatasetError(f"{meta.path}: no camera `{camera}` (it is depth); the cameras are: {exist}")
    if camera is None and not meta.cameras:
        raise DatasetError(f"{meta.path}: no camera, wanted a feature of dtype video or image in {INFO}")
    return choose_camera(meta.path, meta.cameras, camera)


__all__ = ["LeRobotLayout", "VideoLayout"]
