"""HDF5 layouts that are known by where frames lie: RoboTwin, ManiSkill, replay buffers; LIBERO played again."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data import ReadOptions, inspect_dataset, open_dataset
from genie_core.errors import DatasetError
from tests.factories.data import make_frames, make_libero, make_robotwin
from tests.factories.labelled import label_file


def make_maniskill(path: Path, actions: tuple[int, ...] = (7, 9)) -> Path:
    with h5py.File(path, "w") as file:
        for number, count in enumerate(actions):
            frames = make_frames(count + 1, 32, 32, seed=number)
            file[f"traj_{number * 5}/obs/sensor_data/base_camera/rgb"] = frames
            file[f"traj_{number * 5}/obs/sensor_data/base_camera/depth"] = np.zeros((count + 1, 32, 32, 1), np.int16)
            file[f"traj_{number * 5}/actions"] = np.ones((count, 7), np.float32)
    return path


def make_replay(path: Path, ends: tuple[int, ...] = (5, 12, 15)) -> Path:
    with h5py.File(path, "w") as file:
        file["data/img"] = make_frames(15, 24, 24)
        file["data/action"] = np.arange(30.0).reshape(15, 2)
        file["meta/episode_ends"] = np.array(ends)
    return path


def test_robotwin_is_known_and_its_colours_are_put_right(tmp_path: Path) -> None:
    path = make_robotwin(tmp_path / "episode0.hdf5")
    with pytest.raises(DatasetError, match="choice of one: front_camera, head_camera"):
        open_dataset(path)
    dataset = open_dataset(path, camera="head_camera", fps=15)
    assert (dataset.camera, dataset.cameras) == ("head_camera", ("front_camera", "head_camera"))
    assert any("read as BGR, since RoboTwin's own code" in fact for fact in dataset.facts)
    (episode,) = dataset.episodes
    wanted = make_frames(8, 48, 64, seed=1)
    assert np.abs(episode.frames().astype(int) - wanted).mean() < 6
    assert episode.actions is not None
    assert episode.actions.shape == (8, 14)
    stored = open_dataset(path, options=ReadOptions(camera="head_camera", fps=15, colour="rgb")).episodes[0].frames()
    np.testing.assert_array_equal(stored[..., ::-1], episode.frames())


def test_robotwin_is_found_again_from_its_labels(tmp_path: Path) -> None:
    from genie_core.data.export.source import open_export_source

    path = make_robotwin(tmp_path / "episode0.hdf5", cameras=("head_camera",))
    labelled = label_file(path, options=ReadOptions(fps=10))
    attrs = labelled.labels_attrs(labelled.episodes[0])
    assert (attrs.camera, attrs.colour, attrs.frames_path) == ("head_camera", "bgr", "observation/head_camera/rgb")
    source = open_export_source(labelled.path)
    (episode,) = source.provenance.episodes
    action = source.robot(episode).action
    assert action is not None
    assert action.shape == (8, 14)
    again = source.source_frames(episode).frames()
    np.testing.assert_array_equal(again, open_dataset(path, fps=10).episodes[0].frames())


def test_maniskill_is_known_with_one_frame_more_than_actions(tmp_path: Path) -> None:
    path = make_maniskill(tmp_path / "trajectory.h5")
    dataset = open_dataset(path, fps=20)
    assert [(episode.name, episode.num_frames) for episode in dataset.episodes] == [("traj_0", 8), ("traj_5", 10)]
    assert all(episode.lacks_last_action for episode in dataset.episodes)
    report = inspect_dataset(path, fps=20)
    assert report.can_label
    assert any("one frame more than actions" in warning for warning in report.warnings)


def test_a_replay_buffer_is_divided_into_its_episodes(tmp_path: Path) -> None:
    path = make_replay(tmp_path / "replay.h5")
    dataset = open_dataset(path, fps=10)
    frames, actions = make_frames(15, 24, 24), np.arange(30.0).reshape(15, 2)
    bounds = [(0, 5), (5, 12), (12, 15)]
    assert [episode.name for episode in dataset.episodes] == ["episode_0", "episode_1", "episode_2"]
    for episode, (start, stop) in zip(dataset.episodes, bounds, strict=True):
        np.testing.assert_array_equal(episode.frames(), frames[start:stop])
        np.testing.assert_array_equal(np.concatenate(list(episode.chunks(2))), frames[start:stop])
        np.testing.assert_array_equal(episode.frames(1, 3), frames[start + 1 : start + 3])
        np.testing.assert_array_equal(episode.actions, actions[start:stop])
    said = open_dataset(path, fps=10, options=ReadOptions(frames_path="data/img"))
    assert [episode.num_frames for episode in said.episodes] == [5, 7, 3]


@pytest.mark.parametrize("ends", [(5, 12), (5, 4, 15), (5, 16)])
def test_episode_ends_must_fit_the_frames(tmp_path: Path, ends: tuple[int, ...]) -> None:
    with pytest.raises(DatasetError, match="`meta/episode_ends` ends at"):
        open_dataset(make_replay(tmp_path / "replay.h5", ends), fps=10)


def test_libero_without_attributes_is_turned_over_and_told(tmp_path: Path) -> None:
    path = make_libero(tmp_path / "regenerated_demo.hdf5")
    upright = open_dataset(path).episodes[0].frames()
    with h5py.File(path, "r+") as file:
        for key in list(file["data"].attrs):
            del file["data"].attrs[key]
        for demo in file["data"].values():
            if "eye_in_hand_rgb" not in demo["obs"]:
                demo["obs/eye_in_hand_rgb"] = demo["obs/agentview_rgb"][()]
    dataset = open_dataset(path, fps=20)
    assert dataset.format == "libero"
    np.testing.assert_array_equal(dataset.episodes[0].frames(), upright)
    assert any("LIBERO's cameras without its attributes" in fact for fact in dataset.facts)
    kept = open_dataset(path, fps=20, options=ReadOptions(flip=False)).episodes[0].frames()
    np.testing.assert_array_equal(kept, upright[:, ::-1])
