import json
import multiprocessing
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data import Episode, inspect_dataset, open_dataset
from genie_core.errors import DatasetError
from tests.factories.data import make_frames, make_robomimic


def replace_camera(path: Path, demo: str, array: np.ndarray) -> Path:
    with h5py.File(path, "r+") as file:
        del file[f"data/{demo}/obs/agentview_image"]
        file[f"data/{demo}/obs/agentview_image"] = array
    return path


def test_reads_frames_in_any_way(tmp_path: Path) -> None:
    episode = open_dataset(make_robomimic(tmp_path / "a.hdf5", frames=10, size=16)).episodes[1]
    frames = make_frames(10, 16, 16, seed=1)
    np.testing.assert_array_equal(episode.frames(), frames)
    np.testing.assert_array_equal(episode.frames(3, -2), frames[3:-2])
    np.testing.assert_array_equal(episode.frames(8, 3), frames[8:3])
    chunks = list(episode.chunks(4))
    assert [len(chunk) for chunk in chunks] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate(chunks), frames)
    with pytest.raises(ValueError, match="chunk size"):
        episode.chunks(0)


def test_tells_what_an_episode_is(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", episodes=3, frames=10, size=16, fps=20)
    dataset = open_dataset(path)
    assert (dataset.format, dataset.cameras, dataset.camera) == ("robomimic", ("agentview_image",), "agentview_image")
    assert dataset.fps == 20
    assert dataset.masks == {"train": ("demo_0", "demo_1"), "valid": ("demo_2",)}
    episode = dataset.episodes[2]
    assert (episode.name, episode.source, episode.camera) == ("demo_2", path, "agentview_image")
    assert (episode.num_frames, episode.height, episode.width, episode.fps) == (10, 16, 16, 20)
    actions = episode.actions
    assert actions is not None
    assert (actions.shape, actions.dtype) == ((10, 7), np.float64)
    positions = episode.array("obs/robot0_eef_pos")
    assert positions is not None
    assert positions.shape == (10, 3)
    assert episode.array("rewards") is None


def test_orders_demos_by_number_and_ignores_other_keys(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", episodes=12, frames=3, size=8)
    with h5py.File(path, "r+") as file:
        file.create_group("data/notes")
    assert [episode.name for episode in open_dataset(path).episodes] == [f"demo_{index}" for index in range(12)]


@pytest.mark.parametrize(
    ("attributes", "fps"),
    [
        ({"fps": 15.0, "env_args": json.dumps({"env_kwargs": {"control_freq": 20}})}, 15),
        ({"env_args": json.dumps({"env_kwargs": {"control_freq": 20}})}, 20),
        ({"env_args": "not JSON"}, None),
        ({"env_args": json.dumps({"env_kwargs": None})}, None),
        ({"fps": 0.0, "env_args": json.dumps({"env_kwargs": {"control_freq": 20}})}, 20),
        ({}, None),
    ],
)
def test_finds_the_frame_rate_or_none(tmp_path: Path, attributes: dict[str, object], fps: float | None) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", size=8)
    with h5py.File(path, "r+") as file:
        file["data"].attrs.clear()
        file["data"].attrs.update(attributes)
    assert open_dataset(path).fps == fps


@pytest.mark.parametrize("wrong", ["fast", 0.0, -5, float("nan")])
def test_a_rate_that_can_be_none_is_named_until_the_true_one_is_given(tmp_path: Path, wrong: object) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", size=8, fps=None)
    with h5py.File(path, "r+") as file:
        file["data/demo_1"].attrs["fps"] = wrong
    good, bad = open_dataset(path).episodes
    assert good.fps is None
    with pytest.raises(DatasetError, match=rf"demo_1: attribute fps of the demo: got {wrong}.*give the frame rate"):
        _ = bad.fps
    assert open_dataset(path, fps=10).episodes[1].fps == 10
    with h5py.File(path, "r+") as file:
        file["data"].attrs["fps"] = wrong
    with pytest.raises(DatasetError, match=f"attribute fps of the group data: got {wrong}"):
        _ = open_dataset(path).episodes[0].fps


def test_demos_need_not_be_numbered_without_gaps(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", episodes=3, size=8)
    with h5py.File(path, "r+") as file:
        file.move("data/demo_1", "data/demo_120")
        file.move("data/demo_0", "data/take_0")
    assert [episode.name for episode in open_dataset(path).episodes] == ["demo_2", "demo_120"]
    (warning,) = inspect_dataset(path).warnings
    assert "ignored, not a demo: take_0" in warning


def test_a_demo_may_have_a_rate_of_its_own(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", size=8, fps=10)
    with h5py.File(path, "r+") as file:
        file["data/demo_1"].attrs["fps"] = 5.0
    dataset = open_dataset(path)
    assert [episode.fps for episode in dataset.episodes] == [10, 5]
    assert dataset.fps is None


def test_the_default_camera_is_taken_of_several(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", size=8)
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            demo["obs/wrist_image"] = make_frames(12, 8, 8, seed=9)
    assert open_dataset(path).camera == "agentview_image"
    wrist = open_dataset(path, camera="wrist_image").episodes[0]
    np.testing.assert_array_equal(wrist.frames(), make_frames(12, 8, 8, seed=9))
    with pytest.raises(DatasetError, match="no camera `top`; the cameras are: agentview_image, wrist_image"):
        open_dataset(path, camera="top")


def test_the_user_must_choose_among_unknown_cameras(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", size=8, camera="left")
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            demo["obs/right"] = make_frames(12, 8, 8)
    with pytest.raises(DatasetError, match="several cameras, expected a choice of one: left, right"):
        open_dataset(path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((12, 8, 8, 3), np.float32), "got float32"),
        (np.zeros((12, 8, 8, 3), np.uint16), "got uint16"),
        (np.zeros((12, 8, 8, 1), np.uint8), "grey"),
        (np.zeros((12, 8, 8), np.uint8), "grey"),
        (np.zeros((12, 8, 8, 4), np.uint8), "RGBA"),
        (np.zeros((12, 3, 8, 8), np.uint8), "channels come first"),
        (np.zeros((0,), np.uint8), "expected uint8 of shape"),
    ],
)
def test_refuses_other_images_naming_file_and_demo(tmp_path: Path, array: np.ndarray, message: str) -> None:
    path = replace_camera(make_robomimic(tmp_path / "a.hdf5", size=8), "demo_1", array)
    with pytest.raises(DatasetError, match=rf"a\.hdf5: demo_1: obs/agentview_image: .*{message}"):
        open_dataset(path)


def test_says_why_the_only_images_are_no_camera(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", episodes=1, size=8)
    replace_camera(path, "demo_0", np.zeros((12, 8, 8, 3), np.float32))
    with pytest.raises(DatasetError, match="no camera that can be read: obs/agentview_image: got float32"):
        open_dataset(path)
    with pytest.raises(DatasetError, match=r"no camera `agentview_image` .*got float32.*the cameras are: none"):
        open_dataset(path, camera="agentview_image")


def test_a_low_dimensional_dataset_is_told_how_to_get_images(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", size=8)
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            del demo["obs/agentview_image"]
    with pytest.raises(DatasetError, match=r"no camera images in obs.*dataset_states_to_obs\.py"):
        open_dataset(path)


def test_a_camera_missing_in_one_demo_is_named(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", size=8)
    with h5py.File(path, "r+") as file:
        del file["data/demo_1/obs/agentview_image"]
    with pytest.raises(DatasetError, match=r"demo_1 has no camera `agentview_image`.*robot0_eef_pos"):
        open_dataset(path)
    with h5py.File(path, "r+") as file:
        del file["data/demo_1/obs"]
    with pytest.raises(DatasetError, match="demo_1 has no group `obs`"):
        open_dataset(path)


@pytest.mark.parametrize("frames", [0, 1])
def test_an_episode_of_hardly_any_frames_is_listed(tmp_path: Path, frames: int) -> None:
    path = replace_camera(make_robomimic(tmp_path / "a.hdf5", size=8), "demo_1", make_frames(frames, 8, 8))
    episode = open_dataset(path).episodes[1]
    assert episode.num_frames == frames
    assert episode.frames().shape == (frames, 8, 8, 3)
    assert sum(len(chunk) for chunk in episode.chunks(4)) == frames


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("runs/7/front", r"say where the frames are \(--frames 'runs/\*/front'\)"),
        ("frames", "--frames 'frames'"),
        (None, "nothing that looks like frames"),
    ],
)
def test_a_file_of_no_layout_is_told_what_was_looked_for(tmp_path: Path, key: str | None, message: str) -> None:
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        if key is not None:
            file[key] = np.zeros((2, 8, 8, 3), np.uint8)
    looked_for = "looked for libero: .*robomimic: `data/demo_0.*aloha: `observations/images"
    with pytest.raises(DatasetError, match=f"{looked_for}.*{message}"):
        open_dataset(path)


def test_a_file_without_demos_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file.create_group("data/episode_0")
    with pytest.raises(DatasetError, match="HDF5 in no known layout"):
        open_dataset(path)


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", size=8)
    with h5py.File(path, "r+") as file:
        del file["data/demo_1/obs"]
        file["data/demo_1/obs"] = h5py.ExternalLink("gone.hdf5", "/data/demo_1/obs")
    with pytest.raises(DatasetError, match=r"demo_1: `obs` is a link to gone\.hdf5"):
        open_dataset(path)


def test_damage_within_the_frames_is_found_when_they_are_read(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", episodes=1, size=8)
    with h5py.File(path, "r+") as file:
        del file["data/demo_0/obs/agentview_image"]
        frames = file.create_dataset(
            "data/demo_0/obs/agentview_image", data=make_frames(12, 8, 8), chunks=(12, 8, 8, 3), compression="gzip"
        )
        offset, size = frames.id.get_chunk_info(0).byte_offset, frames.id.get_chunk_info(0).size
    data = bytearray(path.read_bytes())
    data[offset : offset + size] = bytes(size)
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"a\.hdf5: damaged HDF5 file"):
        open_dataset(path).episodes[0].frames()


def sum_of_frames(episode: Episode) -> int:
    return int(episode.frames().sum())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_episodes_are_read_in_other_processes(tmp_path: Path, method: str) -> None:
    episodes = open_dataset(make_robomimic(tmp_path / "a.hdf5", episodes=4, frames=3, size=8)).episodes
    here = [sum_of_frames(episode) for episode in episodes]
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(sum_of_frames, episodes) == here
    assert pickle.loads(pickle.dumps(episodes[0])) == episodes[0]
