"""Replay buffers in Zarr, v2 and v3, folders and zip files: episodes, pictures of every kind, and what may be wrong."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from genie_core.data import ReadOptions, inspect_dataset, open_dataset
from genie_core.data.formats.zarr import store
from genie_core.errors import DatasetError
from tests.factories.data import make_frames
from tests.factories.folders import SIZE, write_replay


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", ["buffer.zarr", "buffer.zarr.zip"])
def test_episodes_end_where_the_buffer_says(tmp_path: Path, version: int, name: str) -> None:
    dataset = open_dataset(write_replay(tmp_path / name, version=version), fps=10)
    assert (dataset.format, dataset.camera) == ("zarr", "img")
    assert [episode.num_frames for episode in dataset.episodes] == [5, 3, 6]
    for number, episode in enumerate(dataset.episodes):
        np.testing.assert_array_equal(episode.frames(), make_frames(episode.num_frames, *SIZE, seed=number))
    last = dataset.episodes[2]
    np.testing.assert_array_equal(np.concatenate([*last.chunks(4)]), make_frames(6, *SIZE, seed=2))
    np.testing.assert_array_equal(last.frames(2, 4), make_frames(6, *SIZE, seed=2)[2:4])
    assert last.actions is not None
    assert last.actions[0].tolist() == [16, 17]
    assert last.proprioception is not None
    assert last.proprioception.state_TS[0, 0] == 40


@pytest.mark.parametrize("pictures", ["unit", "bytes"])
@pytest.mark.parametrize("channels", ["first", "last"])
def test_floating_point_pictures_are_as_bright_as_bytes(tmp_path: Path, pictures: str, channels: str) -> None:
    dataset = open_dataset(write_replay(tmp_path / "a.zarr", pictures=pictures, channels=channels), fps=10)
    np.testing.assert_array_equal(dataset.episodes[1].frames(), make_frames(3, *SIZE, seed=1))
    assert any("floating-point numbers, 0 to " in fact for fact in dataset.facts)


def test_black_samples_say_nothing_of_the_range(tmp_path: Path) -> None:
    frames = np.zeros((14, *SIZE, 3), "f4")
    frames[9] = 200
    dataset = open_dataset(write_replay(tmp_path / "a.zarr", img=frames), fps=10)
    assert dataset.episodes[2].frames()[1].max() == 200


@pytest.mark.parametrize(("value", "said"), [(-1.0, "-1 to"), (300.0, "to 300"), (np.nan, "nan to nan")])
def test_floating_point_pictures_of_another_range_are_refused(tmp_path: Path, value: float, said: str) -> None:
    frames = np.full((14, *SIZE, 3), 0.5, "f4")
    frames[0] = value
    (problem,) = inspect_dataset(write_replay(tmp_path / "a.zarr", img=frames), fps=10).obstacles
    assert said in problem
    assert "convert them to uint8" in problem


def test_the_rate_comes_from_times(tmp_path: Path) -> None:
    path = write_replay(tmp_path / "a.zarr", timestamp=np.arange(14) / 20 + 5)
    report = inspect_dataset(path)
    assert report.fps == pytest.approx(20)
    assert report.fps_source == "data/timestamp"
    assert inspect_dataset(write_replay(tmp_path / "b.zarr")).fps is None


def test_several_cameras_and_named_actions(tmp_path: Path) -> None:
    path = write_replay(tmp_path / "a.zarr", camera1=np.zeros((14, 8, 8, 3), np.uint8), other=np.zeros((14, 1)))
    with pytest.raises(DatasetError, match="several cameras, expected a choice of one: camera1, img"):
        open_dataset(path)
    (episode, *_) = open_dataset(path, options=ReadOptions(camera="camera1", actions_path="data/other")).episodes
    assert episode.frames().shape == (5, 8, 8, 3)
    assert episode.actions is not None
    assert episode.actions.shape == (5, 1)


def test_channels_that_the_shape_leaves_open(tmp_path: Path) -> None:
    path = write_replay(tmp_path / "a.zarr", img=np.zeros((14, 3, 8, 3), np.uint8))
    with pytest.raises(DatasetError, match="say channels"):
        open_dataset(path)
    assert open_dataset(path, options=ReadOptions(channels="first")).episodes[0].frames().shape == (5, 8, 3, 3)


@pytest.mark.parametrize(
    ("ends", "problem"),
    [([5, 5, 14], "episode 1 ends at row 5, expected 6 to 14"), ([5, 99], "ends at row 99"), ([], "lists no episode")],
)
def test_ends_that_cannot_be_are_named(tmp_path: Path, ends: list[int], problem: str) -> None:
    import zarr

    path = write_replay(tmp_path / "a.zarr")
    group = zarr.open_group(str(path), mode="a", zarr_format=2)
    del group["meta/episode_ends"]
    group.create_array("meta/episode_ends", data=np.array(ends, np.int64))
    with pytest.raises(DatasetError, match=problem):
        open_dataset(path, fps=10)
    del group["meta/episode_ends"]
    with pytest.raises(DatasetError, match="has no meta/episode_ends"):
        open_dataset(path, fps=10)


def test_rows_of_no_episode_are_named(tmp_path: Path) -> None:
    path = write_replay(tmp_path / "a.zarr", lengths=(5, 3))
    import zarr

    zarr.open_group(str(path), mode="a", zarr_format=2)["meta/episode_ends"][1] = 7
    assert any("1 rows after the last" in warning for warning in inspect_dataset(path, fps=10).warnings)


def test_damage_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_replay(tmp_path / "a.zarr")
    (path / "data/img/1.0.0.0").write_bytes(b"rubbish")
    first, second, _ = open_dataset(path, fps=10).episodes
    assert first.frames(0, 4).shape[0] == 4
    with pytest.raises(DatasetError, match=r"a\.zarr: not a Zarr group, or damaged"):
        second.frames()
    (path / "data/img/.zarray").write_text("{")
    with pytest.raises(DatasetError, match=r"a\.zarr"):
        open_dataset(path, fps=10)
    (tmp_path / "b.zarr.zip").write_bytes(b"PK")
    with pytest.raises(DatasetError, match=r"b\.zarr\.zip"):
        open_dataset(tmp_path / "b.zarr.zip")
    monkeypatch.setattr(store, "MAX_CHUNK_BYTES", 100)
    with pytest.raises(DatasetError, match=r"got chunks .* expected 100 or fewer"):
        open_dataset(write_replay(tmp_path / "c.zarr"), fps=10).episodes[0].frames()


def test_missing_chunks_are_counted(tmp_path: Path) -> None:
    path = write_replay(tmp_path / "a.zarr")
    assert not inspect_dataset(path, fps=10).warnings
    (path / "data/img/1.0.0.0").unlink()
    missing, *blank = inspect_dataset(path, fps=10).warnings
    assert "data/img: 1 of 4 chunks are not there" in missing
    assert len(blank) == 2  # both episodes have frames in it, which read as black


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_replay(tmp_path / "a.zarr")
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(DatasetError, match=r"reading Zarr needs `pip install 'genie-latent\[zarr\]'`"):
        open_dataset(path)


def test_a_folder_of_buffers_names_them(tmp_path: Path) -> None:
    path = write_replay(tmp_path / "a.zarr")
    shutil.copytree(path, tmp_path / "b.zarr")
    with pytest.raises(DatasetError, match=r"whole datasets .*expected one of them: a\.zarr, b\.zarr"):
        open_dataset(tmp_path)
