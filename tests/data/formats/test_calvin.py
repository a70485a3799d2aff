"""CALVIN's folders: splits, episodes from their list or from gaps, arrays, and what may be wrong."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from genie_core.data import inspect_dataset, open_dataset
from genie_core.data.storage.npy import read_npy
from genie_core.errors import DatasetError
from tests.factories.data import make_frames
from tests.factories.folders import SIZE, write_calvin


def test_splits_and_episodes(tmp_path: Path) -> None:
    write_calvin(tmp_path / "set/training")
    write_calvin(tmp_path / "set/validation", ((0, 4),))
    dataset = open_dataset(tmp_path / "set", fps=30)
    assert (dataset.format, dataset.camera) == ("calvin", "rgb_static")
    assert dataset.cameras == ("rgb_static", "rgb_gripper")
    names = [episode.name for episode in dataset.episodes]
    assert names == ["training/episode_0000003", "training/episode_0000009", "validation/episode_0000000"]
    assert dataset.masks == {"training": tuple(names[:2]), "validation": (names[2],)}
    episode = dataset.episodes[0]
    np.testing.assert_array_equal(episode.frames(), make_frames(6, *SIZE, seed=3))
    np.testing.assert_array_equal(episode.frames(2, 4), make_frames(6, *SIZE, seed=3)[2:4])
    assert episode.actions is not None
    assert episode.actions.tolist() == [[float(at)] * 7 for at in range(6)]
    assert episode.proprioception is not None
    assert episode.proprioception.state_TS.shape == (6, 15)
    (alone,) = [each for each in open_dataset(episode.source).episodes if episode.name.endswith(each.name)]
    np.testing.assert_array_equal(alone.frames(), episode.frames())


def test_without_a_list_gaps_in_the_numbers_end_an_episode(tmp_path: Path) -> None:
    folder = write_calvin(tmp_path / "steps", ((0, 2), (5, 6)))
    (folder / "ep_start_end_ids.npy").unlink()
    dataset = open_dataset(folder, camera="rgb_gripper")
    assert [(episode.name, episode.num_frames) for episode in dataset.episodes] == [
        ("episode_0000000", 3),
        ("episode_0000005", 2),
    ]


def test_no_rate_is_guessed(tmp_path: Path) -> None:
    report = inspect_dataset(write_calvin(tmp_path / "steps"))
    assert report.fps is None
    assert any("frame rate of 2 episodes is unknown" in warning for warning in report.warnings)
    assert any("30 frames a second" in fact for fact in report.facts)


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    folder = write_calvin(tmp_path / "steps")
    (folder / "episode_0000005.npz").unlink()
    (folder / "episode_0000010.npz").write_bytes(b"PK\x03\x04 no")
    first, second = open_dataset(folder, fps=30).episodes
    with pytest.raises(DatasetError, match=r"has no episode_0000005\.npz"):
        first.frames()
    with pytest.raises(DatasetError, match=r"episode_0000010\.npz: not a NumPy file, or damaged"):
        second.frames()
    np.save(folder / "ep_start_end_ids.npy", np.array([[8, 3]]))
    with pytest.raises(DatasetError, match="ends before it starts"):
        open_dataset(folder, fps=30)


def test_an_array_larger_than_its_file_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "big.npy"
    np.save(path, np.zeros(4))
    path.write_bytes(path.read_bytes().replace(b"(4,)", b"(1000000000000,)"[:16]).replace(b"  \n", b"\n", 1))
    with pytest.raises(DatasetError):
        read_npy(path)
    packed = tmp_path / "steps/episode_0000000.npz"
    packed.parent.mkdir()
    np.savez(packed, rgb_static=np.zeros((*SIZE, 3), np.uint8))
    with zipfile.ZipFile(packed) as archive:
        data = archive.read("rgb_static.npy").replace(b"(24, 32, 3)", b"(240000, 320000, 3)")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rgb_static.npy", data[: -24 * 32 * 3].replace(b" " * 8 + b"\n", b"\n") + data[-24 * 32 * 3 :])
    with pytest.raises(DatasetError):
        open_dataset(packed.parent, fps=30).episodes[0].frames()
