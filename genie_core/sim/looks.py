"""Looks of an episode and initial places of its cubes, drawn before anything is simulated.

`scene` applies them. Keeping the two apart makes the draws testable without a simulator, and lets the same motion be
rendered with different looks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.sim.config import LookStyle, SimConfig
from genie_core.sim.geometry import Vector
from genie_core.sim.robots import ABOVE_TABLE_M, body_of

TABLE_TEXTURES = (
    "blue-wood",
    "ceramic",
    "clay",
    "cream-plaster",
    "dark-wood",
    "gray-felt",
    "gray-woodgrain",
    "green-wood",
    "light-wood",
    "pink-plaster",
    "steel-scratched",
    "white-bricks",
    "wood-tiles",
    "wood-varnished-panels",
)
"""Files in robosuite's texture folder that look like a table top."""

CUBE_COLOURS = np.array(
    [
        [0.85, 0.10, 0.10],
        [0.95, 0.45, 0.10],
        [0.95, 0.75, 0.10],
        [0.10, 0.60, 0.15],
        [0.10, 0.70, 0.75],
        [0.10, 0.25, 0.85],
        [0.60, 0.15, 0.70],
    ]
)

CUBE_HALF_RANGE_M = (0.020, 0.026)
CUBE_AREA = (np.array([-0.12, -0.17]), np.array([0.13, 0.17]))
CUBE_SPACING_M = 0.09


@dataclass(frozen=True)
class Camera:
    """A fixed camera: position and target in metres (3,), vertical field of view in degrees."""

    position: Vector
    target: Vector
    fovy_deg: float


@dataclass(frozen=True)
class View:
    """Camera pose before jitter: degrees around what it looks at, degrees above the horizon, metres away."""

    azimuth_deg: float
    elevation_deg: float
    distance_m: float
    looked_at: tuple[float, float, float] = ABOVE_TABLE_M


_DEFAULT = SimConfig()
USUAL_VIEW = View(_DEFAULT.azimuth[0], _DEFAULT.elevation[0], _DEFAULT.distance[0])
"""From the robot's front left. Close, so that at 64 x 64 a full step of the gripper crosses several pixels."""


@dataclass(frozen=True)
class Surfaces:
    """Drawn colours: a table texture's name and tint (3,), wall and floor tints (3,), and a colour (3,) per cube."""

    table: str
    table_tint: Vector
    wall_tint: Vector
    floor_tint: Vector
    cube_rgb: NDArray[np.float64]


@dataclass(frozen=True)
class Looks:
    """Lighting and view of one episode. `surfaces` is None if the scene keeps its own materials."""

    camera: Camera
    light_direction: Vector
    light: float
    ambient: float
    surfaces: Surfaces | None


@dataclass(frozen=True)
class Cube:
    """Initial pose of a cube: centre on the table (2,) in metres, turn in radians, half its edge in metres."""

    xy: Vector
    yaw: float
    half_m: float


def draw_view(rng: np.random.Generator, config: SimConfig) -> View:
    """Draw the view of one episode from the config's ranges."""
    ranges = (config.azimuth, config.elevation, config.distance)
    azimuth_deg, elevation_deg, distance_m = (float(rng.uniform(*limits)) for limits in ranges)
    return View(azimuth_deg, elevation_deg, distance_m, body_of(config.robot).looked_at)


def draw_camera(rng: np.random.Generator, jitter: float, view: View) -> Camera:
    """Return a camera at `view` of the table, displaced at random in proportion to `jitter`."""
    azimuth = np.deg2rad(view.azimuth_deg + jitter * rng.uniform(-4.0, 4.0))
    elevation = np.deg2rad(view.elevation_deg + jitter * rng.uniform(-3.0, 3.0))
    target = np.array(view.looked_at) + jitter * rng.uniform(-0.02, 0.02, 3)
    distance_m = view.distance_m * (1.0 + jitter * rng.uniform(-0.04, 0.04))
    direction = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    return Camera(target + distance_m * direction, target, 42.0)


def _draw_surfaces(rng: np.random.Generator, cubes: int) -> Surfaces:
    def tint(darkest: float, spread: float) -> Vector:
        return rng.uniform(darkest, 1.0) * rng.uniform(spread, 1.0, 3)

    return Surfaces(
        table=TABLE_TEXTURES[int(rng.integers(len(TABLE_TEXTURES)))],
        table_tint=tint(0.60, 0.85),
        wall_tint=tint(0.45, 0.80),
        floor_tint=tint(0.45, 0.80),
        cube_rgb=np.clip(
            CUBE_COLOURS[rng.integers(len(CUBE_COLOURS), size=cubes)] + rng.uniform(-0.08, 0.08, (cubes, 3)), 0.0, 1.0
        ),
    )


def draw_looks(rng: np.random.Generator, style: LookStyle, jitter: float, cubes: int, view: View = USUAL_VIEW) -> Looks:
    """Draw the looks of one episode with `cubes` cubes; "laboratory" draws only the camera's jitter."""
    camera = draw_camera(rng, jitter, view)
    if style == "laboratory":
        return Looks(camera, np.array([-0.25, -0.35, -1.0]), light=0.60, ambient=0.30, surfaces=None)
    return Looks(
        camera,
        np.array([rng.uniform(-0.6, 0.3), rng.uniform(-0.6, 0.6), -1.0]),
        light=float(rng.uniform(0.55, 0.80)),
        ambient=float(rng.uniform(0.28, 0.42)),
        surfaces=_draw_surfaces(rng, cubes),
    )


def draw_cubes(rng: np.random.Generator, style: LookStyle, cubes: int) -> list[Cube]:
    """Draw cubes within the robot's reach and clear of each other; all of one size in the laboratory."""
    placed: list[Cube] = []
    while len(placed) < cubes:
        xy = rng.uniform(*CUBE_AREA)
        if all(np.linalg.norm(xy - other.xy) > CUBE_SPACING_M for other in placed):
            half_m = float(rng.uniform(*CUBE_HALF_RANGE_M)) if style == "randomised" else 0.021
            placed.append(Cube(xy, float(rng.uniform(-np.pi, np.pi)), half_m))
    return placed


__all__ = [
    "CUBE_AREA",
    "CUBE_HALF_RANGE_M",
    "TABLE_TEXTURES",
    "USUAL_VIEW",
    "Camera",
    "Cube",
    "Looks",
    "Surfaces",
    "View",
    "draw_camera",
    "draw_cubes",
    "draw_looks",
    "draw_view",
]
