"""Where robots differ."""

from typing import get_args

import numpy as np

from genie_core.sim.config import SimConfig
from genie_core.sim.looks import draw_view
from genie_core.sim.motion import NO_SCRIPT_ODDS, STEP_M, draw_mode
from genie_core.sim.robots import Robot, body_of


def test_hands_have_room_and_those_of_two_arms_do_not_meet():
    for robot in get_args(Robot):
        boxes = body_of(robot).workspaces
        for low, high in boxes.values():
            assert (high - low > 1.5 * STEP_M).all()
        if len(boxes) == 2:
            assert not body_of(robot).picks
            (right_low, right_high), (left_low, left_high) = boxes["right"], boxes["left"]
            np.testing.assert_allclose(left_low, [right_low[0], -right_high[1], right_low[2]])
            np.testing.assert_allclose(left_high, [right_high[0], -right_low[1], right_high[2]])
            assert right_high[1] < -0.1


def test_cameras_look_at_where_the_hands_are():
    for robot in get_args(Robot):
        middle = np.mean(list(body_of(robot).workspaces.values()), axis=(0, 1))
        looked_at = draw_view(np.random.default_rng(0), SimConfig(robot=robot)).looked_at
        np.testing.assert_allclose(looked_at, middle, atol=0.11)


def test_who_cannot_pick_is_not_asked_to():
    rng = np.random.default_rng(0)
    assert {draw_mode(rng, (), NO_SCRIPT_ODDS) for _ in range(100)} == {"play", "smooth"}
