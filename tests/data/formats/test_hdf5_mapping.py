"""HDF5 files of no known layout, described by where their frames and actions lie."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_core.data import ReadOptions, inspect_dataset, open_dataset
from genie_core.data.formats.hdf5.mapping import natural_key
from genie_core.errors import DatasetError
from tests.factories.data import make_frames, make_nested

NESTED = ReadOptions(fps=15, frames_path="trajectories/*/images/front", actions_path="/trajectories/*/robot/command")


@pytest.mark.parametrize("storage", ["last", "first", "vlen", "bytes"])
def test_every_way_to_store_frames_gives_the_same(tmp_path: Path, storage: str) -> None:
    dataset = open_dataset(make_nested(tmp_path / "a.h5", storage=storage), options=NESTED)
    assert (dataset.format, dataset.camera, dataset.fps) == ("hdf5", "front", 15)
    assert [episode.name for episode in dataset.episodes] == ["2", "9", "16"]
    for index, episode in enumerate(dataset.episodes):
        np.testing.assert_array_equal(episode.frames(), make_frames(6, 16, 20, seed=index))
        np.testing.assert_array_equal(np.concatenate([*episode.chunks(4)]), episode.frames())
        assert (episode.height, episode.width) == (16, 20)
    actions, command = dataset.episodes[1].actions, dataset.episodes[1].array("robot/command")
    assert actions is not None
    assert command is not None
    np.testing.assert_array_equal(actions, command)
    assert dataset.episodes[1].array("robot/state") is None
    assert dataset.facts[0].startswith("frames are ")


def test_a_file_may_be_one_episode(tmp_path: Path) -> None:
    for number in (1, 12, 2):
        with h5py.File(tmp_path / f"run_{number}.h5", "w") as file:
            file["camera/rgb"] = make_frames(5, 8, 12, seed=number)
            file["camera/rgb"].attrs["fps"] = 30.0
    dataset = open_dataset(tmp_path, options=ReadOptions(frames_path="camera/rgb"))
    assert [episode.name for episode in dataset.episodes] == ["run_1", "run_12", "run_2"]
    np.testing.assert_array_equal(dataset.episodes[1].frames(), make_frames(5, 8, 12, seed=12))
    report = inspect_dataset(tmp_path, options=ReadOptions(frames_path="camera/rgb"))
    assert (report.fps, report.fps_source, report.can_label) == (30, "attribute fps", True)


def test_episodes_of_many_files_bear_their_files_name(tmp_path: Path) -> None:
    make_nested(tmp_path / "monday.h5")
    make_nested(tmp_path / "tuesday.h5", episodes=1)
    names = [episode.name for episode in open_dataset(tmp_path, options=NESTED).episodes]
    assert names == ["monday/2", "monday/9", "monday/16", "tuesday/2"]


def test_several_wildcards_make_nested_names(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for lab, run in (("east", "r1"), ("east", "r2"), ("west", "r1")):
            file[f"{lab}/{run}/rgb"] = make_frames(3, 8, 8)
            file[f"moves/{lab}/{run}"] = np.zeros((3, 2))
    options = ReadOptions(frames_path="*/r*/rgb", actions_path="moves/*/*")
    dataset = open_dataset(tmp_path / "a.h5", options=options)
    assert [episode.name for episode in dataset.episodes] == ["east/r1", "east/r2", "west/r1"]
    actions = dataset.episodes[2].actions
    assert actions is not None
    assert actions.shape == (3, 2)
    with pytest.raises(DatasetError, match="more wildcards than the path of the frames"):
        open_dataset(tmp_path / "a.h5", options=ReadOptions(frames_path="east/*/rgb", actions_path="moves/*/*"))


def test_what_an_episode_lacks_is_named(tmp_path: Path) -> None:
    path = make_nested(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file["trajectories/9/images/front"]
        del file["trajectories/16/robot/command"]
    good, bad, no_actions = open_dataset(path, options=NESTED).episodes
    assert good.num_frames == 6
    with pytest.raises(DatasetError, match=r"a\.h5: 9: has no frames at `trajectories/9/images/front`"):
        _ = bad.num_frames
    with pytest.raises(DatasetError, match=r"a\.h5: 16: has no actions at `trajectories/16/robot/command`"):
        _ = no_actions.actions
    report = inspect_dataset(path, options=NESTED)
    assert [episode.frames for episode in report.episodes] == [6, None, 6]
    assert "ignored, no group: trajectories/about" in report.warnings[0]


def test_a_path_that_leads_nowhere_shows_what_is_there(tmp_path: Path) -> None:
    path = make_nested(tmp_path / "a.h5")
    with pytest.raises(DatasetError, match=r"nothing at `runs/\*/rgb`.*`trajectories/\*/images/front`"):
        open_dataset(path, options=ReadOptions(frames_path="runs/*/rgb"))
    with pytest.raises(DatasetError, match=r"nothing at `rgb`"):
        open_dataset(path, options=ReadOptions(frames_path="rgb"))


@pytest.mark.parametrize("storage", ["last", "first", "vlen", "bytes"])
def test_a_file_that_nobody_has_described_is_told_how(tmp_path: Path, storage: str) -> None:
    with pytest.raises(DatasetError, match=r"--frames 'trajectories/\*/images/front'"):
        open_dataset(make_nested(tmp_path / "a.h5", storage=storage))


def test_channels_that_may_be_first_or_last_are_asked_for(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["rgb"] = np.arange(2 * 3 * 5 * 3, dtype=np.uint8).reshape(2, 3, 5, 3)
    with pytest.raises(DatasetError, match="say where the channels are"):
        _ = open_dataset(tmp_path / "a.h5", options=ReadOptions(frames_path="rgb")).episodes[0].num_frames
    sizes = {"last": (3, 5), "first": (5, 3)}
    for channels, size in sizes.items():
        options = ReadOptions(frames_path="rgb", channels=channels)  # type: ignore[arg-type]
        (episode,) = open_dataset(tmp_path / "a.h5", options=options).episodes
        assert (episode.height, episode.width) == size
        assert episode.frames().shape == (2, *size, 3)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 8, 8, 3)), "got float64"),
        (np.zeros((2, 8, 8), np.uint8), r"shape \(2, 8, 8\)"),
        (np.zeros((2, 8, 8, 4), np.uint8), r"shape \(2, 8, 8, 4\)"),
        (np.zeros((2, 40), np.uint8), "no PNG or JPEG"),
    ],
)
def test_what_is_no_frames_is_said_to_be_none(tmp_path: Path, array: np.ndarray, message: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["rgb"] = array
    with pytest.raises(DatasetError, match=message):
        open_dataset(tmp_path / "a.h5", options=ReadOptions(frames_path="rgb")).episodes[0].frames()


def test_a_path_of_actions_alone_and_another_camera_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected both"):
        open_dataset(make_nested(tmp_path / "a.h5"), options=ReadOptions(actions_path="robot/command"))
    with pytest.raises(DatasetError, match="no camera `left`"):
        open_dataset(make_nested(tmp_path / "a.h5"), camera="left", options=NESTED)


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_names_sort_by_their_numbers(numbers: list[int]) -> None:
    names = sorted((f"demo_{number}" for number in numbers), key=natural_key)
    assert names == [f"demo_{number}" for number in sorted(numbers)]
