"""Rotations and the camera's projection, against what they must be by definition."""

import numpy as np
import pytest

from genie_core.sim.geometry import look_at, project, quaternion, rotation_vector, rotation_z, yaw_between


def rotation_of(wxyz):
    w, x, y, z = wxyz
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


@pytest.mark.parametrize("seed", range(20))
def test_quaternion_gives_the_rotation_back(seed):
    wxyz = np.random.default_rng(seed).normal(size=4)
    rotation = rotation_of(wxyz / np.linalg.norm(wxyz))
    np.testing.assert_allclose(rotation_of(quaternion(rotation)), rotation, atol=1e-12)


@pytest.mark.parametrize("turned", [np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1]), np.diag([-1.0, -1, 1]), np.eye(3)])
def test_quaternion_survives_half_turns(turned):
    np.testing.assert_allclose(rotation_of(quaternion(turned)), turned, atol=1e-12)


@pytest.mark.parametrize("angle", [-3.0, -0.5, -1e-12, 0.0, 1e-6, 0.3, 2.9])
def test_rotation_vector_and_yaw_are_the_angle(angle):
    np.testing.assert_allclose(rotation_vector(rotation_z(angle)), [0, 0, angle], atol=1e-9)
    home = np.diag([1.0, -1.0, -1.0])  # a gripper that points down
    assert yaw_between(rotation_z(angle) @ home, home) == pytest.approx(angle, abs=1e-9)


def test_camera_sees_its_target_in_the_middle_and_up_as_up():
    camera, target = np.array([0.6, 0.4, 1.4]), np.array([0.0, 0.0, 0.9])
    seen = look_at(camera, target)
    np.testing.assert_allclose(seen.T @ seen, np.eye(3), atol=1e-12)
    assert np.linalg.det(seen) == pytest.approx(1.0)
    np.testing.assert_allclose(project(target, camera, seen, 42.0, 64), [32, 32], atol=1e-9)
    above = project(target + np.array([0, 0, 0.05]), camera, seen, 42.0, 64)
    assert above[0] == pytest.approx(32.0)
    assert above[1] < 30  # rows count downwards


def test_field_of_view_ends_at_the_edge():
    camera, distance = np.array([0.0, -2.0, 0.0]), 2.0
    seen = look_at(camera, np.zeros(3))
    edge = np.array([0.0, 0.0, distance * np.tan(np.deg2rad(21.0))])
    assert project(edge, camera, seen, 42.0, 64)[1] == pytest.approx(0.0, abs=1e-9)
