"""Records one episode: draws its looks and motion from (seed, number), then alternates frame, action and step."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.errors import DatasetError
from genie_core.sim.config import SimConfig
from genie_core.sim.disturbances import draw_disturbances
from genie_core.sim.geometry import Vector
from genie_core.sim.looks import Looks, draw_cubes, draw_looks, draw_view
from genie_core.sim.meshes import cache_dir
from genie_core.sim.motion import (
    CLOSED,
    MODE_ODDS,
    NO_SCRIPT_ODDS,
    OPEN,
    STEP_M,
    Hand,
    draw_mode,
    make_policy,
    reach,
    turn,
)
from genie_core.sim.renderer import CAMERA, Renderer
from genie_core.sim.robots import body_of
from genie_core.sim.scene import Scene
from genie_core.sim.truth import View, flow_between

PRE_ROLL_STEPS = 14
COVERED = 0.84
"""Fraction of a commanded translation covered before the next command; the rest follows a little later."""
JAM_M = 0.04
"""Distance in metres, along any axis, between commanded and actual position beyond which the hand is stuck; a step is
up to 0.06 m."""
MOST_DRAWS = 10


@dataclass(frozen=True)
class SimulatedEpisode:
    """One recorded episode: HDF5 datasets of T rows by path, and the attributes of its group."""

    arrays: dict[str, NDArray[Any]]
    attrs: dict[str, str]
    env_args: str


Recorder = Callable[[int], SimulatedEpisode]
"""Makes the episode of a number."""


def _seen(looks: Looks) -> str:
    surfaces = looks.surfaces
    return json.dumps(
        {
            "light_direction": looks.light_direction.tolist(),
            "light": looks.light,
            "ambient": looks.ambient,
            "surfaces": None
            if surfaces is None
            else {
                "table": surfaces.table,
                "table_tint": surfaces.table_tint.tolist(),
                "wall_tint": surfaces.wall_tint.tolist(),
                "floor_tint": surfaces.floor_tint.tolist(),
                "cube_rgb": surfaces.cube_rgb.tolist(),
            },
        }
    )


@dataclass(frozen=True)
class _Start:
    """Where a hand starts: its place (3,), yaw and grip."""

    place: Vector
    yaw: float
    grip: float

    def action(self, hand: Hand) -> Vector:
        return np.concatenate([reach(hand, self.place, 1.0), turn(hand, self.yaw), [self.grip]])

    def reached(self, hand: Hand) -> bool:
        return bool(np.linalg.norm(self.place - hand.position) < 0.02)


def _draw_start(hand: Hand, rng: np.random.Generator) -> _Start:
    low, high = hand.workspace
    place = rng.uniform(low + np.array([0.0, 0.0, 0.05]), high)
    grip = CLOSED if rng.random() < 1 / 3 else OPEN
    return _Start(place, float(rng.uniform(-0.5, 0.5)), grip)


def _pre_roll(scene: Scene, rng: np.random.Generator) -> list[_Start]:
    """Move each hand, unrecorded, to a random place in its workspace, and return where."""
    starts = [_draw_start(hand, rng) for hand in scene.hands()]
    for _ in range(PRE_ROLL_STEPS):
        scene.step(np.concatenate([start.action(hand) for start, hand in zip(starts, scene.hands(), strict=True)]))
        if all(start.reached(hand) for start, hand in zip(starts, scene.hands(), strict=True)):
            break
    return starts


def jammed(before: Vector, after: Vector, action: Vector) -> bool:
    """Return whether the hand, between two positions (3,), failed to move as `action` (7,) asked."""
    return bool(np.abs(after - before - COVERED * STEP_M * action[:3]).max() > JAM_M)


def record(scene: Scene, renderer: Renderer, config: SimConfig, number: int) -> SimulatedEpisode:
    """Record episode `number`, drawn again if the arm jams or the physics becomes unstable.

    In about one of a hundred episodes the arm hits its joint limits and departs from its actions, which would be wrong
    ground truth. A robot that keeps jamming is recorded as it is.
    """
    for draw in range(MOST_DRAWS):
        episode = _record(scene, renderer, config, [config.seed, number, *([draw] if draw else [])], draw + 1)
        if episode is not None:
            return episode
    raise DatasetError(
        f"physics_step_ms: got {config.physics_step_ms}, with which the physics of {config.robot} was unstable in all "
        f"{MOST_DRAWS} draws; choose a shorter step or another seed"
    )


def _record(
    scene: Scene, renderer: Renderer, config: SimConfig, entropy: list[int], draws: int
) -> SimulatedEpisode | None:
    """Record one draw of an episode. Row t of `actions` was chosen at frame t and leads to frame t + 1.

    Of two arms that of the right comes first, in rows of actions, primitives and all that is told of hands.

    Looks, motion, view with pace, and disturbances have separate random streams: the same seed with another camera or
    other disturbances repeats the motion.
    """
    streams = np.random.SeedSequence(entropy).spawn(4)
    looks_rng, motion_rng, view_rng, disturbance_rng = (np.random.default_rng(stream) for stream in streams)
    view, pace = draw_view(view_rng, config), float(view_rng.uniform(*config.speed))
    looks = draw_looks(looks_rng, config.looks, config.jitter, len(scene.cubes), view)
    cubes = draw_cubes(motion_rng, config.looks, len(scene.cubes))
    disturbances = draw_disturbances(disturbance_rng, config)
    camera_moves = bool(disturbances.shift_px.any())
    renderer.dress(looks)
    scene.reset(cubes)
    camera = renderer.camera_json()
    mode = draw_mode(motion_rng, config.motions, MODE_ODDS if body_of(config.robot).picks else NO_SCRIPT_ODDS)
    starts = _pre_roll(scene, motion_rng)
    policies = [
        make_policy(mode, motion_rng, hand, start.yaw, start.grip, pace)
        for start, hand in zip(starts, scene.hands(), strict=True)
    ]

    rows: dict[str, list[Any]] = {}
    views: list[View] = []
    for frame in range(config.frames):
        hands = scene.hands()
        if camera_moves:
            renderer.aim(disturbances.shift_px[frame])
        renderer.place(disturbances.bodies, frame)
        row: dict[str, Any] = {
            f"obs/{CAMERA}_image": renderer.frame(float(disturbances.gain[frame])),
            "obs/eef_pixel": np.concatenate([renderer.pixel(hand.position, looks) for hand in hands]),
            **scene.sense(),
        }
        if camera_moves:
            row[f"obs/{CAMERA}_quat"] = renderer.camera_quat()
        if config.depth or config.flow:
            views.append(renderer.truth())
        acts = [policy.act(hand) for policy, hand in zip(policies, hands, strict=True)]
        scene.step(np.concatenate([action for action, _ in acts]))
        stuck = any(
            jammed(before.position, after.position, action)
            for before, after, (action, _) in zip(hands, scene.hands(), acts, strict=True)
        )
        if scene.unstable() or (draws < MOST_DRAWS and stuck):
            return None
        primitives = np.array([primitive for _, primitive in acts], np.int8)
        row |= {
            "actions": np.concatenate([action for action, _ in acts]),
            "primitive": primitives[0] if len(hands) == 1 else primitives,
            "rewards": np.float64(scene.reward),
        }
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
    arrays = {name: np.stack(values) for name, values in rows.items()}
    arrays["dones"] = np.eye(1, config.frames, config.frames - 1, dtype=np.int64)[0]
    arrays |= _truth(views, config, looks.camera.fovy_deg, renderer.sample_px)
    env_kwargs = scene.env_args["env_kwargs"] | {
        "camera_names": [CAMERA],
        "camera_heights": config.size,
        "camera_widths": config.size,
    }
    return SimulatedEpisode(
        arrays=arrays,
        attrs={"draws": str(draws), "mode": mode, "camera": camera, "looks": _seen(looks)}
        | ({"pace": f"{pace:.6f}"} if pace != 1.0 else {}),
        env_args=json.dumps(scene.env_args | {"env_kwargs": env_kwargs}),
    )


def _truth(views: list[View], config: SimConfig, fovy_deg: float, sample_px: float) -> dict[str, NDArray[Any]]:
    """Return the depth (T, S, S, 1) and flow (T, S, S, 2) as stored, float16; the last frame's flow is zero."""
    truth: dict[str, NDArray[Any]] = {}
    if config.depth:
        truth["truth/depth"] = np.stack([view.depth[..., None] for view in views]).astype(np.float16)
    if config.flow:
        flows = [flow_between(*pair, fovy_deg, sample_px) for pair in pairwise(views)]
        truth["truth/flow"] = np.stack([*flows, np.zeros_like(flows[0])]).astype(np.float16)
    return truth


def make_recorder(config: SimConfig) -> Recorder:
    """Build a scene and its renderer once; returns a function from episode number to episode."""
    scene = Scene(config.robot, config.task, config.mesh_faces, cache_dir(), config.distractors, config.physics_step_ms)
    renderer = Renderer(scene, config.robot, config.size, config.supersample, config.shadows)
    return lambda number: record(scene, renderer, config, number)


__all__ = ["Recorder", "SimulatedEpisode", "jammed", "make_recorder", "record"]
