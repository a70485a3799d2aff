"""Files of ALOHA / ACT: plain and compressed, several cameras, odd numbers, colours, rates, and what may be wrong."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data import ReadOptions, encode_image, inspect_dataset, open_dataset
from genie_core.errors import DatasetError
from tests.factories.data import make_aloha, make_frames, make_robomimic

CAMERAS = ("cam_high", "cam_left_wrist", "cam_right_wrist")


def make_folder(folder: Path, numbers: tuple[int, ...] = (10, 0, 3), **how: object) -> Path:
    folder.mkdir()
    for number in numbers:
        make_aloha(folder / f"episode_{number}.hdf5", seed=number, **how)  # type: ignore[arg-type]
    return folder


def test_an_episode_a_file_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    dataset = open_dataset(make_folder(tmp_path / "task"), fps=50)
    assert (dataset.format, dataset.camera) == ("aloha", "top")
    assert [episode.name for episode in dataset.episodes] == ["episode_0", "episode_3", "episode_10"]
    episode = dataset.episodes[1]
    np.testing.assert_array_equal(episode.frames(), make_frames(8, 24, 32, seed=3))
    np.testing.assert_array_equal(np.concatenate([*episode.chunks(3)]), make_frames(8, 24, 32, seed=3))
    actions, states = episode.actions, episode.array("observations/qpos")
    assert actions is not None
    assert states is not None
    assert actions.shape == states.shape == (8, 14)
    assert actions.dtype == np.float32


def test_a_camera_goes_by_its_name(tmp_path: Path) -> None:
    path = make_aloha(tmp_path / "episode_3.hdf5", cameras=CAMERAS)
    with pytest.raises(DatasetError, match="expected a choice of one: cam_high, cam_left_wrist, cam_right_wrist"):
        open_dataset(path)
    (episode,) = open_dataset(path, camera="cam_left_wrist").episodes
    assert episode.name == "episode_3"
    np.testing.assert_array_equal(episode.frames(), make_frames(8, 24, 32, seed=1))


def test_what_is_no_camera_is_named_and_stops_nothing(tmp_path: Path) -> None:
    path = make_aloha(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "r+") as file:
        file["observations/images/depth"] = np.zeros((8, 24, 32), np.uint16)
    assert open_dataset(path, fps=50).camera == "top"
    (warning,) = inspect_dataset(path, fps=50).warnings
    assert "observations/images/depth: no camera: got uint16" in warning
    with h5py.File(path, "r+") as file:
        del file["observations/images/top"]
    with pytest.raises(DatasetError, match=r"no camera that can be read: .*depth"):
        open_dataset(path)


@pytest.mark.parametrize("lengths", [True, False])
def test_compressed_pictures_have_the_colours_that_acts_code_sees(tmp_path: Path, lengths: bool) -> None:
    path = make_aloha(tmp_path / "episode_0.hdf5", compressed=True)
    if not lengths:
        with h5py.File(path, "r+") as file:
            del file["compress_len"]
    (episode,) = open_dataset(path).episodes
    wanted = make_frames(8, 24, 32).astype(int)
    assert np.abs(episode.frames() - wanted).mean() < 2
    assert (episode.height, episode.width) == (24, 32)
    swapped = open_dataset(path, options=ReadOptions(colour="rgb")).episodes[0].frames()
    np.testing.assert_array_equal(swapped[..., ::-1], episode.frames())


def test_plain_pictures_are_rgb_unless_told(tmp_path: Path) -> None:
    path = make_aloha(tmp_path / "episode_0.hdf5")
    swapped = open_dataset(path, options=ReadOptions(colour="bgr", flip=True)).episodes[0].frames(2, 4)
    np.testing.assert_array_equal(swapped, make_frames(8, 24, 32)[2:4, ::-1, :, ::-1])


def test_inspect_says_what_it_takes_the_files_for(tmp_path: Path) -> None:
    report = inspect_dataset(make_folder(tmp_path / "task", compressed=True))
    assert (report.format, report.files, report.colour, report.can_label) == ("aloha", 3, "bgr", True)
    assert report.why == "episode_0.hdf5: it holds observations/images/<camera>"
    assert any("read as BGR, since ACT's own code gives RGB arrays to OpenCV" in fact for fact in report.facts)
    assert any("50 frames a second" in fact for fact in report.facts)
    assert any("frame rate of 3 episodes is unknown" in warning for warning in report.warnings)
    assert inspect_dataset(tmp_path / "task", fps=50, thorough=True).can_label


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_damaged_jpeg_in_the_middle_is_named(tmp_path: Path, damage: str) -> None:
    path = make_aloha(tmp_path / "episode_0.hdf5", frames=12, size=(64, 64), compressed=True)
    with h5py.File(path, "r+") as file:
        rows = file["observations/images/top"]
        row = rows[7]
        length = len(row.tobytes().rstrip(b"\0"))
        if damage == "cut":
            row[length // 2 :] = 0
        else:
            row[length // 2 : length // 2 + 60] = 255
        rows[7] = row
    (episode,) = open_dataset(path).episodes
    assert episode.frames(0, 7).shape == (7, 64, 64, 3)
    with pytest.raises(DatasetError, match=r"episode_0\.hdf5: frame 7 of observations/images/top: .*damaged image"):
        list(episode.chunks(5))
    report = inspect_dataset(path, fps=50, thorough=True)
    assert "frame 7" in report.obstacles[0]


def test_what_one_file_of_many_lacks_is_named_and_stops_only_it(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "task", numbers=(0, 1, 2, 3, 4, 5))
    with h5py.File(folder / "episode_1.hdf5", "r+") as file:
        del file["observations/images/top"]
    with h5py.File(folder / "episode_2.hdf5", "r+") as file:
        del file["action"]
        file["action"] = np.zeros((5, 14))
    (folder / "episode_3.hdf5").write_bytes(b"\x89HDF nothing")
    make_aloha(folder / "episode_4.hdf5", compressed=True)
    make_robomimic(folder / "episode_5.hdf5", size=8)
    good, no_camera, odd_actions, broken, compressed, other = open_dataset(folder, fps=50).episodes
    assert good.num_frames == 8
    with pytest.raises(DatasetError, match=r"episode_1\.hdf5: has no frames at `observations/images/top`"):
        _ = no_camera.num_frames
    with pytest.raises(DatasetError, match=r"episode_2.*got actions of shape \(5, 14\) for 8 frames"):
        _ = odd_actions.actions
    with pytest.raises(DatasetError, match=r"episode_3\.hdf5"):
        _ = broken.num_frames
    with pytest.raises(DatasetError, match=r"got JPEG or PNG, expected arrays \(T, H, W, 3\) like the rest"):
        compressed.frames()
    with pytest.raises(DatasetError, match="has no frames at"):
        other.frames()
    report = inspect_dataset(folder, fps=50)
    assert [episode.frames is None for episode in report.episodes] == [False, True, False, True, True, True]
    assert not report.can_label


def test_a_first_file_that_cannot_be_opened_hides_no_format(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "task", numbers=(1, 2))
    (folder / "episode_0.hdf5").write_bytes(b"")
    dataset = open_dataset(folder, fps=50)
    assert (dataset.format, len(dataset.episodes)) == ("aloha", 3)


def test_sizes_that_differ_within_an_episode_are_an_error_and_between_episodes_a_warning(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "task", numbers=(0,))
    make_aloha(folder / "episode_1.hdf5", size=(30, 40))
    report = inspect_dataset(folder, fps=50)
    assert report.can_label
    assert "frame sizes differ: 24 x 32, 30 x 40: each episode is resized to the model's size" in report.warnings[0]
    path = make_aloha(tmp_path / "mixed.hdf5", compressed=True, frames=3)
    with h5py.File(path, "r+") as file:
        rows = file["observations/images/top"][()]
        small = np.frombuffer(encode_image(np.zeros((8, 8, 3), np.uint8), "jpeg"), np.uint8)
        rows[2] = 0
        rows[2, : len(small)] = small[: rows.shape[1]]
        file["observations/images/top"][...] = rows
    with pytest.raises(DatasetError, match=r"frame 2 .* is of \(8, 8\) pixels, expected \(24, 32\) like the first"):
        open_dataset(path).episodes[0].frames()


@pytest.mark.parametrize("wrong", [0, -1.0, float("nan"), "fast"])
def test_a_rate_that_can_be_none_is_named(tmp_path: Path, wrong: object) -> None:
    path = make_aloha(tmp_path / "episode_0.hdf5")
    with h5py.File(path, "r+") as file:
        file.attrs["fps"] = wrong
    with pytest.raises(DatasetError, match=f"attribute fps of `/`: got {wrong}, expected frames a second above 0"):
        _ = open_dataset(path).episodes[0].fps
    assert open_dataset(path, fps=50).episodes[0].fps == 50
    with h5py.File(path, "r+") as file:
        file.attrs["fps"] = 25
    report = inspect_dataset(path)
    assert (report.fps, report.fps_source, report.can_label) == (25, "attribute fps", True)
