"""Policies that move the robot: from the sensed pose of the hand to the next action. Contains no simulator.

An action is (7,) in [-1, 1]: translation in units of `STEP_M` and rotation vector in units of `STEP_RAD`, both in the
world frame, then the gripper, +1 closing and -1 opening. The gripper always points down; only its yaw changes.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from genie_core.sim.config import Mode
from genie_core.sim.geometry import Matrix, Vector, rotation_vector, rotation_z, yaw_between
from genie_core.sim.looks import CUBE_AREA
from genie_core.sim.robots import WORKSPACE, Box

STEP_M = 0.07
STEP_RAD = 0.5
TABLE_M = 0.8
OPEN, CLOSED = -1.0, 1.0
YAW_LIMIT_RAD = 0.8
"""Largest yaw; beyond it the Panda's wrist meets its joint limits."""
FOLLOWED = 0.75
"""Fraction of a commanded step that the first steps of a held motion really cover; predicts where it ends."""

PRIMITIVES = (
    "stay", "+x", "-x", "+y", "-y", "+z", "-z", "+yaw", "-yaw", "open", "close", "compound", "smooth", "script",
)  # fmt: skip
"""Names of the values of the dataset's `primitive`: the motion that each action belongs to."""

MODE_ODDS: dict[Mode, float] = {"play": 0.6, "script": 0.3, "smooth": 0.1}
"""The usual mixture, drawn from if no motions are asked for."""
NO_SCRIPT_ODDS: dict[Mode, float] = {"play": 0.9, "smooth": 0.1}
"""That of robots that cannot pick and place."""
Kind = Literal["axis", "compound", "mixed", "yaw", "grip", "stay"]
PLAY_ODDS: dict[Kind, float] = {"axis": 0.66, "compound": 0.10, "yaw": 0.09, "grip": 0.10, "stay": 0.05}
"""Primitives of `Play`: mostly one axis at a time."""
AXES_ODDS: dict[Kind, float] = {"axis": 0.76, "yaw": 0.09, "grip": 0.10, "stay": 0.05}
"""Primitives of one axis at a time, always."""
MIXED_ODDS: dict[Kind, float] = {"mixed": 0.95, "stay": 0.05}
"""Primitives of all axes, the wrist and now and then the gripper at once."""


@dataclass(frozen=True)
class Hand:
    """Observation of a policy: the hand's position (3,), rotation (3, 3) and rotation at rest, and the first cube.

    The hand stays in `workspace`.
    """

    position: Vector
    rotation: Matrix
    home: Matrix
    cube: Vector
    cube_yaw: float
    workspace: Box = WORKSPACE

    @property
    def yaw(self) -> float:
        """Turn of the hand about the vertical since rest, in radians."""
        return yaw_between(self.rotation, self.home)


class Policy(Protocol):
    """A policy that moves the hand."""

    def act(self, hand: Hand) -> tuple[Vector, int]:
        """Return the next action (7,) and the index of its primitive."""
        ...


def reach(hand: Hand, goal: Vector, speed: float) -> Vector:
    """Return the translation command (3,) to `goal`, no component above `speed`; a little eager, as the hand lags."""
    wanted = 1.3 * (goal - hand.position) / STEP_M
    scale = min(1.0, speed / (float(np.abs(wanted).max()) + 1e-9))
    command: Vector = wanted * scale
    return command


def turn(hand: Hand, yaw: float, fastest: float = 0.6) -> Vector:
    """Return the rotation command (3,) towards pointing down at yaw `yaw`, which also corrects any tilt."""
    error = rotation_z(yaw) @ hand.home @ hand.rotation.T
    command: Vector = np.clip(rotation_vector(error) / STEP_RAD, -fastest, fastest)
    return command


def keep_inside(hand: Hand, velocity: Vector, slack_m: float) -> Vector:
    """Shorten `velocity` (3,) so that the next position stays in the workspace, within `slack_m`."""
    low, high = hand.workspace
    cell = 0.85 * STEP_M
    to_low = (low - slack_m * np.array([1.0, 1.0, 0.5]) - hand.position) / cell  # half the slack towards the table
    to_high = (high + slack_m - hand.position) / cell
    kept: Vector = np.clip(velocity, np.minimum(0.0, to_low), np.maximum(0.0, to_high))
    return kept


def _action(velocity: Vector, rotation: Vector, grip: float) -> Vector:
    action: Vector = np.clip(np.concatenate([velocity, rotation, [grip]]), -1.0, 1.0)
    return action


@dataclass(frozen=True)
class Segment:
    """One motion held for `steps` actions: translation (3,), yaw in radians per step, gripper command."""

    primitive: int
    velocity: Vector
    yaw_rad: float
    grip: float
    steps: int


class Play:
    """Primitives held for a few steps each, as when trying out the axes of a crane: the clearest actions to learn."""

    def __init__(
        self,
        rng: np.random.Generator,
        yaw: float,
        grip: float,
        odds: Mapping[Kind, float] = PLAY_ODDS,
        pace: float = 1.0,
    ) -> None:
        self._rng = rng
        self._odds, self._pace = odds, pace
        self._yaw = yaw
        self._segment = Segment(0, np.zeros(3), 0.0, grip, 0)
        self._left = 0

    def act(self, hand: Hand) -> tuple[Vector, int]:
        """Return the held primitive with a little noise, or a new one."""
        if self._left == 0:
            self._segment = self._next(hand)
            self._left = self._segment.steps
        self._left -= 1
        held = self._segment
        self._yaw = float(np.clip(self._yaw + held.yaw_rad, -YAW_LIMIT_RAD - 0.05, YAW_LIMIT_RAD + 0.05))
        # Little noise while only the gripper or the wrist moves, or it would be the larger motion in the picture.
        noise = (0.05 if held.velocity.any() else 0.015) * self._pace
        velocity = keep_inside(hand, held.velocity + self._rng.normal(0.0, noise, 3), slack_m=0.02)
        rotation = turn(hand, self._yaw, fastest=0.8) + self._rng.normal(0.0, 0.01 * self._pace, 3)
        return _action(velocity, rotation, held.grip), held.primitive

    def _next(self, hand: Hand) -> Segment:
        """Draw a primitive that ends inside the workspace, cut down to two steps if necessary."""
        for _ in range(50):
            drawn = self._draw()
            for steps in (drawn.steps, min(drawn.steps, 2)):
                end = hand.position + drawn.velocity * FOLLOWED * STEP_M * steps
                inside = np.all(end >= hand.workspace[0]) and np.all(end <= hand.workspace[1])
                if inside and abs(self._yaw + drawn.yaw_rad * steps) <= YAW_LIMIT_RAD:
                    return Segment(drawn.primitive, drawn.velocity, drawn.yaw_rad, drawn.grip, steps)
        return Segment(0, np.zeros(3), 0.0, self._segment.grip, 1)

    def _draw(self) -> Segment:
        rng, grip = self._rng, self._segment.grip
        kind = rng.choice(list(self._odds), p=list(self._odds.values()))
        steps, speed, sign = int(rng.integers(2, 7)), float(rng.uniform(0.65, 1.0)), float(rng.choice([-1.0, 1.0]))
        speed *= self._pace
        still = np.zeros(3)
        if kind == "axis":
            axis = int(rng.integers(3))
            return Segment(1 + 2 * axis + (sign < 0), still + sign * speed * np.eye(3)[axis], 0.0, grip, steps)
        if kind == "compound":
            direction = rng.normal(size=3)
            direction[int(rng.integers(3))] *= float(rng.integers(2))  # half of them stay in a plane
            return Segment(PRIMITIVES.index("compound"), direction * speed / np.abs(direction).max(), 0.0, grip, steps)
        if kind == "mixed":
            direction = rng.uniform(-1.0, 1.0, 3)
            yaw_rad = self._pace * sign * STEP_RAD * float(rng.uniform(0.0, 0.5))
            grip = -grip if rng.random() < 0.15 else grip
            velocity = direction * speed / np.abs(direction).max()
            return Segment(PRIMITIVES.index("compound"), velocity, yaw_rad, grip, steps)
        if kind == "yaw":
            yaw_rad = self._pace * sign * STEP_RAD * float(rng.uniform(0.45, 0.70))
            return Segment(7 + (sign < 0), still, yaw_rad, grip, int(rng.integers(2, 4)))
        if kind == "grip":
            name = "open" if grip == CLOSED else "close"
            return Segment(PRIMITIVES.index(name), still, 0.0, -grip, int(rng.integers(3, 5)))
        return Segment(0, still, 0.0, grip, int(rng.integers(1, 4)))


class Smooth:
    """Smooth drift (an Ornstein-Uhlenbeck process that bounces off the workspace)."""

    def __init__(self, rng: np.random.Generator, yaw: float, grip: float, pace: float = 1.0) -> None:
        self._rng = rng
        self._pace = pace
        self._yaw = yaw
        self._grip = grip
        self._drift = np.zeros(4)

    def act(self, hand: Hand) -> tuple[Vector, int]:
        """Return the drift: three components of translation and one of yaw; now and then the gripper switches."""
        self._drift = np.clip(0.8 * self._drift + 0.45 * self._rng.normal(size=4), -1.0, 1.0)
        wanted = 0.85 * self._pace * self._drift[:3]
        velocity = keep_inside(hand, wanted, slack_m=0.0)
        self._drift[:3] = np.where(np.abs(velocity - wanted) > 0.05 * self._pace, -self._drift[:3], self._drift[:3])
        self._yaw = float(np.clip(self._yaw + 0.1 * self._pace * self._drift[3], -0.7, 0.7))
        if self._rng.random() < 0.04:
            self._grip = -self._grip
        return _action(velocity, turn(hand, self._yaw), self._grip), PRIMITIVES.index("smooth")


Script = Generator[tuple[Vector, float], Hand, Hand]


def _go(hand: Hand, goal: Callable[[Hand], Vector], speed: float, grip: float, near_m: float, most: int) -> Script:
    """Move towards `goal` until within `near_m` of it, for at most `most` steps."""
    for _ in range(most):
        target = goal(hand)
        if float(np.linalg.norm(target - hand.position)) < near_m:
            break
        hand = yield reach(hand, target, speed), grip
    return hand


def _squeeze(hand: Hand, grip: float) -> Script:
    """Hold still while the gripper moves."""
    for _ in range(3):
        hand = yield np.zeros(3), grip
    return hand


def pick_and_place(hand: Hand, rng: np.random.Generator, pace: float = 1.0) -> Script:
    """Pick up the first cube, carry it, mostly lower it, release it, rise. Yields (translation (3,), grip)."""
    speed = float(rng.uniform(0.7, 1.0)) * pace

    def steps(most: int) -> int:
        return math.ceil(most / pace)

    hand = yield from _go(
        hand, lambda h: h.cube + np.array([0.0, 0.0, 0.11]), speed, OPEN, near_m=0.025, most=steps(14)
    )
    hand = yield from _go(hand, lambda h: h.cube, speed, OPEN, near_m=0.012, most=steps(9))
    hand = yield from _squeeze(hand, CLOSED)
    lifted = hand.position + np.array([0.0, 0.0, rng.uniform(0.10, 0.18)])
    hand = yield from _go(hand, lambda _: lifted, speed, CLOSED, near_m=0.025, most=steps(8))
    drop = np.array([*rng.uniform(*CUBE_AREA), lifted[2]])
    hand = yield from _go(hand, lambda _: drop, speed, CLOSED, near_m=0.03, most=steps(12))
    if rng.random() < 0.7:
        low = np.array([drop[0], drop[1], TABLE_M + 0.035])
        hand = yield from _go(hand, lambda _: low, speed, CLOSED, near_m=0.02, most=steps(8))
    hand = yield from _squeeze(hand, OPEN)
    risen = np.array([hand.position[0], hand.position[1], 1.0])
    return (yield from _go(hand, lambda _: risen, speed, OPEN, near_m=0.04, most=steps(8)))


class Scripted:
    """Follows a script with noise, fingers along the cube's sides; then `Play` for the rest of the episode."""

    def __init__(self, rng: np.random.Generator, hand: Hand, pace: float = 1.0) -> None:
        self._rng = rng
        self._pace = pace
        quarter = np.pi / 2  # a cube looks the same after a quarter turn: use the nearest one
        finger_yaw = float(np.arctan2(hand.home[1, 0], hand.home[0, 0]))
        self._yaw = (hand.cube_yaw - finger_yaw + quarter / 2) % quarter - quarter / 2
        self._script = pick_and_place(hand, rng, pace)
        self._started = False
        self._after: Play | None = None

    def act(self, hand: Hand) -> tuple[Vector, int]:
        """Return the script's next step, or play."""
        if self._after is None:
            try:
                velocity, grip = self._advance(hand)
            except StopIteration:
                self._after = Play(self._rng, hand.yaw, OPEN, pace=self._pace)
            else:
                velocity = velocity + self._rng.normal(0.0, 0.05 * self._pace, 3)
                rotation = turn(hand, self._yaw) + self._rng.normal(0.0, 0.01, 3)
                return _action(velocity, rotation, grip), PRIMITIVES.index("script")
        return self._after.act(hand)

    def _advance(self, hand: Hand) -> tuple[Vector, float]:
        if self._started:
            return self._script.send(hand)
        self._started = True
        return next(self._script)


def draw_mode(rng: np.random.Generator, motions: Sequence[Mode] = (), odds: Mapping[Mode, float] = MODE_ODDS) -> Mode:
    """Draw the policy of an episode: one of `motions`, all equally likely, or one of the usual mixture, `odds`."""
    if motions:
        return motions[int(rng.integers(len(motions)))]
    modes = list(odds)
    return modes[int(rng.choice(len(modes), p=list(odds.values())))]


def make_policy(mode: Mode, rng: np.random.Generator, hand: Hand, yaw: float, grip: float, pace: float = 1.0) -> Policy:
    """Make the policy `mode` for a hand at `hand`, turned to `yaw`, with its gripper at `grip`.

    `pace` scales the length of its steps.
    """
    if mode == "script":
        return Scripted(rng, hand, pace)
    if mode == "smooth":
        return Smooth(rng, yaw, grip, pace)
    odds = {"play": PLAY_ODDS, "axes": AXES_ODDS, "mixed": MIXED_ODDS}[mode]
    return Play(rng, yaw, grip, odds, pace)


__all__ = [
    "CLOSED", "MODE_ODDS", "NO_SCRIPT_ODDS", "OPEN", "PRIMITIVES", "STEP_M", "STEP_RAD", "Hand", "Play", "Policy",
    "Scripted", "Segment", "Smooth", "draw_mode", "keep_inside", "make_policy", "pick_and_place", "reach", "turn",
]  # fmt: skip
