"""Disturbances of a video: camera shake and pan, flicker, moving bodies. Only draws them, for a whole episode.

They have their own random stream, so that the same episode can be made with and without them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.sim.config import FPS, SimConfig
from genie_core.sim.geometry import Matrix, Vector
from genie_core.sim.motion import TABLE_M

SHAPES = ("sphere", "capsule", "ellipsoid", "cylinder", "box")
LARGEST_M = 0.09
"""Largest half extent of a body."""
RING_M = (0.30, 0.55)
"""Distance of the moving bodies from the table's middle: outside the hand's workspace, so that none crosses it."""
SWEEP_M = 0.10
SWEEP_HZ = (0.1, 0.5)


@dataclass(frozen=True)
class Body:
    """A moving body: shape, half extents (3,) in metres, colour (3,), and its centre at every frame (T, 3)."""

    shape: str
    half_m: Vector
    rgb: Vector
    path: NDArray[np.float64]


@dataclass(frozen=True)
class Disturbances:
    """Disturbances of one episode of T frames: shift of the picture in pixels (T, 2), gain (T,), and the bodies."""

    shift_px: NDArray[np.float64]
    gain: NDArray[np.float64]
    bodies: tuple[Body, ...]


def _draw_body(rng: np.random.Generator, frames: int) -> Body:
    """Draw a body that sways around a place beside the workspace, each axis at its own rate."""
    bearing, radius = rng.uniform(-np.pi, np.pi), rng.uniform(*RING_M)
    half_m = rng.uniform(0.02, LARGEST_M, 3)
    height = TABLE_M + LARGEST_M + rng.uniform(0.0, 0.25)
    centre = np.array([radius * np.cos(bearing), radius * np.sin(bearing), height])
    seconds = np.arange(frames)[:, None] / FPS
    phase = rng.uniform(0.0, 2 * np.pi, 3) + 2 * np.pi * rng.uniform(*SWEEP_HZ, 3) * seconds
    path = centre + rng.uniform(0.3, 1.0, 3) * SWEEP_M * np.array([1.0, 1.0, 0.5]) * np.sin(phase)
    return Body(SHAPES[int(rng.integers(len(SHAPES)))], half_m, rng.uniform(0.05, 0.95, 3), path)


def draw_disturbances(rng: np.random.Generator, config: SimConfig) -> Disturbances:
    """Draw the disturbances of one episode; those not asked for are exactly neutral: shift 0, gain 1, no body.

    A pan keeps one direction and rate, and passes the camera's original pose in the middle of the episode.
    """
    frames = config.frames
    bearing = rng.uniform(-np.pi, np.pi)
    away = np.arange(frames) - (frames - 1) / 2
    pan = config.pan_px * away[:, None] * np.array([np.cos(bearing), np.sin(bearing)])
    shake = config.shake_px * rng.normal(size=(frames, 2))
    gain = np.maximum(0.0, 1.0 + config.flicker * rng.normal(size=frames))
    return Disturbances(pan + shake, gain, tuple(_draw_body(rng, frames) for _ in range(config.distractors)))


def turned(orientation: Matrix, shift_px: Vector, fovy_deg: float, size: int) -> Matrix:
    """Turn a camera's `orientation` (3, 3) so that the middle of a `size` x `size` picture moves by `shift_px`.

    `shift_px` (2,) is columns to the right and rows down; the camera turns the opposite way.
    """
    focal = 0.5 * size / np.tan(np.deg2rad(fovy_deg) / 2.0)
    yaw, pitch = np.arctan(shift_px / focal)
    c, s = np.cos(yaw), np.sin(yaw)
    about_up = np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    c, s = np.cos(pitch), np.sin(pitch)
    about_right = np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
    moved: Matrix = orientation @ about_up @ about_right
    return moved


__all__ = ["LARGEST_M", "SHAPES", "Body", "Disturbances", "draw_disturbances", "turned"]
