"""What moves besides the robot, without a simulator."""

import numpy as np
import pytest

from genie_core.sim import SimConfig
from genie_core.sim.disturbances import LARGEST_M, draw_disturbances, turned
from genie_core.sim.geometry import look_at, project
from genie_core.sim.motion import TABLE_M
from genie_core.sim.robots import WORKSPACE


def draw(seed=0, **choices):
    return draw_disturbances(np.random.default_rng(seed), SimConfig(**choices))


def test_nothing_asked_for_is_exactly_nothing():
    nothing = draw(frames=7)
    np.testing.assert_array_equal(nothing.shift_px, np.zeros((7, 2)))
    np.testing.assert_array_equal(nothing.gain, np.ones(7))
    assert nothing.bodies == ()


def test_shake_is_drawn_anew_for_each_frame():
    shift = draw(frames=2000, shake_px=1.5).shift_px
    assert shift.std(axis=0) == pytest.approx(1.5, rel=0.1)
    assert abs(np.corrcoef(shift[1:, 0], shift[:-1, 0])[0, 1]) < 0.1


def test_a_pan_is_even_and_passes_the_cameras_pose_half_way():
    shift = draw(frames=21, pan_px=0.25).shift_px
    steps = np.diff(shift, axis=0)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), 0.25)
    np.testing.assert_allclose(steps, steps[:1].repeat(20, axis=0))
    np.testing.assert_allclose(shift[10], 0.0, atol=1e-12)
    assert not np.allclose(steps[0], np.diff(draw(seed=1, frames=21, pan_px=0.25).shift_px, axis=0)[0])


def test_flicker_is_a_gain_about_one():
    gain = draw(frames=2000, flicker=0.05).gain
    assert gain.mean() == pytest.approx(1.0, abs=0.01)
    assert gain.std() == pytest.approx(0.05, rel=0.1)
    assert draw(frames=2000, flicker=0.5).gain.min() >= 0.0


def test_each_disturbance_is_the_same_beside_others():
    alone, beside = draw(frames=9, flicker=0.1), draw(frames=9, flicker=0.1, shake_px=2.0, distractors=3)
    np.testing.assert_array_equal(alone.gain, beside.gain)
    np.testing.assert_array_equal(draw(frames=9, distractors=3).bodies[2].path, beside.bodies[2].path)


def test_bodies_move_smoothly_above_the_table_and_clear_of_the_workspace_middle():
    for seed in range(30):
        for body in draw(seed, frames=50, distractors=3).bodies:
            assert body.half_m.max() <= LARGEST_M
            assert body.path.shape == (50, 3)
            assert np.linalg.norm(np.diff(body.path, axis=0), axis=1).max() < 0.06
            assert np.ptp(body.path, axis=0).max() > 0.005
            assert body.path[:, 2].min() > TABLE_M
            assert np.linalg.norm(body.path[:, :2], axis=1).min() > WORKSPACE[1][0] - 0.02


@pytest.mark.parametrize("shift", [(3.0, 0.0), (0.0, -2.0), (1.0, 5.0)])
def test_turning_the_camera_moves_the_middle_of_the_picture_by_as_much(shift):
    camera, target = np.array([0.7, 0.5, 1.4]), np.array([0.0, 0.0, 0.9])
    orientation = turned(look_at(camera, target), np.array(shift), 42.0, 64)
    np.testing.assert_allclose(orientation.T @ orientation, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(project(target, camera, orientation, 42.0, 64) - 32.0, shift, rtol=0.01, atol=0.01)
