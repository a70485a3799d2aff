"""LeRobot format: how its folders are recognised, and survey of their metadata."""

from __future__ import annotations

from genie_core.data.dataset import Dataset, Format, ReadOptions, Sources, Survey, choose_camera
from genie_core.data.episode import Episode, Unreadable
from genie_core.data.formats.lerobot.meta import INFO, LeRobotMeta, is_lerobot, overlap_warnings, read_lerobot_meta
from genie_core.data.formats.lerobot.reader import LeRobotReader, VideoPictures, lerobot_readers
from genie_core.data.frames.convention import Convention
from genie_core.data.storage.location import SourcePath
from genie_core.data.storage.missing import missing_files
from genie_core.errors import DatasetError


class LeRobotLayout:
    """A folder in LeRobot's format v2.0, v2.1 or v3.0."""

    name: Format = "lerobot"
    looks_for = f"{INFO} with a codebase_version"

    def recognise(self, path: SourcePath) -> str | None:
        """Recognise it by its metadata."""
        return f"it holds {INFO} with a codebase_version" if is_lerobot(path) else None

    def survey(self, sources: Sources, options: ReadOptions) -> Survey:
        """Read the files in ``meta``."""
        cameras: tuple[str, ...] = ()
        try:
            meta = read_lerobot_meta(sources.path)
            cameras = meta.cameras
            dataset = _lerobot_dataset(meta, options)
        except DatasetError as error:
            return Survey(None, cameras, len(sources.files), obstacles=(str(error),))
        files = len({episode.source for episode in dataset.episodes})
        overlaps = overlap_warnings(meta, dataset.camera)
        fps_source = f"fps of {INFO}, {meta.info.codebase_version}"
        return Survey(dataset, cameras, files, fps_source=fps_source, warnings=(*meta.warnings, *overlaps))


def _lerobot_dataset(meta: LeRobotMeta, options: ReadOptions) -> Dataset:
    """Return the dataset that `meta` describes, without opening episodes."""
    camera = _choose_camera(meta, options.camera)
    convention = options.convention(Convention())
    found = list(lerobot_readers(meta, camera))
    problems = [reader for _, reader in found if isinstance(reader, DatasetError)]
    if len(problems) == len(found):
        raise problems[0]
    missing = missing_files(meta.path, [file for _, reader in found for file in _files(reader)])
    episodes = []
    for entry, reader in found:
        if isinstance(reader, DatasetError):
            episodes.append(Episode(entry.name, meta.path / INFO, camera, Unreadable(str(reader))))
        elif missing is not None and any(file in missing.files for file in _files(reader)):
            episodes.append(Episode(entry.name, reader.pictures.path, camera, Unreadable(missing.words)))
        else:
            episodes.append(Episode(entry.name, reader.pictures.path, camera, reader, options.fps, convention))
    return Dataset("lerobot", meta.path, meta.cameras, camera, tuple(episodes), options, meta.masks)


def _files(reader: LeRobotReader | DatasetError) -> list[SourcePath]:
    """Return the files that an episode is in, as listed; of shared rows another may have them."""
    if isinstance(reader, DatasetError) or not reader.entry.length:
        return []
    rows = [] if reader.rows.following else [reader.rows.listed.table.path]
    return [*rows, *([reader.pictures.video.path] if isinstance(reader.pictures, VideoPictures) else [])]


def _choose_camera(meta: LeRobotMeta, camera: str | None) -> str:
    if camera in meta.depths:
        exist = ", ".join(meta.cameras) or "none"
        raise DatasetError(f"{meta.path}: no camera `{camera}` (it is depth); the cameras are: {exist}")
    if camera is None and not meta.cameras:
        depth = f" in colour: {', '.join(meta.depths)} is depth, which is not read" if meta.depths else ""
        raise DatasetError(f"{meta.path}: no camera{depth}, expected a feature of dtype video or image in {INFO}")
    return choose_camera(meta.path, meta.cameras, camera)


__all__ = ["LeRobotLayout"]
