"""The reaching task: bring the open gripper above a cube that lies anywhere on the table.

Start states, success and a scripted expert; policies are defined elsewhere. Importing this needs no simulator, creating
a `Reach` does: call `backend.prepare` first, in a separate process.
"""

import json
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from genie_core.sim.config import SimConfig
from genie_core.sim.episode import PRE_ROLL_STEPS, Recorder, SimulatedEpisode
from genie_core.sim.geometry import Vector
from genie_core.sim.looks import Cube, Looks, draw_cubes, draw_looks, draw_view
from genie_core.sim.meshes import cache_dir
from genie_core.sim.motion import OPEN, PRIMITIVES, Hand, reach, turn
from genie_core.sim.renderer import CAMERA, Renderer
from genie_core.sim.robots import WORKSPACE, body_of
from genie_core.sim.scene import Scene

ExpertStyle = Literal["axes", "straight"]
"""How the expert moves: along one axis at a time, or straight to its goal, which mixes axes."""

ACTION_SIZE = 3
"""An action is a translation in [-1, 1] of `motion.STEP_M`; the gripper stays open and points down."""
ABOVE_M = 0.05
"""Height of the goal above the cube's centre: the fingertips stop short of its top."""
REACHED_M = 0.03
"""Largest distance from the goal at which the hand has reached it."""
LEAST_WAY_M = 0.12
"""Smallest distance from the goal at the start of an episode."""
EXPERT_SPEED, HALF_SPEED = (0.8, 1.0), 0.5
"""Sizes of the expert's steps: one drawn per episode, and one for distances below `FULL_SPEED_M`."""
FULL_SPEED_M, NEAR_ENOUGH_M = 0.04, 0.015
"""Distances along one axis from which the expert moves at full speed, and at which it moves at all."""
EXPERT_NOISE = 0.1
"""Standard deviation of the noise on the expert's commands: its videos also show how to correct deviations."""

NOT_HERE = {"motions", "speed", "distractors", "shake_px", "pan_px", "flicker", "depth", "flow"}
"""Fields of `SimConfig` that this task does not use."""


@dataclass(frozen=True)
class Start:
    """Start of an episode: its looks, the cube's place, and the hand's position above the table (3,)."""

    looks: Looks
    cubes: list[Cube]
    hand: Vector


def goal(hand: Hand) -> Vector:
    """Return the target position of the hand, (3,) in metres."""
    above: Vector = hand.cube + np.array([0.0, 0.0, ABOVE_M])
    return above


def draw_start(config: SimConfig, number: int) -> tuple[Start, np.random.Generator]:
    """Return the start of episode `number`, and the generator for its motion."""
    streams = np.random.SeedSequence([config.seed, number]).spawn(3)
    looks_rng, motion_rng, view_rng = (np.random.default_rng(stream) for stream in streams)
    looks = draw_looks(looks_rng, config.looks, config.jitter, 1, draw_view(view_rng, config))
    cubes = draw_cubes(motion_rng, config.looks, 1)
    low, high = WORKSPACE
    there = np.array([*cubes[0].xy, low[2] + ABOVE_M])
    while True:
        hand = motion_rng.uniform(low + np.array([0.0, 0.0, 0.05]), high)
        if np.linalg.norm(hand - there) > LEAST_WAY_M + REACHED_M:  # the hand comes to a stop 2 cm from where it should
            return Start(looks, cubes, hand), motion_rng


class Expert:
    """Moves along one axis at a time, the one furthest from the goal, or straight; at half speed when near it."""

    def __init__(self, rng: np.random.Generator, style: ExpertStyle = "axes") -> None:
        self._rng = rng
        self._style = style
        self._speed = float(rng.uniform(*EXPERT_SPEED))

    def act(self, hand: Hand) -> Vector:
        """Return the next action (3,), within [-1, 1]."""
        off = goal(hand) - hand.position
        axis = int(np.abs(off).argmax())
        far = float(abs(off[axis]))
        command: Vector = self._rng.normal(0.0, EXPERT_NOISE, ACTION_SIZE)
        if far > NEAR_ENOUGH_M:
            speed = self._speed if far > FULL_SPEED_M else HALF_SPEED
            if self._style == "straight":
                command += speed * off / far
            else:
                command[axis] += speed * np.sign(off[axis])
        action: Vector = np.clip(command, -1.0, 1.0)
        return action


class Reach:
    """The simulated task. An episode is a function of (config, number) and of the actions taken in it."""

    action_size = ACTION_SIZE

    def __init__(self, config: SimConfig) -> None:
        if config.task != "Lift":
            raise ValueError(f"task: got {config.task!r}, expected 'Lift': reaching has one cube")
        if not body_of(config.robot).picks:
            raise ValueError(f"robot: got {config.robot!r}, expected one with one arm and a gripper")
        if unsuited := config.stated().keys() & NOT_HERE:
            raise ValueError(f"reaching does without {', '.join(sorted(unsuited))}: leave them at their defaults")
        self._config = config
        self.rng = np.random.default_rng(config.seed)
        """Random generator for the policy; new in every episode."""
        self.scene = Scene(
            config.robot, config.task, config.mesh_faces, cache_dir(), physics_step_ms=config.physics_step_ms
        )
        self._renderer = Renderer(self.scene, config.robot, config.size, config.supersample, config.shadows)

    def reset(self, number: int) -> None:
        """Start episode `number`."""
        start, self.rng = draw_start(self._config, number)
        self._renderer.dress(start.looks)
        self.scene.reset(start.cubes)
        for _ in range(PRE_ROLL_STEPS):
            self.step(reach(self.scene.hand(), start.hand, 1.0))
            if np.linalg.norm(start.hand - self.scene.hand().position) < 0.02:
                break

    def frame(self) -> NDArray[np.uint8]:
        """Render the camera's view, (S, S, 3)."""
        return self._renderer.frame()

    def step(self, action: Vector) -> None:
        """Execute `action` (3,), clipped to [-1, 1], for a tenth of a second."""
        rotation = turn(self.scene.hand(), 0.0)  # upright, whatever the arm does on its way
        self.scene.step(np.clip(np.concatenate([action, rotation, [OPEN]]), -1.0, 1.0))

    def distance_m(self) -> float:
        """Return the distance of the hand from its goal in the simulator's state, metres."""
        hand = self.scene.hand()
        return float(np.linalg.norm(goal(hand) - hand.position))

    def succeeded(self) -> bool:
        """Return whether the hand is at its goal now."""
        return self.distance_m() <= REACHED_M

    def camera_json(self) -> str:
        """See `Renderer.camera_json`."""
        return self._renderer.camera_json()

    def close(self) -> None:
        """Release the OpenGL context."""
        self._renderer.close()


def demonstrate(task: Reach, config: SimConfig, style: ExpertStyle, number: int) -> SimulatedEpisode:
    """Record the expert's episode `number`: row t of `actions` (T, 3) is chosen at frame t and leads to frame t + 1."""
    task.reset(number)
    expert = Expert(task.rng, style)
    rows: dict[str, list[Any]] = {}
    for _ in range(config.frames):
        row: dict[str, Any] = {f"obs/{CAMERA}_image": task.frame(), **task.scene.sense()}
        action = expert.act(task.scene.hand())
        task.step(action)
        row |= {"actions": action, "primitive": np.int8(PRIMITIVES.index("script")), "rewards": float(task.succeeded())}
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
    arrays = {name: np.stack(values) for name, values in rows.items()}
    arrays["dones"] = np.eye(1, config.frames, config.frames - 1, dtype=np.int64)[0]
    attrs = {"mode": "reach", "camera": task.camera_json()}
    return SimulatedEpisode(arrays=arrays, attrs=attrs, env_args=json.dumps(task.scene.env_args))


def make_demonstrator(config: SimConfig, style: ExpertStyle = "axes") -> Recorder:
    """Create the task once, and return a function from episode number to the expert's episode."""
    return partial(demonstrate, Reach(config), config, style)


__all__ = [
    "ABOVE_M",
    "ACTION_SIZE",
    "LEAST_WAY_M",
    "REACHED_M",
    "Expert",
    "ExpertStyle",
    "Reach",
    "Start",
    "demonstrate",
    "draw_start",
    "goal",
    "make_demonstrator",
]
