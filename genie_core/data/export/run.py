"""Converts labelled sets to LeRobot v3.0, RLDS, plain Parquet or self-contained robomimic HDF5, and back.

`export.source` reads and each format's module writes; this module decides what goes where and what is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from genie_core.data.episode import Episode
from genie_core.data.export.lerobot import label_columns, label_values, labels_summary
from genie_core.data.export.made import holds_export
from genie_core.data.export.parquet import RobotColumns, write_parquet_labels
from genie_core.data.export.plan import ExportActions, ExportFormat, ExportFrames, ExportPlan, ExportReport
from genie_core.data.export.provenance import LabelledEpisode, LabelledSet
from genie_core.data.export.rlds import METADATA, SHARD_BYTES, camera_feature, jpegs, step_columns, step_values
from genie_core.data.export.robomimic import write_robomimic
from genie_core.data.export.source import ExportSource, Hdf5Labels, Robot, open_export_source
from genie_core.data.formats.lerobot.writer import ACTION_OF, Column, camera_key, write_lerobot
from genie_core.data.formats.rlds.writer import write_rlds
from genie_core.data.frames.convention import Convention
from genie_core.data.frames.resize import Frames, resize_frames
from genie_core.data.frames.timing import check_rate
from genie_core.errors import DatasetError

_CHUNK_FRAMES = 32
_STATE = "observation.state"


def export_labels(
    labelled: Path, output: Path, plan: ExportPlan, advance: Callable[[float], None] = lambda episodes: None
) -> ExportReport:
    """Write the labelled set at `labelled` to `output` in another format, whole or not at all.

    An output that is there, whole, and of the same labels and plan stays as it is: a run that was killed in its last
    instant has made it.

    Args:
        labelled: a labelled HDF5 file, or an earlier export.
        output: file or folder to write; must not exist, unless it is this export.
        plan: what to write, and how.
        advance: called with 1 after each episode.

    Raises:
        DatasetError: there are no labels at `labelled`; `output` exists or cannot be written; or the labels lack what
            the format needs: frames, one size, one frame rate, decoded actions.

    """
    if plan.to not in get_args(ExportFormat):
        raise DatasetError(f"format: got {plan.to}, expected one of {', '.join(get_args(ExportFormat))}")
    if not output.parent.is_dir():
        raise DatasetError(f"{output}: cannot be written: {output.parent} is not a folder")
    is_there = output.exists()
    try:
        source = open_export_source(labelled)
    except DatasetError:
        if is_there:
            raise _exists(output) from None
        raise
    if is_there:
        return _made(source, output, plan)
    if not source.provenance.episodes:
        raise DatasetError(f"{labelled}: no episode carries labels")
    _check_actions(source, plan)
    export = {"lerobot": _to_lerobot, "parquet": _to_parquet, "rlds": _to_rlds, "robomimic": _to_robomimic}[plan.to]
    size, robot = export(source, output, plan, advance)
    episodes = source.provenance.episodes
    return ExportReport(
        path=output,
        to=plan.to,
        episodes=len(episodes),
        frames=sum(episode.num_frames for episode in episodes),
        size=size,
        action_dim=robot.action[1] if robot.action else None,
        state_dim=robot.state[1] if robot.state else None,
        held_actions=0 if plan.to == "parquet" else sum(_lacks_last(source, episode) for episode in episodes),
        missing=source.missing,
    )


def _made(source: ExportSource, output: Path, plan: ExportPlan) -> ExportReport:
    """Return what is said of an export that is there. Raises DatasetError if it is another, or not whole."""
    if not holds_export(output, source.provenance, plan):
        raise _exists(output)
    episodes = source.provenance.episodes
    frames = sum(episode.num_frames for episode in episodes)
    return ExportReport(output, plan.to, len(episodes), frames, None, None, None, was_complete=True)


def _exists(output: Path) -> DatasetError:
    return DatasetError(f"{output}: exists already; choose another name, or remove it")


_Outcome = tuple[tuple[int, int] | None, RobotColumns]


def _to_parquet(source: ExportSource, output: Path, plan: ExportPlan, advance: Callable[[float], None]) -> _Outcome:
    columns, _ = _survey_robot(source, may_miss=True)
    with write_parquet_labels(output, source.provenance, plan.document(source.provenance), columns) as writer:
        for episode in source.provenance.episodes:
            robot = source.robot(episode)
            state = None if robot.proprioception is None else robot.proprioception.state_TS
            writer.add(episode, source.labels(episode), robot.action, state)
            advance(1)
    return None, columns


def _to_robomimic(source: ExportSource, output: Path, plan: ExportPlan, advance: Callable[[float], None]) -> _Outcome:
    columns, _ = _survey_robot(source, may_miss=True)
    provenance, original, sizes = source.provenance, _original(source, plan), set()
    if plan.frames != "none":
        sizes = {_size(_frames(source, episode, plan), plan) for episode in provenance.episodes}
    has_state = original is not None and source.store.has_original_frames
    with write_robomimic(output, provenance, original) as writer:
        for episode in provenance.episodes:
            frames = None if plan.frames == "none" else _frames(source, episode, plan)
            are_copied = frames is None or (frames.source == original and not isinstance(plan.frames, tuple))
            arrays = _demo_arrays(_held(source.robot(episode)), has_state)
            writer.add(episode, source.labels(episode), arrays, with_frames=are_copied)
            if frames is not None and not are_copied:
                writer.add_frames(episode, _chunks(frames, plan))
            advance(1)
        writer.finish("none" if plan.frames == "none" else "copy", plan.request(provenance))
    return (sizes.pop() if len(sizes) == 1 else None), columns


def _to_rlds(source: ExportSource, output: Path, plan: ExportPlan, advance: Callable[[float], None]) -> _Outcome:
    if plan.frames == "none":
        raise DatasetError("frames: got none, expected frames: a step of RLDS has a picture (labels only: parquet)")
    provenance = source.provenance
    size, camera = _common_size(source, plan), camera_feature(_common_camera(source))
    robot_columns, _ = _survey_robot(source, may_miss=False)
    action, state = (None if each is None else each[1] for each in (robot_columns.action, robot_columns.state))
    columns = step_columns(provenance, action, state)
    with write_rlds(output, camera, columns, SHARD_BYTES) as writer:
        for episode in provenance.episodes:
            robot = _held(source.robot(episode))
            state_TS = None if robot.proprioception is None else robot.proprioception.state_TS
            values = step_values(source.labels(episode), robot.action, state_TS, columns)
            task = source.task(episode) if plan.task is None else plan.task
            said = dict(zip(METADATA, (episode.attrs.source_name, str(episode.attrs.source)), strict=True))
            writer.add(values, jpegs(_chunks(_frames(source, episode, plan), plan)), task or "", said)
            advance(1)
        description = f"Latent actions of {provenance.model.bundle_name}, {provenance.model.bundle_id}"
        writer.finish(description, METADATA, plan.document(provenance))
    return size, robot_columns


def _to_lerobot(source: ExportSource, output: Path, plan: ExportPlan, advance: Callable[[float], None]) -> _Outcome:
    if plan.frames == "none":
        raise DatasetError(
            "frames: got none, expected source, labelled or a size: LeRobot needs a camera; parquet holds labels only"
        )
    provenance = source.provenance
    fps, size, camera = _common_fps(source, plan), _common_size(source, plan), _common_camera(source)
    robot_columns, state_names = _survey_robot(source, may_miss=False)
    action_names = provenance.action_names if plan.actions == "decoded" else None
    if action_names is not None:
        robot_columns = replace(robot_columns, action=(np.dtype(np.float32), len(action_names)))
    with write_lerobot(
        output,
        camera=camera,
        size=size,
        fps=fps,
        columns=_features(provenance, robot_columns, state_names, action_names),
        document=plan.document(provenance),
        summary={**labels_summary(provenance), ACTION_OF: plan.actions},
        robot_type=None,
        limits=plan.limits,
    ) as writer:
        for episode in provenance.episodes:
            labels, robot = source.labels(episode), _held(source.robot(episode))
            values: dict[str, Any] = {
                **label_values(labels, leaves_out=provenance.leaves_out),
                "action": labels.action if plan.actions == "decoded" else robot.action,
                _STATE: None if robot.proprioception is None else robot.proprioception.state_TS,
            }
            there = {key: value for key, value in values.items() if value is not None}
            task = source.task(episode) if plan.task is None else plan.task
            writer.add(there, _chunks(_frames(source, episode, plan), plan), task or "")
            advance(1)
    return size, robot_columns


def _check_actions(source: ExportSource, plan: ExportPlan) -> None:
    """Raise DatasetError if decoded actions are wanted and there are none, or the format keeps them elsewhere."""
    if plan.actions not in get_args(ExportActions):
        raise DatasetError(f"actions: got {plan.actions}, expected one of {', '.join(get_args(ExportActions))}")
    if plan.actions == "robot":
        return
    if plan.to != "lerobot":
        place = {
            "parquet": "column `decoded_action`",
            "rlds": "`latent_action/action`",
            "robomimic": "`latent_actions/action`",
        }[plan.to]
        raise DatasetError(
            f"actions: got decoded, expected robot: only lerobot takes decoded, {plan.to} always holds them as {place}"
        )
    if source.provenance.action_names is None:
        raise DatasetError(
            f"{source.path}: actions: got no decoded ones, expected labels made with `genie label --alignment NAME`"
        )


def _features(
    provenance: LabelledSet,
    robot: RobotColumns,
    state_names: tuple[str, ...],
    action_names: tuple[str, ...] | None,
) -> dict[str, Column]:
    features = {}
    if robot.state:
        features[_STATE] = Column("float32", robot.state[1], state_names)
    if robot.action:
        numbered = tuple(f"action_{i}" for i in range(robot.action[1]))
        features["action"] = Column("float32", robot.action[1], action_names or numbered)
    return {**features, **label_columns(provenance)}


def _survey_robot(source: ExportSource, *, may_miss: bool) -> tuple[RobotColumns, tuple[str, ...]]:
    """Type and width of the robot's columns over all episodes, and the names of its state's components.

    Raises:
        DatasetError: widths differ between episodes or, unless `may_miss`, only some episodes have the column.

    """
    found: dict[str, dict[int | None, tuple[str, Any]]] = {"action": {}, "state": {}}
    names: tuple[str, ...] = ()
    for episode in source.provenance.episodes:
        robot = source.robot(episode)
        state = None if robot.proprioception is None else robot.proprioception.state_TS
        names = names or (() if robot.proprioception is None else robot.proprioception.names)
        for key, values in (("action", robot.action), ("state", state)):
            width = None if values is None else values.shape[1]
            before = found[key].get(width, (episode.name, values.dtype if values is not None else None))
            dtype = before[1] if values is None else np.result_type(before[1], values.dtype)
            found[key][width] = (before[0], dtype)
    columns: dict[str, Any] = {}
    partial: set[str] = set()
    for key, widths in found.items():
        known = {width: first for width, first in widths.items() if width is not None}
        if len(known) > 1 or (known and None in widths and not may_miss):
            said = ", ".join(f"{first} {'none' if width is None else width}" for width, (first, _) in widths.items())
            raise DatasetError(f"{source.path}: the robot's {key}: got several widths, expected one: {said}")
        columns[key] = next(((dtype, width) for width, (_, dtype) in known.items()), None)
        if known and None in widths:
            partial.add({"action": "action", "state": _STATE}[key])
    return RobotColumns(columns["action"], columns["state"], frozenset(partial)), names


def _held(robot: Robot) -> Robot:
    """Give the last frame the action before it where it has none: policies are trained on a number for each frame."""
    action = robot.action
    if action is None or not _ends_without(action):
        return robot
    return replace(robot, action=np.concatenate([action[:-1], action[-2:-1]]))


def _ends_without(action_TA: NDArray[Any]) -> bool:
    return len(action_TA) > 1 and action_TA.dtype.kind == "f" and bool(np.isnan(action_TA[-1]).all())


def _lacks_last(source: ExportSource, episode: LabelledEpisode) -> bool:
    action = source.robot(episode).action
    return action is not None and _ends_without(action)


def _demo_arrays(robot: Robot, has_state: bool) -> dict[str, Any]:
    """Actions under robomimic's name, and proprioception unless the demo has its own."""
    state = None if has_state or robot.proprioception is None else robot.proprioception.state_TS
    arrays = {"actions": robot.action, f"obs/{_STATE}": state}
    return {key: values for key, values in arrays.items() if values is not None}


def _frames(source: ExportSource, episode: LabelledEpisode, plan: ExportPlan) -> Episode:
    if plan.frames == "labelled":
        return source.stored_frames(episode)
    try:
        return source.source_frames(episode)
    except DatasetError as error:
        error.add_note("--size labelled exports the frames stored beside the labels, if there are any")
        raise


def _chunks(frames: Episode, plan: ExportPlan) -> Iterator[Frames]:
    for frames_THWC in frames.chunks(_CHUNK_FRAMES):
        yield resize_frames(frames_THWC, *plan.frames) if isinstance(plan.frames, tuple) else frames_THWC


def _size(frames: Episode, plan: ExportPlan) -> tuple[int, int]:
    return plan.frames if isinstance(plan.frames, tuple) else (frames.height, frames.width)


def _common_size(source: ExportSource, plan: ExportPlan) -> tuple[int, int]:
    sizes: dict[tuple[int, int], str] = {}
    for episode in source.provenance.episodes:
        if episode.num_frames < 1:
            raise DatasetError(f"{source.path}: {episode.name}: got 0 frames, expected at least 1")
        sizes.setdefault(_size(_frames(source, episode, plan), plan), episode.name)
    if len(sizes) > 1:
        said = ", ".join(f"{name} {height}x{width}" for (height, width), name in sizes.items())
        raise DatasetError(f"{source.path}: got frames of several sizes, expected one (--size HxW resizes): {said}")
    return next(iter(sizes))


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


def _common_camera(source: ExportSource) -> str:
    cameras = {camera_key(episode.attrs.camera) for episode in source.provenance.episodes}
    if len(cameras) > 1:
        raise DatasetError(f"{source.path}: got labels of several cameras, expected one: {', '.join(sorted(cameras))}")
    return cameras.pop()


def _original(source: ExportSource, plan: ExportPlan) -> Path | None:
    """The labelled HDF5 file, if the rest of its demos and its attributes stay true of the export; else None."""
    if plan.frames == "none" or not isinstance(source.store, Hdf5Labels) or not source.store.is_robomimic:
        return None
    copied = source.store.has_original_frames and not isinstance(plan.frames, tuple)
    plain = all(episode.attrs.convention == Convention() for episode in source.provenance.episodes)
    return source.path if copied or plain else None


__all__ = [
    "ExportActions",
    "ExportFormat",
    "ExportFrames",
    "ExportPlan",
    "ExportReport",
    "export_labels",
]
