"""The policies, on a hand that follows its commands as the simulated one does, without a simulator."""

from typing import get_args

import numpy as np
import pytest

from genie_core.sim.config import Mode
from genie_core.sim.episode import jammed
from genie_core.sim.geometry import rotation_z
from genie_core.sim.motion import (
    CLOSED,
    MODE_ODDS,
    OPEN,
    PRIMITIVES,
    STEP_M,
    STEP_RAD,
    Hand,
    Play,
    draw_mode,
    keep_inside,
    make_policy,
    reach,
    turn,
)
from genie_core.sim.robots import WORKSPACE

HOME = np.diag([1.0, -1.0, -1.0])
CUBE = np.array([0.05, -0.05, 0.822])
MODES = get_args(Mode)


class Follower:
    """A hand that covers 85 % of each commanded step, and a cube that it carries once closed around it."""

    def __init__(self, position=(0.0, 0.0, 0.95), yaw=0.0):
        self.position, self.yaw, self.cube, self.held = np.array(position), yaw, CUBE.copy(), False

    def hand(self):
        return Hand(self.position.copy(), rotation_z(self.yaw) @ HOME, HOME, self.cube.copy(), cube_yaw=0.3)

    def step(self, action):
        near = np.linalg.norm(self.position - self.cube) < 0.03
        self.held = action[6] == CLOSED and (near or self.held)
        moved = 0.85 * STEP_M * action[:3]
        self.position = self.position + moved
        self.yaw += STEP_RAD * action[5]
        if self.held:
            self.cube = self.cube + moved


def act(mode, seed, steps=400, pace=1.0):
    follower, rng = Follower(), np.random.default_rng(seed)
    policy = make_policy(mode, rng, follower.hand(), 0.0, OPEN, pace)
    actions, primitives, places, yaws = [], [], [], []
    for _ in range(steps):
        action, primitive = policy.act(follower.hand())
        follower.step(action)
        actions.append(action)
        primitives.append(primitive)
        places.append(follower.position)
        yaws.append(follower.yaw)
    return np.array(actions), np.array(primitives), np.array(places), np.array(yaws), follower


@pytest.mark.parametrize("mode", MODES)
def test_actions_are_in_range_and_the_hand_stays_in_reach(mode):
    actions, primitives, places, yaws, _ = act(mode, seed=1)
    assert actions.shape == (400, 7)
    assert np.abs(actions).max() <= 1.0
    assert set(np.unique(actions[:, 6])) <= {OPEN, CLOSED}
    assert (places >= WORKSPACE[0] - 0.03).all()
    assert (places <= WORKSPACE[1] + 0.03).all()
    assert np.abs(yaws).max() < 1.0
    assert set(primitives) <= set(range(len(PRIMITIVES)))


@pytest.mark.parametrize("mode", MODES)
def test_motion_is_a_function_of_the_generator(mode):
    np.testing.assert_array_equal(act(mode, seed=2)[0], act(mode, seed=2)[0])
    assert not np.array_equal(act(mode, seed=2)[0], act(mode, seed=3)[0])


def test_play_uses_every_primitive_and_each_moves_what_it_says():
    actions, primitives, *_ = act("play", seed=4, steps=2000)
    names = np.array(PRIMITIVES)[primitives]
    assert set(names) == set(PRIMITIVES) - {"smooth", "script"}
    for axis, letter in enumerate("xyz"):
        for sign, name in ((1, f"+{letter}"), (-1, f"-{letter}")):
            moves = sign * actions[names == name][:, :3]
            assert moves[:, axis].mean() > 0.6, name
            assert np.abs(np.delete(moves, axis, axis=1)).mean() < 0.06, name
    assert actions[names == "+yaw"][:, 5].mean() > 0.3
    assert actions[names == "-yaw"][:, 5].mean() < -0.3
    assert (actions[names == "open"][:, 6] == OPEN).all()
    assert (actions[names == "close"][:, 6] == CLOSED).all()
    assert np.abs(actions[names == "stay"][:, :6]).max() < 0.2


def test_play_holds_each_motion_for_some_steps():
    _, primitives, *_ = act("play", seed=5, steps=1000)
    runs = np.diff(np.flatnonzero(np.r_[True, np.diff(primitives) != 0, True]))
    assert 2.0 < runs.mean() < 6.0


@pytest.mark.parametrize("seed", range(8))
def test_script_takes_the_cube_elsewhere_then_plays(seed):
    *_, follower = act("script", seed, steps=62)
    _, primitives, *_ = act("script", seed, steps=120)
    assert np.linalg.norm(follower.cube - CUBE) > 0.02
    script = primitives == PRIMITIVES.index("script")
    assert 12 <= script.sum() <= 62  # 62 is every phase at its longest
    assert not script[int(script.sum()) :].any()


def test_script_turns_the_fingers_along_the_cube():
    follower = Follower()
    policy = make_policy("script", np.random.default_rng(0), follower.hand(), 0.0, OPEN)
    for _ in range(8):
        follower.step(policy.act(follower.hand())[0])
    assert follower.yaw == pytest.approx(0.3, abs=0.05)


def test_reach_points_at_the_goal_no_faster_than_asked():
    hand = Follower().hand()
    goal = hand.position + np.array([0.3, -0.1, 0.0])
    command = reach(hand, goal, speed=0.5)
    assert np.abs(command).max() == pytest.approx(0.5)
    np.testing.assert_allclose(command / np.linalg.norm(command), (goal - hand.position) / np.linalg.norm([0.3, 0.1]))
    assert np.abs(reach(hand, hand.position, 1.0)).max() == 0.0


def test_turn_undoes_tilt_and_is_limited():
    hand = Follower(yaw=0.2).hand()
    np.testing.assert_allclose(turn(hand, 0.2), 0.0, atol=1e-9)
    np.testing.assert_allclose(turn(hand, 0.3), [0, 0, 0.1 / STEP_RAD], atol=1e-9)
    np.testing.assert_allclose(turn(hand, 2.0, fastest=0.4), [0, 0, 0.4], atol=1e-9)


def test_keep_inside_lets_back_in_what_is_outside():
    hand = Follower(position=WORKSPACE[1] + 0.05).hand()
    assert (keep_inside(hand, np.ones(3), slack_m=0.0) <= 0.0).all()
    assert (keep_inside(hand, -np.ones(3), slack_m=0.0) == -1.0).all()


def test_a_cornered_player_stays_rather_than_leaves():
    hand = Follower(position=(5.0, 5.0, 5.0)).hand()
    action, primitive = Play(np.random.default_rng(0), 0.0, OPEN).act(hand)
    assert (action[:3] <= 0.0).all()
    assert PRIMITIVES[primitive] in {"stay", "+yaw", "-yaw", "open", "close"}


def test_a_jam_is_a_move_that_was_not_commanded():
    here, action = np.zeros(3), np.array([1.0, 0, 0, 0, 0, 0, OPEN])
    assert not jammed(here, np.array([0.058, 0.0, 0.0]), action)
    assert not jammed(here, np.array([0.058, 0.0, 0.03]), action)
    assert jammed(here, here, action)
    assert jammed(here, np.array([0.058, 0.0, -0.08]), action)


def test_modes_come_at_their_odds():
    rng = np.random.default_rng(0)
    drawn = [draw_mode(rng) for _ in range(4000)]
    for mode, odds in MODE_ODDS.items():
        assert drawn.count(mode) / len(drawn) == pytest.approx(odds, abs=0.03)


def test_axes_move_one_at_a_time_and_mixed_ones_together():
    actions, primitives, *_ = act("axes", seed=4, steps=1000)
    assert PRIMITIVES.index("compound") not in primitives
    assert (np.sort(np.abs(actions[:, :3]), axis=1)[:, 1] < 0.2).mean() > 0.98
    mixed, primitives, *_ = act("mixed", seed=4, steps=1000)
    moving = mixed[primitives == PRIMITIVES.index("compound")]
    assert len(moving) > 900
    assert np.median(np.sort(np.abs(moving[:, :3]), axis=1)[:, 1]) > 0.25
    assert np.median(np.abs(moving[:, 5])) > 0.1
    assert 10 < (np.diff(mixed[:, 6]) != 0).sum() < 80


@pytest.mark.parametrize("mode", ["axes", "mixed", "smooth"])
def test_pace_scales_how_far_a_step_goes(mode):
    full, half = (np.abs(act(mode, seed=6, steps=600, pace=pace)[0][:, :3]).mean() for pace in (1.0, 0.5))
    assert half == pytest.approx(full / 2, rel=0.15)


@pytest.mark.parametrize("seed", range(3))
def test_a_slow_script_still_takes_the_cube_elsewhere(seed):
    *_, follower = act("script", seed, steps=200, pace=0.4)
    assert np.linalg.norm(follower.cube - CUBE) > 0.02


def test_motions_asked_for_come_evenly():
    rng = np.random.default_rng(0)
    drawn = [draw_mode(rng, ("axes", "axes", "smooth")) for _ in range(3000)]
    assert drawn.count("axes") / 3000 == pytest.approx(2 / 3, abs=0.03)
    assert set(drawn) == {"axes", "smooth"}
