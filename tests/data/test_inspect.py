from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data import DatasetReport, inspect_dataset, write_video
from genie_core.errors import DatasetError
from tests.factories.data import make_frames, make_robomimic, make_video


def test_a_good_file_can_be_labelled(tmp_path: Path) -> None:
    report = inspect_dataset(make_robomimic(tmp_path / "a.hdf5", episodes=3, frames=5, size=8))
    assert report.can_label
    assert (report.obstacles, report.warnings) == ((), ())
    assert (report.format, report.files, report.frames, report.camera) == ("robomimic", 1, 15, "agentview_image")
    assert (report.fps, report.fps_source) == (10, "control_freq in the attribute env_args")
    first = report.episodes[0]
    assert (first.name, first.frames, first.height, first.width, first.problem) == ("demo_0", 5, 8, 8, None)


def test_a_report_is_json(tmp_path: Path) -> None:
    report = inspect_dataset(make_video(tmp_path / "a.mp4", frames=3))
    assert DatasetReport.model_validate_json(report.model_dump_json()) == report
    assert report.fps_source == "rate of the video"


def test_every_bad_file_of_a_folder_is_reported(tmp_path: Path) -> None:
    make_video(tmp_path / "good.mp4", frames=5)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    (tmp_path / "worse.mp4").write_bytes(b"")
    report = inspect_dataset(tmp_path)
    assert not report.can_label
    assert len(report.obstacles) == 2
    assert [episode.problem is None for episode in report.episodes] == [False, True, False]
    assert report.frames == 5
    assert report.fps == 10


def test_every_bad_demo_is_reported(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", episodes=4, size=8)
    with h5py.File(path, "r+") as file:
        del file["data/demo_1/obs/agentview_image"]
        del file["data/demo_2/obs/agentview_image"]
        file["data/demo_2/obs/agentview_image"] = np.zeros((12, 8, 8, 3))
        file.create_group("data/notes")
    report = inspect_dataset(path)
    assert [episode.frames for episode in report.episodes] == [12, None, None, 12]
    assert "demo_1 has no camera" in report.obstacles[0]
    assert "demo_2: obs/agentview_image: got float64" in report.obstacles[1]
    assert "ignored, not a demo: notes" in report.warnings[0]


@pytest.mark.parametrize("frames", [0, 1])
def test_short_episodes_are_warned_of(tmp_path: Path, frames: int) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", size=8)
    with h5py.File(path, "r+") as file:
        del file["data/demo_1/obs/agentview_image"]
        file["data/demo_1/obs/agentview_image"] = make_frames(frames, 8, 8)
    report = inspect_dataset(path)
    assert report.can_label
    assert report.warnings == (f"demo_1 has {'1 frame' if frames else '0 frames'} and so no transition, which needs 2",)
    assert report.episodes[1].problem


def test_nothing_to_label_is_an_obstacle(tmp_path: Path) -> None:
    report = inspect_dataset(make_robomimic(tmp_path / "a.hdf5", frames=1, size=8))
    assert not report.can_label
    assert report.obstacles == ("no episode has a transition to label",)


def test_an_unknown_rate_is_told_until_it_is_given(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", size=8, fps=None)
    report = inspect_dataset(path)
    assert report.can_label  # the step is found on the data
    assert any("frame rate of 2 episodes is unknown (demo_0, ...): the step is found" in w for w in report.warnings)
    assert (report.fps, report.fps_source) == (None, None)
    report = inspect_dataset(path, fps=20)
    assert report.can_label
    assert (report.fps, report.fps_source) == (20, "given")


def test_a_camera_to_choose_is_an_obstacle_until_it_is_chosen(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", size=8, camera="left")
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            demo["obs/right"] = make_frames(12, 8, 8)
            demo["obs/depth"] = np.zeros((12, 8, 8, 1), np.float32)
    report = inspect_dataset(path)
    assert not report.can_label
    assert (report.cameras, report.camera) == (("left", "right"), None)
    assert "several cameras" in report.obstacles[0]
    report = inspect_dataset(path, camera="right")
    assert report.can_label
    assert report.camera == "right"
    assert any("obs/depth: got float32" in warning for warning in report.warnings)


def test_a_truncated_file_is_reported(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", size=8)
    path.write_bytes(path.read_bytes()[:2000])
    report = inspect_dataset(path)
    assert not report.can_label
    assert "truncated" in report.obstacles[0]


def test_damaged_pictures_of_a_small_set_show_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, make_frames(25, 48, 64), 10)
    data = bytearray(path.read_bytes())
    for index in range(len(data) // 2, len(data) // 2 + 400):
        data[index] ^= 0x5A
    path.write_bytes(data)
    for thorough in (False, True):
        assert not inspect_dataset(path, thorough=thorough).can_label


def test_rates_and_times_that_differ_are_warned_of(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", frames=3, fps=30)
    make_video(tmp_path / "b.mkv", times_ms=[40 * t + (300 if t > 5 else 0) for t in range(12)])
    report = inspect_dataset(tmp_path)
    assert report.can_label
    assert "frame rates differ" in report.warnings[0]
    assert "b: frames are not evenly spaced" in report.warnings[1]


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        inspect_dataset(tmp_path / "gone.hdf5")
    with pytest.raises(DatasetError, match="fps: got 0"):
        inspect_dataset(make_video(tmp_path / "a.mp4"), fps=0)
