"""Writes labelled sets as LeRobot v3.0 datasets: a camera's video copied where every episode's can be, else encoded.

Of labels of several cameras, fused, the video of every camera is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from genie_core.data.episode import Episode
from genie_core.data.export.lerobot import label_columns, label_values, labels_summary
from genie_core.data.export.parquet import RobotColumns
from genie_core.data.export.pictures import camera_features, chunks_of, common_size, frames_of
from genie_core.data.export.plan import ExportPlan, VideoOutcome, Written, videos_said
from genie_core.data.export.provenance import LabelledSet
from genie_core.data.export.robot import STATE, held, survey_robot
from genie_core.data.export.source import ExportSource
from genie_core.data.formats.lerobot.writer import ACTION_OF, Camera, Column, Pictures, write_lerobot
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
    fps, features = _common_fps(source, plan), camera_features(source, plan)
    films = {
        camera: _Film(feature, common_size(source, plan, camera), _parts(source, plan, camera))
        for camera, feature in features.items()
    }
    try:
        return _write(source, output, plan, fps, films, advance)
    except CannotCopyError as error:
        encoded = {camera: replace(film, parts=str(error)) for camera, film in films.items()}
        return _write(source, output, plan, fps, encoded, advance)


@dataclass(frozen=True)
class _Film:
    """How one camera's pictures are written.

    Attributes:
        feature: their name in LeRobot.
        size: height and width.
        parts: where each episode's video is, by its name, to be copied; or why they are encoded, in words.

    """

    feature: str
    size: tuple[int, int]
    parts: Mapping[str, VideoPart] | str

    @property
    def copies(self) -> Mapping[str, VideoPart]:
        """The parts that are copied; none if frames are encoded."""
        return {} if isinstance(self.parts, str) else self.parts

    @property
    def outcome(self) -> VideoOutcome:
        """What there is to say of it."""
        key_frames = sum(part.key_frames for part in self.copies.values())
        return VideoOutcome(key_frames, self.parts if isinstance(self.parts, str) else None)


def _write(
    source: ExportSource,
    output: Path,
    plan: ExportPlan,
    fps: float,
    films: Mapping[str, _Film],
    advance: Callable[[float], None],
) -> Written:
    """Write the dataset with the pictures of `films`, by the camera's name in the labels, at `fps`.

    Raises CannotCopyError if what was copied is not what its sources show; nothing is left of it then.
    """
    provenance, done = source.provenance, 0
    robot_columns, state_names = survey_robot(source, may_miss=False)
    action_names = provenance.action_names if plan.actions == "decoded" else None
    if action_names is not None:
        robot_columns = replace(robot_columns, action=(np.dtype(np.float32), len(action_names)))
    outcomes = {film.feature: film.outcome for film in films.values()}
    try:
        with write_lerobot(
            output,
            cameras={
                film.feature: Camera(film.size, next(iter(film.copies.values()), None)) for film in films.values()
            },
            fps=fps,
            columns=_features(provenance, robot_columns, state_names, action_names),
            document=plan.document(provenance),
            summary={**labels_summary(provenance), ACTION_OF: plan.actions, "video": videos_said(outcomes)},
            robot_type=None,
            limits=plan.limits,
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
                pictures = {
                    film.feature: Pictures(
                        chunks_of(frames_of(source, episode, plan, camera), plan), film.copies.get(episode.name)
                    )
                    for camera, film in films.items()
                }
                writer.add(there, pictures, task or "")
                advance(1)
                done += 1
    except CopyDiffersError as error:
        advance(-done)
        raise CannotCopyError(f"its copy came out otherwise: {error}") from error
    sizes = {film.size for film in films.values()}
    return Written(sizes.pop() if len(sizes) == 1 else None, robot_columns, outcomes)


def _parts(source: ExportSource, plan: ExportPlan, camera: str) -> dict[str, VideoPart] | str:
    """Return where each episode's video of a camera is, by its name; or why one cannot be copied, in words."""
    if plan.video == "encode":
        return "as asked for"
    if plan.frames != "source":
        return "its frames are of another size than the source's"
    parts: dict[str, VideoPart] = {}
    videos: dict[SourcePath, VideoReader] = {}
    for episode in source.provenance.episodes:
        try:
            part = parts[episode.name] = _part(frames_of(source, episode, plan, camera), videos)
        except CannotCopyError as error:
            return f"{episode.name}: {error}"
        first = next(iter(parts.values()))
        if replace(part.kind, parameters=b"") != replace(first.kind, parameters=b""):
            return f"{episode.name}: its codec, pixel format or size is another than the first one's"
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
