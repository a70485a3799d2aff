from __future__ import annotations

from pathlib import Path

import pytest

from genie_core.data import hold_out_episodes, open_dataset
from tests.factories.data import make_robomimic


@pytest.mark.parametrize(("share", "least", "count"), [(0.0, 0, 0), (0.2, 0, 1), (0.5, 0, 2), (0.01, 1, 1)])
def test_every_episode_is_on_one_side_in_its_order(tmp_path: Path, share: float, least: int, count: int) -> None:
    episodes = list(open_dataset(make_robomimic(tmp_path / "a.hdf5", episodes=5, frames=3, size=8)).episodes)
    training, held_out = hold_out_episodes(episodes, share, 3, least=least)
    assert len(held_out) == count
    assert sorted(e.name for e in [*training, *held_out]) == [e.name for e in episodes]
    for side in (training, held_out):
        assert [e.name for e in side] == sorted(e.name for e in side)
    assert hold_out_episodes(episodes, share, 3, least=least) == (training, held_out)


def test_episodes_of_one_frame_are_on_neither_side(tmp_path: Path) -> None:
    episodes = list(open_dataset(make_robomimic(tmp_path / "a.hdf5", episodes=2, frames=1, size=8)).episodes)
    assert hold_out_episodes(episodes, 0.5, 0) == ([], [])
