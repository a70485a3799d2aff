"""Converts labelled sets to LeRobot v3.0, RLDS, plain Parquet or self-contained robomimic HDF5, and back.

`export.source` reads and each format's module writes; this module decides what goes where and what is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

from genie_core.data.export.made import holds_export
from genie_core.data.export.parquet import write_parquet_labels
from genie_core.data.export.pictures import chunks_of, common_camera, common_size, frames_of, size_of
from genie_core.data.export.plan import (
    ExportActions,
    ExportFormat,
    ExportFrames,
    ExportPlan,
    ExportReport,
    ExportVideo,
    Written,
)
from genie_core.data.export.rlds import METADATA, SHARD_BYTES, camera_feature, jpegs, step_columns, step_values
from genie_core.data.export.robomimic import write_robomimic
from genie_core.data.export.robot import demo_arrays, held, lacks_last, survey_robot
from genie_core.data.export.source import ExportSource, open_export_source
from genie_core.data.export.stores import Hdf5Labels
from genie_core.data.export.to_lerobot import to_lerobot
from genie_core.data.formats.rlds.writer import write_rlds
from genie_core.data.frames.convention import Convention
from genie_core.errors import DatasetError


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
    export = {"lerobot": to_lerobot, "parquet": _to_parquet, "rlds": _to_rlds, "robomimic": _to_robomimic}[plan.to]
    written = export(source, output, plan, advance)
    robot = written.robot
    episodes = source.provenance.episodes
    return ExportReport(
        path=output,
        to=plan.to,
        episodes=len(episodes),
        frames=sum(episode.num_frames for episode in episodes),
        size=written.size,
        action_dim=robot.action[1] if robot.action else None,
        state_dim=robot.state[1] if robot.state else None,
        held_actions=0 if plan.to == "parquet" else sum(lacks_last(source, episode) for episode in episodes),
        videos=written.videos,
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


def _to_parquet(source: ExportSource, output: Path, plan: ExportPlan, advance: Callable[[float], None]) -> Written:
    columns, _ = survey_robot(source, may_miss=True)
    with write_parquet_labels(output, source.provenance, plan.document(source.provenance), columns) as writer:
        for episode in source.provenance.episodes:
            robot = source.robot(episode)
            state = None if robot.proprioception is None else robot.proprioception.state_TS
            writer.add(episode, source.labels(episode), robot.action, state)
            advance(1)
    return Written(None, columns)


def _to_robomimic(source: ExportSource, output: Path, plan: ExportPlan, advance: Callable[[float], None]) -> Written:
    columns, _ = survey_robot(source, may_miss=True)
    provenance, original, sizes = source.provenance, _original(source, plan), set()
    if plan.frames != "none":
        sizes = {size_of(frames_of(source, episode, plan), plan) for episode in provenance.episodes}
    has_state = original is not None and source.store.has_original_frames
    with write_robomimic(output, provenance, original) as writer:
        for episode in provenance.episodes:
            frames = None if plan.frames == "none" else frames_of(source, episode, plan)
            are_copied = frames is None or (frames.source == original and not isinstance(plan.frames, tuple))
            arrays = demo_arrays(held(source.robot(episode)), has_state)
            writer.add(episode, source.labels(episode), arrays, with_frames=are_copied)
            if frames is not None and not are_copied:
                writer.add_frames(episode, chunks_of(frames, plan))
            advance(1)
        writer.finish("none" if plan.frames == "none" else "copy", plan.request(provenance))
    return Written(sizes.pop() if len(sizes) == 1 else None, columns)


def _to_rlds(source: ExportSource, output: Path, plan: ExportPlan, advance: Callable[[float], None]) -> Written:
    if plan.frames == "none":
        raise DatasetError("frames: got none, expected frames: a step of RLDS has a picture (labels only: parquet)")
    provenance = source.provenance
    size, camera = common_size(source, plan), camera_feature(common_camera(source))
    robot_columns, _ = survey_robot(source, may_miss=False)
    action, state = (None if each is None else each[1] for each in (robot_columns.action, robot_columns.state))
    columns = step_columns(provenance, action, state)
    with write_rlds(output, camera, columns, SHARD_BYTES) as writer:
        for episode in provenance.episodes:
            robot = held(source.robot(episode))
            state_TS = None if robot.proprioception is None else robot.proprioception.state_TS
            values = step_values(source.labels(episode), robot.action, state_TS, columns)
            task = source.task(episode) if plan.task is None else plan.task
            said = dict(zip(METADATA, (episode.attrs.source_name, str(episode.attrs.source)), strict=True))
            writer.add(values, jpegs(chunks_of(frames_of(source, episode, plan), plan)), task or "", said)
            advance(1)
        description = f"Latent actions of {provenance.model.bundle_name}, {provenance.model.bundle_id}"
        writer.finish(description, METADATA, plan.document(provenance))
    return Written(size, robot_columns)


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


def _original(source: ExportSource, plan: ExportPlan) -> Path | None:
    """Return the labelled HDF5 file, if the rest of its demos and its attributes stay true of the export; else None."""
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
    "ExportVideo",
    "export_labels",
]
