"""The Gymnasium environments against a real server, checked by Gymnasium's own checker too."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env  # noqa: E402

from genie_client import Client, RequestError  # noqa: E402
from genie_client.embedded import embedded_server  # noqa: E402
from genie_client.gym import GenieEnv, GenieVectorEnv  # noqa: E402
from genie_core.alignment import alignment_path, save_alignment  # noqa: E402
from genie_core.bundles import shipped  # noqa: E402
from genie_core.models.bundle import read_bundle_info  # noqa: E402
from tests.factories.alignment import make_alignment  # noqa: E402
from tests.factories.squares import draw_squares  # noqa: E402


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The shipped model that moves frames, with an alignment of two numbers, around 5."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(shipped("motion"), folder / "motion")
    info = read_bundle_info(folder / "motion")
    save_alignment(alignment_path(folder / "motion", "arm"), make_alignment(info, observe=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        with embedded_server(folder) as found:
            yield found


def square(y: int, x: int) -> np.ndarray:
    return draw_squares(np.array([[y, x]]), 64, np.random.default_rng(0))[0]


PROMPT = square(20, 20)


@pytest.mark.parametrize("alignment", [None, "arm"])
def test_gymnasiums_own_checker_is_content(address: str, alignment: str | None) -> None:
    env = gymnasium.make(
        "genie_client.gym:Genie-v0",
        address=address,
        prompt=PROMPT,
        alignment=alignment,
        render_mode="rgb_array",
        disable_env_checker=True,
    )
    check_env(env.unwrapped, skip_render_check=False)
    env.close()


def test_observations_have_the_size_that_is_asked_for(address: str) -> None:
    with closing(GenieEnv(address, prompt=PROMPT, frame_size=(48, 80))) as env:
        assert env.observation_space.shape == (48, 80, 3)
        first, _ = env.reset(seed=0)
        moved, *_ = env.step(1)
    assert first.shape == moved.shape == (48, 80, 3)
    with pytest.raises(RequestError, match="frame_size"):
        GenieEnv(address, prompt=PROMPT, frame_size=(4, 80))


def test_an_episode_is_a_rollout_and_starts_where_it_is_told(address: str) -> None:
    env = GenieEnv(address, max_steps=3, render_mode="rgb_array")
    with pytest.raises(RequestError, match="expected reset"):
        env.step(0)
    with pytest.raises(RequestError, match="prompt: got none"):
        env.reset()
    first, _ = env.reset(seed=1, options={"prompt": PROMPT})
    np.testing.assert_array_equal(first, PROMPT)
    frames, ends = [], []
    for code in (1, 2, 1):
        frame, reward, terminated, truncated, info = env.step(np.int64(code))
        frames.append(frame)
        ends.append((reward, terminated, truncated, info["out_of_range"]))
    assert ends == [(0.0, False, False, ()), (0.0, False, False, ()), (0.0, False, True, ())]
    np.testing.assert_array_equal(env.render(), frames[-1])
    with Client(address) as client:
        np.testing.assert_array_equal(client.rollout(PROMPT, [1, 2, 1]), frames)
    with pytest.raises(RequestError, match="got speed, expected prompt and goal"):
        env.reset(options={"prompt": PROMPT, "speed": 1})
    env.close()


def test_robot_actions_out_of_range_are_taken_and_told(address: str) -> None:
    env = GenieEnv(address, prompt=PROMPT, alignment="arm")
    assert env.action_space.shape == (2,)
    env.reset()
    assert env.step(np.array([5.0, 5.0]))[4]["out_of_range"] == ()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert env.step(np.array([5.0, 500.0]))[4]["out_of_range"] == (1,)
    env.close()


def test_the_goal_is_nearer_the_less_has_to_move_and_reached_where_nothing_has(address: str) -> None:
    env = GenieEnv(address, goal=PROMPT, max_steps=None)
    distances = [env.reset(options={"prompt": square(20, 20 + x)})[1]["distance"] for x in (0, 2, 5)]
    assert distances[0] == 0
    assert distances[0] < distances[1] < distances[2]
    still = int(np.linalg.norm(env._info.codebook, axis=1).argmin())
    env.reset(options={"prompt": PROMPT})
    _, reward, terminated, truncated, info = env.step(still)
    assert reward == -info["distance"]
    assert (terminated, truncated) == (info["distance"] < 0.25, False)
    env.close()


def test_several_at_once_are_as_one_each_and_start_again(address: str) -> None:
    made = gymnasium.make_vec("genie_client.gym:Genie-v0", num_envs=3, address=address, prompt=PROMPT, max_steps=2)
    assert isinstance(made.unwrapped, GenieVectorEnv)
    first, _ = made.reset(seed=0)
    assert first.shape == (3, *PROMPT.shape)
    assert made.observation_space.contains(first)
    frames, rewards, terminated, truncated, infos = made.step(np.array([0, 1, 2]))
    assert (rewards.tolist(), terminated.any(), truncated.any()) == ([0, 0, 0], False, False)
    assert len(infos["confidence"]) == 3
    with Client(address) as client:
        for code, frame in enumerate(frames):
            np.testing.assert_array_equal(client.rollout(PROMPT, [code])[0], frame)
    assert made.step(np.array([0, 1, 2]))[3].all()
    again, *_ = made.step(np.array([0, 1, 2]))
    np.testing.assert_array_equal(again, first)
    made.close()
