"""Folders as people have them: other files beside the data, folders that are cameras, a choice of files."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
import pytest

from genie_core.data import ReadOptions, inspect_dataset, open_dataset
from genie_core.data.formats.video.cameras import find_cameras
from genie_core.errors import DatasetError
from tests.factories.data import make_aloha, make_robomimic, make_video


def names(path: Path, **options: str) -> list[str]:
    return [episode.name for episode in open_dataset(path, options=ReadOptions(**options)).episodes]  # type: ignore[arg-type]


def make_other_hdf5(path: Path) -> None:
    """HDF5 that holds no frames; its name comes before those of episodes."""
    with h5py.File(path, "w") as file:
        file["K"] = np.eye(3)


def test_a_stray_video_and_a_calibration_beside_hdf5_are_left_out_and_told(tmp_path: Path) -> None:
    make_aloha(tmp_path / "episode_0.hdf5")
    make_video(tmp_path / "episode_0_video.mp4")
    make_other_hdf5(tmp_path / "calibration.h5")
    dataset = open_dataset(tmp_path)
    assert (dataset.format, [episode.name for episode in dataset.episodes]) == ("aloha", ["episode_0"])
    assert "1 HDF5 file of no known layout left out: calibration.h5" in dataset.warnings
    assert "1 video file left out: episode_0_video.mp4" in dataset.warnings


def test_hdf5_of_no_layout_beside_videos_is_left_out_and_told(tmp_path: Path) -> None:
    for episode in range(4):
        make_other_hdf5(tmp_path / f"e{episode}.h5")
    make_video(tmp_path / "a.mp4")
    dataset = open_dataset(tmp_path)
    assert [episode.name for episode in dataset.episodes] == ["a"]
    assert dataset.warnings == ("4 HDF5 files of no known layout left out: e0.h5, e1.h5, e2.h5, ...",)


def test_low_dimensional_files_beside_those_with_images_are_left_out(tmp_path: Path) -> None:
    make_robomimic(tmp_path / "image.hdf5", size=16)
    make_robomimic(tmp_path / "low_dim.hdf5", size=16)
    with h5py.File(tmp_path / "low_dim.hdf5", "r+") as file:
        for demo in file["data"].values():
            del demo["obs/agentview_image"]
    dataset = open_dataset(tmp_path)
    assert [episode.name for episode in dataset.episodes] == ["image/demo_0", "image/demo_1"]
    assert any("low_dim.hdf5: left out, it has no camera images" in warning for warning in dataset.warnings)


def test_hdf5_of_two_layouts_is_for_the_user_to_choose(tmp_path: Path) -> None:
    make_robomimic(tmp_path / "lift.hdf5", size=16)
    make_aloha(tmp_path / "episode_0.hdf5")
    with pytest.raises(DatasetError, match=r"several layouts.*aloha: 1 .*robomimic: 1 .*--include PATTERN"):
        open_dataset(tmp_path)
    assert names(tmp_path, include="lift*") == ["lift/demo_0", "lift/demo_1"]
    assert names(tmp_path, include="episode_*.hdf5") == ["episode_0"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.mp4", ["a", "day1/b", "day1/more/c", "day2/d"]),
        ("day1", ["day1/b", "day1/more/c"]),
        ("day1/", ["day1/b", "day1/more/c"]),
        ("day?/*.mp4", ["day1/b", "day1/more/c", "day2/d"]),
        ("c.mp4", ["day1/more/c"]),
    ],
)
def test_only_what_is_included_is_read(tmp_path: Path, pattern: str, found: list[str]) -> None:
    for name in ("a.mp4", "day1/b.mp4", "day1/more/c.mp4", "day2/d.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        make_video(tmp_path / name, frames=3)
    assert names(tmp_path, include=pattern) == found
    with pytest.raises(DatasetError, match="without robot video among those that match `none`"):
        names(tmp_path, include="none")


def test_folders_that_are_cameras(tmp_path: Path) -> None:
    for number, camera in enumerate(("front", "wrist")):
        for episode in range(3):
            file = tmp_path / f"{camera}/episode_{episode:06d}.mp4"
            file.parent.mkdir(exist_ok=True)
            make_video(file, frames=4, seed=10 * number + episode)
    with pytest.raises(DatasetError, match="several cameras, expected a choice of one: front, wrist"):
        open_dataset(tmp_path)
    dataset = open_dataset(tmp_path, camera="wrist")
    assert [episode.name for episode in dataset.episodes] == [f"episode_{episode:06d}" for episode in range(3)]
    np.testing.assert_array_equal(
        dataset.episodes[1].frames(), open_dataset(tmp_path / "wrist/episode_000001.mp4").episodes[0].frames()
    )
    report = inspect_dataset(tmp_path)
    assert (report.can_label, report.cameras, len(report.episodes)) == (False, ("front", "wrist"), 3)


def paths(*names: str) -> list[PurePosixPath]:
    return [PurePosixPath(name) for name in names]


@pytest.mark.parametrize(
    ("files", "cameras"),
    [
        (
            ("s/Fri_07/recordings/MP4/22.mp4", "s/Fri_07/recordings/MP4/24.mp4"),
            {"22": ["s/Fri_07"], "24": ["s/Fri_07"]},
        ),
        (
            ("o/3/6/videos/head_color.mp4", "o/3/6/videos/hand_left_color.mp4", "o/3/7/videos/head_color.mp4"),
            {"head_color": ["o/3/6/videos", "o/3/7/videos"], "hand_left_color": ["o/3/6/videos"]},
        ),
        (("t/cam1/0.mp4", "t/cam2/0.mp4"), {"cam1": ["t/0"], "cam2": ["t/0"]}),
        (("images0/e.mp4", "images1/e.mp4"), {"images0": ["e"], "images1": ["e"]}),
    ],
)
def test_cameras_are_told_by_names(files: tuple[str, ...], cameras: dict[str, list[str]]) -> None:
    assert {camera: list(episodes) for camera, episodes in find_cameras(paths(*files)).items()} == cameras


@pytest.mark.parametrize(
    "files",
    [
        ("task_a/episode_0.mp4", "task_b/episode_0.mp4"),
        ("front/a.mp4", "front/b.mp4"),
        ("front/a.mp4", "b.mp4"),
        ("pick/0.mp4", "place/0.mp4", "front/0.mp4"),
        ("12.mp4", "13.mp4"),
        (),
    ],
)
def test_other_folders_are_no_cameras(files: tuple[str, ...]) -> None:
    assert find_cameras(paths(*files)) == {}


def test_a_labelled_camera_of_a_folder_is_found_again(tmp_path: Path) -> None:
    from genie_core.data.export.source import open_export_source
    from tests.factories.labelled import label_file

    for camera in ("front", "wrist"):
        (tmp_path / f"set/{camera}").mkdir(parents=True)
        make_video(tmp_path / f"set/{camera}/e.mp4", seed=len(camera))
    labelled = label_file(tmp_path / "set", options=ReadOptions(camera="wrist"))
    source = open_export_source(labelled.path)
    frames = source.source_frames(source.provenance.episodes[0]).frames()
    np.testing.assert_array_equal(frames, open_dataset(tmp_path / "set/wrist/e.mp4").episodes[0].frames())
    shutil.rmtree(tmp_path / "set")
    assert source.labels(source.provenance.episodes[0]).valid.any()
