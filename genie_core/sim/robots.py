"""The robots and where they differ: arms, the box that each hand moves in, and what cameras look at. No simulator.

Robots with one arm and a gripper all move in the same box, above the middle of the table.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from genie_core.sim.geometry import Vector

Robot = Literal["Panda", "UR5e", "Kinova3", "IIWA", "Jaco", "Sawyer", "PandaDexRH", "Baxter", "GR1ArmsOnly"]
"""robosuite's names. PandaDexRH has a hand of five fingers, Baxter two arms, GR1ArmsOnly two arms with such hands."""

Side = Literal["right", "left"]
"""robosuite's names of arms; that of a robot with one arm is the right one."""

Box = tuple[Vector, Vector]
"""Lowest and highest corner, metres in the world's frame; the table top is at z = 0.8."""

WORKSPACE: Box = (np.array([-0.15, -0.20, 0.830]), np.array([0.16, 0.20, 1.060]))
"""Box that a hand stays in unless its robot says otherwise."""
ABOVE_TABLE_M = (-0.03, 0.0, 0.90)
"""What cameras look at unless the robot says otherwise, metres; their distance is from there."""


@dataclass(frozen=True)
class Body:
    """A robot's arms, by side, the first one first in actions and observations, and what cameras look at (3,).

    `picks`: whether it can pick and place a cube: it has one arm, with a gripper of two fingers.
    """

    workspaces: dict[Side, Box]
    looked_at: tuple[float, float, float] = ABOVE_TABLE_M
    picks: bool = False


def _mirrored(right: Box) -> dict[Side, Box]:
    """Return the boxes of both hands, each on its own side of the robot, so that arms do not meet."""
    low, high = right
    return {"right": right, "left": (np.array([low[0], -high[1], low[2]]), np.array([high[0], -low[1], high[2]]))}


_USUAL = Body({"right": WORKSPACE}, picks=True)
_OTHERS: dict[Robot, Body] = {
    "PandaDexRH": Body({"right": (np.array([-0.15, -0.20, 0.910]), np.array([0.12, 0.20, 1.100]))}),
    "Baxter": Body(
        _mirrored((np.array([-0.16, -0.32, 0.910]), np.array([0.06, -0.12, 1.100]))), looked_at=(-0.08, 0.0, 0.97)
    ),
    # Its arms are short: it reaches to the edge of the table, and no lower than its elbows.
    "GR1ArmsOnly": Body(
        _mirrored((np.array([-0.37, -0.36, 1.000]), np.array([-0.24, -0.16, 1.160]))), looked_at=(-0.30, 0.0, 1.07)
    ),
}


def body_of(robot: Robot) -> Body:
    """Return how a robot is built."""
    return _OTHERS.get(robot, _USUAL)


__all__ = ["ABOVE_TABLE_M", "WORKSPACE", "Body", "Box", "Robot", "Side", "body_of"]
