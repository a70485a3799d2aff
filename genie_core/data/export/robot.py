"""The robot's actions and proprioception in exports: widths over all episodes, and what stands for a missing one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.data.export.parquet import RobotColumns
from genie_core.data.export.provenance import LabelledEpisode
from genie_core.data.export.source import ExportSource
from genie_core.data.export.stores import Robot
from genie_core.errors import DatasetError

STATE = "observation.state"
"""Feature, column or array of proprioception."""


def survey_robot(source: ExportSource, *, may_miss: bool) -> tuple[RobotColumns, tuple[str, ...]]:
    """Return the type and width of the robot's columns over all episodes, and the names of its state's components.

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
            partial.add({"action": "action", "state": STATE}[key])
    return RobotColumns(columns["action"], columns["state"], frozenset(partial)), names


def held(robot: Robot) -> Robot:
    """Repeat the previous action for a last frame without one: policies are trained on an action for each frame."""
    action = robot.action
    if action is None or not _ends_without(action):
        return robot
    return replace(robot, action=np.concatenate([action[:-1], action[-2:-1]]))


def _ends_without(action_TA: NDArray[Any]) -> bool:
    return len(action_TA) > 1 and action_TA.dtype.kind == "f" and bool(np.isnan(action_TA[-1]).all())


def lacks_last(source: ExportSource, episode: LabelledEpisode) -> bool:
    """Return whether the last frame of an episode has no action, though others do."""
    action = source.robot(episode).action
    return action is not None and _ends_without(action)


def demo_arrays(robot: Robot, has_state: bool) -> dict[str, Any]:
    """Return actions under robomimic's name, and proprioception unless the demo has its own."""
    state = None if has_state or robot.proprioception is None else robot.proprioception.state_TS
    arrays = {"actions": robot.action, f"obs/{STATE}": state}
    return {key: values for key, values in arrays.items() if values is not None}


__all__ = ["STATE", "demo_arrays", "held", "lacks_last", "survey_robot"]
