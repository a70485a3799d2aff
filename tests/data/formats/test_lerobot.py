import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genie_core.data import Dataset, inspect_dataset, open_dataset
from genie_core.errors import DatasetError
from tests.factories.data import make_frames, make_video
from tests.factories.lerobot import LENGTHS, TOP, action_of, edit_info, make_lerobot_v21, make_lerobot_v30, state_of

MAKERS: dict[str, Callable[..., Path]] = {"v2.1": make_lerobot_v21, "v3.0": make_lerobot_v30}
both = pytest.mark.parametrize("version", MAKERS)


def open_made(folder: Path, version: str, **options: object) -> Dataset:
    return open_dataset(MAKERS[version](folder / "set", **options))


@both
@pytest.mark.parametrize("dtype", ["video", "image"])
def test_a_folder_is_recognised_and_described(tmp_path: Path, version: str, dtype: str) -> None:
    dataset = open_made(tmp_path, version, dtype=dtype)
    assert (dataset.format, dataset.cameras, dataset.camera, dataset.fps) == ("lerobot", (TOP,), TOP, 10)
    assert [episode.name for episode in dataset.episodes] == ["episode_000000", "episode_000001", "episode_000002"]
    assert [episode.num_frames for episode in dataset.episodes] == list(LENGTHS)
    assert (dataset.episodes[1].height, dataset.episodes[1].width) == (48, 64)
    assert dataset.masks == {"train": tuple(episode.name for episode in dataset.episodes)}
    assert dataset.episodes[0].source.is_file()


@both
def test_each_episode_has_its_own_frames(tmp_path: Path, version: str) -> None:
    """Those of a shared video are bit for bit what each episode's own video gives.

    That is encoded once for both: x264 gives other bytes once in some hundred times, on busy machines.
    """
    clips = tmp_path / "clips"
    shared = version == "v3.0"
    dataset = open_made(tmp_path, version, **({"clips": clips} if shared else {}))
    for number, episode in enumerate(dataset.episodes):
        own = clips / f"{number}.mp4" if shared else Path(episode.source)
        wanted = open_dataset(own).episodes[0].frames()
        assert len(wanted) == LENGTHS[number]
        np.testing.assert_array_equal(np.concatenate(list(episode.chunks(4))), wanted)
        for start, stop in [(0, 1), (1, 4), (3, 5), (4, 99), (2, 2)]:
            np.testing.assert_array_equal(episode.frames(start, stop), wanted[start:stop])
        assert [len(chunk) for chunk in episode.chunks(4)][:-1] == [4] * ((LENGTHS[number] - 1) // 4)


@both
def test_images_in_the_table_are_frames(tmp_path: Path, version: str) -> None:
    for number, episode in enumerate(open_made(tmp_path, version, dtype="image").episodes):
        wanted = make_frames(LENGTHS[number], 48, 64, seed=number)
        np.testing.assert_array_equal(episode.frames(), wanted)
        np.testing.assert_array_equal(episode.frames(2, 4), wanted[2:4])
        assert [len(chunk) for chunk in episode.chunks(4)][:-1] == [4] * ((LENGTHS[number] - 1) // 4)
        np.testing.assert_array_equal(np.concatenate(list(episode.chunks(4))), wanted)


@both
def test_numbers_are_those_of_the_episode(tmp_path: Path, version: str) -> None:
    for number, episode in enumerate(open_made(tmp_path, version).episodes):
        length = LENGTHS[number]
        np.testing.assert_array_equal(episode.array("observation.state"), state_of(number, length))
        np.testing.assert_array_equal(episode.array("action"), action_of(number, length))
        np.testing.assert_array_equal(episode.actions, action_of(number, length).astype(np.float64))
        np.testing.assert_array_equal(episode.array("frame_index"), np.arange(length))
        done, grid = episode.array("next.done"), episode.array("observation.grid")
        assert done is not None
        assert grid is not None
        assert (done.dtype, grid.shape) == (np.bool_, (length, 2, 2))
        assert episode.array("reward") is None


@both
def test_a_camera_is_chosen_by_name(tmp_path: Path, version: str) -> None:
    path = MAKERS[version](tmp_path / "set", cameras=("observation.images.left", "observation.images.right"))
    names = "observation.images.left, observation.images.right"
    with pytest.raises(DatasetError, match=f"several cameras, expected a choice of one: {names}"):
        open_dataset(path)
    with pytest.raises(DatasetError, match=f"no camera `top`; the cameras are: {names}"):
        open_dataset(path, camera="top")
    left, right = (open_dataset(path, camera=name).episodes[1].frames() for name in names.split(", "))
    assert (left != right).any()
    report = inspect_dataset(path)
    assert (report.can_label, report.cameras) == (False, tuple(names.split(", ")))


def test_depth_is_no_camera(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path / "set", cameras=(TOP, "observation.depth"))
    features = json.loads((path / "meta/info.json").read_text())["features"]
    features["observation.depth"]["info"] = {"video.is_depth_map": True}
    edit_info(path, features=features)
    assert open_dataset(path).camera == TOP
    assert inspect_dataset(path).warnings == ("observation.depth: no camera, depth is not read",)
    with pytest.raises(DatasetError, match=r"no camera `observation.depth` \(it is depth\)"):
        open_dataset(path, camera="observation.depth")
    del features[TOP]
    edit_info(path, features=features)
    with pytest.raises(DatasetError, match=r"no camera in colour: observation\.depth is depth, which is not read"):
        open_dataset(path)


def test_a_dataset_without_pictures_has_no_camera(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no camera, expected a feature of dtype video or image"):
        open_dataset(make_lerobot_v21(tmp_path / "set", cameras=()))


@both
def test_it_is_inspected(tmp_path: Path, version: str) -> None:
    report = inspect_dataset(MAKERS[version](tmp_path / "set"), thorough=True)
    assert (report.can_label, report.obstacles, report.warnings) == (True, (), ())
    assert (report.format, report.fps, report.fps_source) == ("lerobot", 10, f"fps of meta/info.json, {version}")
    assert (report.files, report.frames) == ({"v2.1": 3, "v3.0": 2}[version], sum(LENGTHS))


def test_opening_opens_no_episode(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path / "set", version="v2.0")
    for file in [*path.rglob("*.mp4"), *path.rglob("*.parquet")]:
        file.write_bytes(b"nothing")
    assert len(open_dataset(path).episodes) == 3


@both
def test_readers_travel_between_processes(tmp_path: Path, version: str) -> None:
    episode = open_made(tmp_path, version).episodes[1]
    assert episode.num_frames == 5
    copy = pickle.loads(pickle.dumps(episode))
    np.testing.assert_array_equal(copy.frames(1, 3), episode.frames(1, 3))


@both
@pytest.mark.parametrize("length", [0, 1])
@pytest.mark.parametrize("dtype", ["video", "image"])
def test_episodes_of_hardly_any_frames_are_listed(tmp_path: Path, version: str, dtype: str, length: int) -> None:
    path = MAKERS[version](tmp_path / "set", lengths=(4, length, 3), dtype=dtype)
    episode = open_dataset(path).episodes[1]
    assert (episode.num_frames, episode.fps) == (length, 10)
    assert episode.frames().shape == (length, 48, 64, 3)
    assert sum(len(chunk) for chunk in episode.chunks(4)) == length
    state = episode.array("observation.state")
    assert state is not None
    assert state.shape == (length, 3)
    report = inspect_dataset(path)
    assert report.can_label
    assert report.warnings == (
        f"episode_000001 has {'1 frame' if length else '0 frames'} and so no transition, which needs 2",
    )


def test_a_folder_of_datasets_is_not_a_folder_of_video(tmp_path: Path) -> None:
    make_lerobot_v21(tmp_path / "all/first")
    make_lerobot_v30(tmp_path / "all/second")
    with pytest.raises(DatasetError, match=r"holds whole datasets .*lerobot.*, expected one of them: first, second"):
        open_dataset(tmp_path / "all")


def test_other_metadata_makes_no_lerobot_dataset(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text('{"title": "my videos"}')
    assert open_dataset(tmp_path).format == "video"
