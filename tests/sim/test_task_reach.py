"""The task of reaching: starts and the expert without a simulator, the rest where there is one (skipped elsewhere)."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from genie_core.errors import DatasetError
from genie_core.progress import silent
from genie_core.sim import SimConfig, backend
from genie_core.sim.generate import fill
from genie_core.sim.motion import STEP_M, Hand
from genie_core.sim.task_reach import (
    ABOVE_M,
    LEAST_WAY_M,
    REACHED_M,
    Expert,
    Reach,
    draw_start,
    goal,
    make_demonstrator,
)
from tests.factories.bundles import make_nano_bundle

LABORATORY = SimConfig(looks="laboratory", frames=12, seed=3)


def test_starts_are_far_enough_and_a_function_of_seed_and_number():
    for number in range(40):
        start, rng = draw_start(LABORATORY, number)
        same, same_rng = draw_start(LABORATORY, number)
        np.testing.assert_array_equal(start.hand, same.hand)
        np.testing.assert_array_equal(start.looks.camera.position, same.looks.camera.position)
        assert rng.random() == same_rng.random()
        above = np.array([*start.cubes[0].xy, 0.83 + ABOVE_M])
        assert np.linalg.norm(start.hand - above) > LEAST_WAY_M
    others = LABORATORY.model_copy(update={"seed": 4})
    assert not np.array_equal(draw_start(LABORATORY, 0)[0].hand, draw_start(others, 0)[0].hand)


def test_robots_without_a_gripper_do_not_reach():
    with pytest.raises(ValueError, match="robot: got 'Baxter', expected one with one arm and a gripper"):
        Reach(SimConfig(robot="Baxter"))


@pytest.mark.parametrize("seed", range(10))
def test_the_expert_presses_one_key_at_a_time_and_arrives(seed):
    rng = np.random.default_rng(seed)
    place, cube = rng.uniform([-0.1, -0.2, 0.9], [0.15, 0.2, 1.05]), np.array([0.0, 0.1, 0.821])
    expert, least = Expert(rng), np.inf
    for _ in range(14):
        hand = Hand(place.copy(), np.eye(3), np.eye(3), cube, 0.0)
        action = expert.act(hand)
        assert action.shape == (3,)
        assert np.abs(action).max() <= 1.0
        assert np.sort(np.abs(action))[1] < 0.45  # three standard deviations of the noise at the most beside one key
        place = place + 0.85 * STEP_M * action
        least = min(least, float(np.linalg.norm(goal(hand) - place)))
    assert least < REACHED_M


@pytest.mark.parametrize("seed", range(10))
def test_an_expert_that_moves_straight_mixes_axes_and_arrives(seed):
    rng = np.random.default_rng(seed)
    place, cube = np.array([-0.1, -0.1, 1.05]), np.array([0.05, 0.1, 0.821])
    expert = Expert(rng, "straight")
    least = float("inf")
    for step in range(14):
        hand = Hand(place.copy(), np.eye(3), np.eye(3), cube, 0.0)
        way, action = goal(hand) - place, expert.act(hand)
        if step == 0:
            assert way @ action > 0.95 * np.linalg.norm(way) * np.linalg.norm(action)
            assert np.sort(np.abs(action))[1] > 0.45
        place = place + 0.85 * STEP_M * action
        least = min(least, float(np.linalg.norm(goal(hand) - place)))
    assert least < REACHED_M


@pytest.fixture
def simulator():
    try:
        backend.require_packages()
        return backend.choose_gl()
    except DatasetError as error:
        pytest.skip(f"no simulator on this machine: {error}")


def test_simulated_demonstrations_arrive_and_move_as_commanded(simulator, tmp_path):
    out = tmp_path / "reach.hdf5"
    fill(LABORATORY, 2, out, 1, silent, simulator, backend.software(simulator), make_demonstrator)
    with h5py.File(out) as file:
        assert len(file["data"]) == 2
        for demo in file["data"].values():
            actions, rewards = demo["actions"][:], demo["rewards"][:]
            assert actions.shape == (12, 3)
            assert demo["obs/agentview_image"].shape == (12, 64, 64, 3)
            assert rewards[0] == 0
            assert rewards.max() == 1
            moved = np.diff(demo["obs/robot0_eef_pos"][:].astype(float), axis=0)
            assert np.corrcoef(moved.ravel(), actions[:-1].ravel())[0, 1] > 0.97
            assert np.ptp(demo["obs/robot0_gripper_qpos"][:], axis=0).max() < 0.01  # it stays open


def test_behaviour_cloning_in_the_simulator_from_the_command(simulator, tmp_path):
    import typer
    from typer.testing import CliRunner

    from genie_cli.bc import bc

    app = typer.Typer()
    app.command()(bc)
    words = [make_nano_bundle(tmp_path / "nano"), "--out", tmp_path / "bc", "--demonstrations", 2, "--steps", 2]
    words += ["--labelled", 5, "--seeds", 1, "--episodes", 1, "--only", "latents,random"]
    output = CliRunner().invoke(app, [str(w) for w in words], catch_exceptions=False, standalone_mode=False).output
    assert "| random actions |  |" in output
    assert (tmp_path / "bc" / "bc.svg").exists()


def test_without_the_simulator_it_says_what_to_install(monkeypatch):
    from genie_core.cloning.task import ReachTask

    monkeypatch.setattr(backend, "PACKAGES", ("robosuite", "no_such_simulator"))
    with pytest.raises(DatasetError, match=r"no_such_simulator.*pip install"):
        ReachTask().check()


def test_equal_seeds_for_demonstrations_and_evaluation_are_refused():
    from genie_core.cloning.task import ReachTask

    with pytest.raises(DatasetError, match="seed: got 7 for demonstrations and for evaluation, expected two seeds"):
        ReachTask(demonstration_seed=7, evaluation_seed=7).check()
