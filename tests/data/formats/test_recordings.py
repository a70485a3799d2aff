"""DROID's and AgiBot World's recordings: videos, and the robot in an HDF5 file elsewhere in the folder."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data import ReadOptions, open_dataset
from genie_core.data.episode import FilmSpan
from genie_core.data.export.run import ExportPlan, export_labels
from genie_core.errors import DatasetError
from tests.factories.data import make_video
from tests.factories.labelled import label_file

FRAMES = 12


def make_droid(folder: Path, rows: int = FRAMES) -> Path:
    """One episode as DROID's collection scripts leave it: a video a camera, and all else in trajectory.h5."""
    episode = folder / "success/2023-07-07/Fri_Jul__7_09:42:23_2023"
    (episode / "recordings/MP4").mkdir(parents=True)
    for number, serial in enumerate(("22008760", "24400334")):
        make_video(episode / f"recordings/MP4/{serial}.mp4", FRAMES, seed=number)
    with h5py.File(episode / "trajectory.h5", "w") as file:
        file["action/cartesian_velocity"] = np.arange(rows * 6.0).reshape(rows, 6)
        file["action/gripper_position"] = np.linspace(0, 1, rows)
        file["observation/robot_state/cartesian_position"] = np.ones((rows, 6))
        file["observation/robot_state/gripper_position"] = np.zeros(rows)
    return folder


def make_agibot(folder: Path) -> Path:
    """Two episodes as AgiBot World ships them: videos here, the robot there."""
    for number, episode in enumerate(("648642", "648649")):
        videos = folder / f"observations/327/{episode}/videos"
        videos.mkdir(parents=True)
        for camera in ("head_color", "hand_left_color"):
            make_video(videos / f"{camera}.mp4", FRAMES, seed=number)
        robot = folder / f"proprio_stats/327/{episode}"
        robot.mkdir(parents=True)
        with h5py.File(robot / "proprio_stats.h5", "w") as file:
            for kind in ("action", "state"):
                file[f"{kind}/joint/position"] = np.full((FRAMES, 14), number)
                file[f"{kind}/effector/position"] = np.full((FRAMES, 2), 10 + number)
    return folder


def test_the_robot_of_a_droid_recording_is_read_with_its_videos(tmp_path: Path) -> None:
    dataset = open_dataset(make_droid(tmp_path / "droid", rows=FRAMES + 1), camera="22008760")
    (episode,) = dataset.episodes
    assert episode.actions is not None
    np.testing.assert_array_equal(episode.actions[:, :6], np.arange(FRAMES * 6.0).reshape(FRAMES, 6))
    np.testing.assert_allclose(episode.actions[:, 6], np.linspace(0, 1, FRAMES + 1)[:FRAMES])
    state = episode.proprioception
    assert state is not None
    assert state.state_TS.shape == (FRAMES, 7)
    assert state.names[-1] == "observation/robot_state/gripper_position"
    assert not dataset.warnings
    assert any("trajectory.h5, row i is frame i" in fact for fact in dataset.facts)
    assert episode.film == FilmSpan(Path(str(episode.source)), 0, FRAMES)  # what views show and exports copy


def test_rows_that_do_not_fit_the_frames_are_an_error_where_actions_are_used(tmp_path: Path) -> None:
    (episode,) = open_dataset(make_droid(tmp_path / "droid", rows=FRAMES + 5), camera="24400334").episodes
    assert episode.num_frames == FRAMES
    with pytest.raises(DatasetError, match=r"got actions of shape \(17, 7\) for 12 frames"):
        _ = episode.actions


def test_the_robot_of_agibots_recordings_is_read_and_exported(tmp_path: Path) -> None:
    source = make_agibot(tmp_path / "agibot")
    dataset = open_dataset(source, camera="head_color")
    for number, episode in enumerate(dataset.episodes):
        assert episode.actions is not None
        assert episode.proprioception is not None
        assert episode.actions[3].tolist() == [number] * 14 + [10 + number] * 2
        assert episode.proprioception.state_TS[3].tolist() == [number] * 14 + [10 + number] * 2
    assert not dataset.warnings
    labelled = label_file(source, options=ReadOptions(camera="head_color"))
    report = export_labels(labelled.path, tmp_path / "out", ExportPlan("lerobot"))
    assert (report.action_dim, report.state_dim) == (16, 16)
    [video] = report.videos.values()
    assert video.encoded is None  # copied
