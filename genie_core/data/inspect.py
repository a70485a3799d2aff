"""Says what a dataset holds, whether and how it can be labelled, and everything that stands in the way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from genie_core.data.dataset import (
    Dataset,
    Format,
    Sources,
    choose_camera,
    common_cameras,
    find_sources,
    lerobot_dataset,
    robomimic_dataset,
    video_dataset,
)
from genie_core.data.episode import Episode
from genie_core.data.label_output import is_labelled
from genie_core.data.labelled import open_labelled
from genie_core.data.lerobot import LeRobotReader
from genie_core.data.lerobot_meta import INFO, read_lerobot_meta
from genie_core.data.robomimic import RobomimicFile, read_robomimic
from genie_core.data.timing import check_rate
from genie_core.data.video import VideoReader
from genie_core.errors import DatasetError


class EpisodeReport(BaseModel):
    """What is known of one episode; frames, size and rate are None where it cannot be read.

    Attributes:
        name: its name in the dataset.
        frames: number of frames.
        height: of a frame, pixels.
        width: of a frame, pixels.
        fps: frames a second, None where unknown.
        problem: why it has no labels to give, None where it has.

    """

    model_config = ConfigDict(frozen=True)

    name: str
    frames: int | None = None
    height: int | None = None
    width: int | None = None
    fps: float | None = None
    problem: str | None = None


class DatasetReport(BaseModel):
    """What a dataset holds.

    Attributes:
        path: what was inspected.
        format: how frames are stored.
        files: number of files that hold frames.
        cameras: names of the cameras that every file has.
        camera: the camera that would be labelled, None where one has to be named.
        fps: frames a second, None where unknown or not the same for all episodes.
        fps_source: where the frame rate comes from, in words, None where there is none.
        frames: number of frames of all episodes that can be read.
        labelled_by: names of the bundles whose labels the files carry already.
        can_label: whether every episode can be labelled as things are.
        obstacles: what has to be put right, or told, before that.
        warnings: what is odd but stops nothing.
        episodes: one report each.

    """

    model_config = ConfigDict(frozen=True)

    path: str
    format: Format
    files: int
    cameras: tuple[str, ...] = ()
    camera: str | None = None
    fps: float | None = None
    fps_source: str | None = None
    frames: int = 0
    labelled_by: tuple[str, ...] = ()
    can_label: bool = False
    obstacles: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    episodes: tuple[EpisodeReport, ...] = ()


def inspect_dataset(
    path: Path, *, camera: str | None = None, fps: float | None = None, thorough: bool = False
) -> DatasetReport:
    """Look into a file or folder of robot video; problems of its files are reported, not raised.

    Args:
        path: what `open_dataset` takes.
        camera: which camera would be labelled; None: the one that `open_dataset` takes.
        fps: frames a second, in place of what the files say.
        thorough: read every frame; otherwise only headers and indexes, in which damaged pictures do not show.

    Raises:
        DatasetError: there is no robot video at `path`, its formats are mixed, or `fps` is not above 0.

    """
    if fps is not None:
        check_rate("fps", fps)
    sources = find_sources(path)
    report = DatasetReport(path=str(path), format=sources.format, files=len(sources.files))
    if sources.format == "video":
        return _inspect_video(report, sources, camera, fps, thorough)
    if sources.format == "lerobot":
        return _inspect_lerobot(report, sources, camera, fps, thorough)
    return _inspect_robomimic(report, sources, camera, fps, thorough)


def _inspect_video(
    report: DatasetReport, sources: Sources, camera: str | None, fps: float | None, thorough: bool
) -> DatasetReport:
    try:
        dataset = video_dataset(sources, camera, fps)
    except DatasetError as error:
        return report.model_copy(update={"obstacles": (str(error),)})
    source = "average rate of the video" if fps is None else "given"
    return _inspect_episodes(report, dataset, source, [], [], thorough)


def _inspect_lerobot(
    report: DatasetReport, sources: Sources, camera: str | None, fps: float | None, thorough: bool
) -> DatasetReport:
    try:
        meta = read_lerobot_meta(sources.path)
        report = report.model_copy(update={"cameras": meta.cameras})
        dataset = lerobot_dataset(meta, camera, fps)
    except DatasetError as error:
        return report.model_copy(update={"obstacles": (str(error),)})
    report = report.model_copy(update={"files": len({episode.source for episode in dataset.episodes})})
    source = f"fps of {INFO}, {meta.info.codebase_version}" if fps is None else "given"
    return _inspect_episodes(report, dataset, source, [], meta.warnings, thorough)


def _inspect_robomimic(
    report: DatasetReport, sources: Sources, camera: str | None, fps: float | None, thorough: bool
) -> DatasetReport:
    files, obstacles = _read_files(sources)
    if not files:
        return report.model_copy(update={"obstacles": tuple(obstacles)})
    report = report.model_copy(update={"cameras": common_cameras(files), "labelled_by": _labelled_by(files)})
    try:
        chosen = choose_camera(sources.path, files, camera)
    except DatasetError as error:
        return report.model_copy(update={"obstacles": (*obstacles, str(error))})
    warnings = [f"{file.path}: ignored, not a demo: {', '.join(file.ignored)}" for file in files if file.ignored]
    warnings += [f"{file.path}: obs/{key}: {why}" for file in files for key, why in file.refused.items()]
    dataset = robomimic_dataset(sources, files, chosen, fps)
    source = files[0].fps_source if fps is None else "given"
    return _inspect_episodes(report, dataset, source, obstacles, warnings, thorough)


def _read_files(sources: Sources) -> tuple[list[RobomimicFile], list[str]]:
    """The files that can be read, and what is wrong with the others."""
    files, problems = [], []
    for path in sources.files:
        try:
            files.append(read_robomimic(path))
        except DatasetError as error:
            problems.append(str(error))
    return files, problems


def _labelled_by(files: Sequence[RobomimicFile]) -> tuple[str, ...]:
    names = {open_labelled(file.path).model.bundle_name for file in files if is_labelled(file.path)}
    return tuple(sorted(names))


def _inspect_episodes(
    report: DatasetReport,
    dataset: Dataset,
    fps_source: str | None,
    obstacles: Sequence[str],
    warnings: Sequence[str],
    thorough: bool,
) -> DatasetReport:
    episodes = tuple(_inspect_episode(episode, thorough) for episode in dataset.episodes)
    rates = {episode.fps for episode in episodes if episode.frames is not None}
    fps = next(iter(rates)) if len(rates) == 1 else None
    obstacles = [*obstacles, *_obstacles(episodes)]
    return report.model_copy(
        update={
            "cameras": dataset.cameras,
            "camera": dataset.camera,
            "fps": fps,
            "fps_source": fps_source if rates - {None} else None,
            "frames": sum(episode.frames or 0 for episode in episodes),
            "can_label": not obstacles,
            "obstacles": tuple(obstacles),
            "warnings": (*warnings, *_warnings(dataset, episodes)),
            "episodes": episodes,
        }
    )


def _inspect_episode(episode: Episode, thorough: bool) -> EpisodeReport:
    try:
        frames = sum(len(chunk) for chunk in episode.chunks(16)) if thorough else episode.num_frames
        return EpisodeReport(
            name=episode.name,
            frames=frames,
            height=episode.height,
            width=episode.width,
            fps=episode.fps,
            problem=None if frames > 1 else f"has {frames} frames, a transition needs 2",
        )
    except DatasetError as error:
        return EpisodeReport(name=episode.name, problem=str(error))


def _obstacles(episodes: Sequence[EpisodeReport]) -> list[str]:
    obstacles = [str(episode.problem) for episode in episodes if episode.frames is None]
    if all(episode.problem for episode in episodes):
        obstacles.append("no episode has a transition to label")
    unknown = [episode.name for episode in episodes if episode.frames is not None and episode.fps is None]
    if unknown:
        obstacles.append(
            f"the frame rate of {len(unknown)} episodes is unknown ({unknown[0]}, ...): "
            "give the data's frames a second, or the step in frames"
        )
    return obstacles


def _warnings(dataset: Dataset, episodes: Sequence[EpisodeReport]) -> list[str]:
    warnings = [
        f"{episode.name} {episode.problem}" for episode in episodes if episode.problem and episode.frames is not None
    ]
    rates = sorted({episode.fps for episode in episodes if episode.fps is not None})
    if len(rates) > 1:
        warnings.append(
            f"frame rates differ, {rates[0]:g} to {rates[-1]:g} frames a second: each episode has its own step"
        )
    for episode, report in zip(dataset.episodes, episodes, strict=True):
        reader = episode.reader
        if isinstance(reader, VideoReader | LeRobotReader) and report.frames is not None and reader.is_uneven:
            warnings.append(
                f"{episode.name}: frames are not evenly spaced in time: a step is a number of frames, not a time"
            )
    return warnings


__all__ = ["DatasetReport", "EpisodeReport", "inspect_dataset"]
