"""Rotations and camera geometry in plain numpy, for the simulator's policies and pictures.

World frame: x away from the robot, y to its left, z up; metres and radians.
"""

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


def rotation_z(angle: float) -> Matrix:
    """Return the rotation matrix (3, 3) about the vertical by `angle` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def yaw_between(rotation: Matrix, home: Matrix) -> float:
    """Return the turn about the vertical, in radians, that best explains `rotation` (3, 3) given `home` (3, 3)."""
    turned = rotation @ home.T
    return float(np.arctan2(turned[1, 0] - turned[0, 1], turned[0, 0] + turned[1, 1]))


def rotation_vector(rotation: Matrix) -> Vector:
    """Return axis times angle (3,) of a rotation matrix (3, 3); exact at zero, direction undefined at half a turn."""
    twist = 0.5 * np.array(
        [
            rotation[2, 1] - rotation[1, 2],
            rotation[0, 2] - rotation[2, 0],
            rotation[1, 0] - rotation[0, 1],
        ]
    )
    sine = float(np.linalg.norm(twist))
    angle = float(np.arctan2(sine, (np.trace(rotation) - 1.0) / 2.0))
    return twist if sine < 1e-9 else twist * (angle / sine)


def look_at(position: Vector, target: Vector) -> Matrix:
    """Return the orientation (3, 3) of a MuJoCo camera at `position` that looks at `target`, upright.

    A MuJoCo camera looks along its own -z, with y up; the columns are the camera's axes in the world frame.
    """
    back = (position - target) / np.linalg.norm(position - target)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(back, right), back], axis=1)


def quaternion(rotation: Matrix) -> Vector:
    """Return the unit quaternion (w, x, y, z) of a rotation matrix (3, 3); divides by its largest component only."""
    m = rotation
    squares = 1.0 + np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) @ np.diag(m)
    candidates = np.array(
        [
            [squares[0], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]],
            [m[2, 1] - m[1, 2], squares[1], m[1, 0] + m[0, 1], m[0, 2] + m[2, 0]],
            [m[0, 2] - m[2, 0], m[1, 0] + m[0, 1], squares[2], m[2, 1] + m[1, 2]],
            [m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[2, 1] + m[1, 2], squares[3]],
        ]
    )
    best = candidates[int(np.argmax(squares))]
    unit: Vector = best / np.linalg.norm(best)
    return unit


def project(point: Vector, camera: Vector, orientation: Matrix, fovy_deg: float, size: int) -> Vector:
    """Project the world's `point` (3,) to column and row (2,), in pixels of a `size` x `size` picture."""
    seen = orientation.T @ (point - camera)
    focal = 0.5 * size / np.tan(np.deg2rad(fovy_deg) / 2.0)
    return np.array([size / 2 + focal * seen[0] / -seen[2], size / 2 - focal * seen[1] / -seen[2]])


__all__ = ["Matrix", "Vector", "look_at", "project", "quaternion", "rotation_vector", "rotation_z", "yaw_between"]
