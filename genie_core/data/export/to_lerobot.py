"""Writes labelled sets as LeRobot v3.0 datasets: their video copied where every episode's can be, else encoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from genie_core.data.episode import Episode
from genie_core.data.export.lerobot import label_columns, label_values, labels_summary
from genie_core.data.export.parquet import RobotColumns
from genie_core.data.export.pictures import chunks_of, common_camera, common_size, frames_of
from genie_core.data.export.plan import ExportPlan, VideoOutcome, Written
from genie_core.data.export.provenance import LabelledSet
from genie_core.data.export.robot import STATE, held, survey_robot
from genie_core.data.export.source import ExportSource
from genie_core.data.formats.lerobot.writer import ACTION_OF, Column, write_lerobot
from genie_core.data.formats.lerobot.writer_copy import CopyDiffersError
from genie_core.data.formats.video.copying import CannotCopyError, VideoPart, video_part
from genie_core.data.formats.video.reader import VideoReader
from genie_core.data.frames.convention import Convention
from genie_core.data.frames.timing import check_rate
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError


def to_lerobot(source: ExportSource, output: Path, plan: ExportPlan, advance: Callable[[float], None]) -> Written:
    """Write the dataset; `advance` is called with the episodes done, negative if they are written again.

    Raises DatasetError if the labels lack what LeRobot needs: frames, one size, one frame rate.
    """
    if plan.frames == "none":
        raise DatasetError(
            "frames: got none, expected source, labelled or a size: LeRobot needs a camera; parquet holds labels only"
        )
    shape = _common_fps(source, plan), common_size(source, plan)
    try:
        return _write(source, output, plan, shape, _parts(source, plan), advance)
    except CannotCopyError as error:
        return _write(source, output, plan, shape, str(error), advance)


def _write(
    source: ExportSource,
    output: Path,
    plan: ExportPlan,
    shape: tuple[float, tuple[int, int]],
    parts: Mapping[str, VideoPart] | str,
    advance: Callable[[float], None],
) -> Written:
    """Write the dataset with video that is copied from `parts`, by the episode's name, or encoded for a reason.

    `shape`: frame rate, and height and width of the frames.
    Raises CannotCopyError if what was copied is not what its sources show; nothing is left of it then.
    """
    provenance, done = source.provenance, 0
    fps, size = shape
    robot_columns, state_names = survey_robot(source, may_miss=False)
    action_names = provenance.action_names if plan.actions == "decoded" else None
    if action_names is not None:
        robot_columns = replace(robot_columns, action=(np.dtype(np.float32), len(action_names)))
    copies = {} if isinstance(parts, str) else parts
    outcome = VideoOutcome(sum(part.key_frames for part in copies.values()), parts if isinstance(parts, str) else None)
    try:
        with write_lerobot(
            output,
            camera=common_camera(source),
            size=size,
            fps=fps,
            columns=_features(provenance, robot_columns, state_names, action_names),
            document=plan.document(provenance),
            summary={**labels_summary(provenance), ACTION_OF: plan.actions, "video": outcome.said()},
            robot_type=None,
            limits=plan.limits,
            copied=next(iter(copies.values()), None),
        ) as writer:
            for episode in provenance.episodes:
                labels, robot = source.labels(episode), held(source.robot(episode))
                values: dict[str, Any] = {
                    **label_values(labels, provenance),
                    "action": labels.action if plan.actions == "decoded" else robot.action,
                    STATE: None if robot.proprioception is None else robot.proprioception.state_TS,
                }
                there = {key: value for key, value in values.items() if value is not None}
                task = source.task(episode) if plan.task is None else plan.task
                frames = chunks_of(frames_of(source, episode, plan), plan)
                writer.add(there, frames, task or "", copies.get(episode.name))
                advance(1)
                done += 1
    except CopyDiffersError as error:
        advance(-done)
        raise CannotCopyError(f"its copy came out otherwise: {error}") from error
    return Written(size, robot_columns, outcome)


def _parts(source: ExportSource, plan: ExportPlan) -> dict[str, VideoPart]:
    """Return where each episode's video is, by its name. Raises CannotCopyError if one cannot be copied."""
    if plan.video == "encode":
        raise CannotCopyError("as asked for")
    if plan.frames != "source":
        raise CannotCopyError("its frames are of another size than the source's")
    parts: dict[str, VideoPart] = {}
    videos: dict[SourcePath, VideoReader] = {}
    for episode in source.provenance.episodes:
        try:
            part = parts[episode.name] = _part(frames_of(source, episode, plan), videos)
        except CannotCopyError as error:
            raise CannotCopyError(f"{episode.name}: {error}") from error
        first = next(iter(parts.values()))
        if replace(part.kind, parameters=b"") != replace(first.kind, parameters=b""):
            raise CannotCopyError(f"{episode.name}: its codec, pixel format or size is another than the first one's")
    return parts


def _part(episode: Episode, videos: dict[SourcePath, VideoReader]) -> VideoPart:
    """Return where an episode's video is. `videos`: those of earlier episodes, each of whose packets are read once."""
    if episode.convention != Convention():
        raise CannotCopyError("its pictures are turned, or their colours exchanged, when read")
    film = episode.film
    if film is None:
        raise CannotCopyError("its source is not a video, or its pictures are turned when read")
    video = videos.setdefault(film.path, VideoReader(film.path))
    return video_part(video, film.first, film.first + film.count)


def _features(
    provenance: LabelledSet,
    robot: RobotColumns,
    state_names: tuple[str, ...],
    action_names: tuple[str, ...] | None,
) -> dict[str, Column]:
    features = {}
    if robot.state:
        features[STATE] = Column("float32", robot.state[1], state_names)
    if robot.action:
        numbered = tuple(f"action_{i}" for i in range(robot.action[1]))
        features["action"] = Column("float32", robot.action[1], action_names or numbered)
    return {**features, **label_columns(provenance)}


def _common_fps(source: ExportSource, plan: ExportPlan) -> float:
    if plan.fps is not None:
        check_rate("fps", plan.fps)
        return plan.fps
    rates = {episode.attrs.fps: episode.name for episode in reversed(source.provenance.episodes)}
    if None in rates:
        raise DatasetError(
            f"{source.path}: {rates[None]}: got no frame rate, expected one for LeRobot (--fps gives it)"
        )
    if len(rates) > 1:
        said = ", ".join(f"{name} {rate:g}" for rate, name in rates.items())
        raise DatasetError(f"{source.path}: got several frame rates, expected one for all episodes: {said}")
    return float(next(rate for rate in rates if rate is not None))


__all__ = ["to_lerobot"]
