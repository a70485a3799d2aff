"""Files made to harm whoever reads them: a few bytes that ask for all memory, for all time, or for other files."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data import open_dataset, open_labelled
from genie_core.data.formats.hdf5.mapping import natural_key
from genie_core.data.formats.rlds.reader import read_rlds_meta, rlds_readers
from genie_core.data.storage.json_text import parse_json
from genie_core.data.storage.lock import read_owner
from genie_core.errors import DatasetError
from tests.factories.data import make_robomimic, make_video
from tests.factories.labelled import label_file
from tests.factories.lerobot import edit_info, make_lerobot_v21
from tests.factories.rlds import IMAGE, make_rlds, step_features, tensor
from tests.factories.rlds import edit_info as edit_rlds

DEEP = "[" * 100_000 + "]" * 100_000
SIZE = (16, 16)


def _robomimic(path: Path, edit: Callable[[h5py.File], object]) -> Path:
    file = make_robomimic(path / "d.hdf5", episodes=1, frames=2, size=8)
    with h5py.File(file, "a") as opened:
        edit(opened)
    return file


def test_brackets_without_end_are_an_error_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too deep"):
        parse_json(DEEP)
    (tmp_path / "owner.json").write_text(DEEP)
    assert read_owner(tmp_path) is None
    for name, make in (
        ("meta/info.json", make_lerobot_v21),
        ("features.json", make_rlds),
        ("dataset_info.json", make_rlds),
    ):
        folder = make(tmp_path / name.replace("/", "-"))
        (folder / name).write_text(DEEP)
        with pytest.raises(DatasetError, match="damaged"):
            open_dataset(folder)
    with h5py.File(tmp_path / "wide.hdf5", "w", libver="latest") as file:
        file["data/demo_0/obs/agentview_image"] = np.zeros((2, 8, 8, 3), np.uint8)
        file["data"].attrs["env_args"] = DEEP
    assert open_dataset(tmp_path / "wide.hdf5").fps is None


@pytest.mark.parametrize(
    "template",
    [
        "data/{episode_index:0999999999d}.parquet",
        "data/{episode_index.__class__}.parquet",
        "data/{episode_index!r:>999999999}.parquet",
        "data/{0}.parquet",
    ],
)
def test_a_file_name_is_no_program(tmp_path: Path, template: str) -> None:
    folder = make_lerobot_v21(tmp_path / "x", (3,), size=SIZE, dtype="image")
    edit_info(folder, data_path=template)
    with pytest.raises(DatasetError, match=r"data_path .* cannot be filled in"):
        open_dataset(folder)


def test_a_play_list_is_no_video(tmp_path: Path) -> None:
    make_video(tmp_path / "secret.mp4", 4, 16)
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(DatasetError, match="not a video"):
        _ = open_dataset(tmp_path / "list.mp4").episodes[0].num_frames


def test_packed_numbers_are_unpacked_to_what_is_declared(tmp_path: Path) -> None:
    bomb = zlib.compress(bytes(64 << 20))
    features = {**step_features(SIZE), "packed": tensor("float32", 2, encoding="zlib")}
    make_rlds(tmp_path, {"train": [[2]]}, SIZE, lambda _, held: held.update({"steps/packed": [bomb] * 2}), features)
    reader = next(rlds_readers(read_rlds_meta(tmp_path), IMAGE))
    with pytest.raises(DatasetError, match="`packed`"):
        reader.array("packed")


def test_a_shard_of_endless_episodes_is_refused(tmp_path: Path) -> None:
    edit_rlds(make_rlds(tmp_path, {"train": [[2]]}, SIZE), splits=[{"name": "train", "shardLengths": [str(10**12)]}])
    with pytest.raises(DatasetError, match=r"shardLengths\.0"):
        open_dataset(tmp_path)


def test_an_array_that_was_never_written_is_not_read(tmp_path: Path) -> None:
    def claim(file: h5py.File) -> None:
        del file["data/demo_0/actions"], file["data/demo_0/obs/agentview_image"]
        file.create_dataset("data/demo_0/actions", (1 << 40, 7), np.float64, chunks=(1024, 7))
        file.create_dataset("data/demo_0/obs/endless", (1 << 40, 8, 8, 3), np.uint8, chunks=(1, 8, 8, 3))
        file.create_dataset("data/demo_0/obs/wide", (2, 1 << 20, 1 << 20, 3), np.uint8, chunks=(1, 64, 64, 3))
        file["data/demo_0/obs/front"] = np.zeros((2, 8, 8, 3), np.uint8)

    file = _robomimic(tmp_path, claim)
    with pytest.raises(DatasetError, match="never written"):
        _ = open_dataset(file, camera="front").episodes[0].actions
    with pytest.raises(DatasetError, match="never written"):
        open_dataset(file, camera="endless")
    with pytest.raises(DatasetError, match="pixels a frame"):
        open_dataset(file, camera="wide")


def test_names_that_are_no_numbers_do_not_stop_reading(tmp_path: Path) -> None:
    names = ["x²", "²", "x10", "x9", "9" * 5000]
    assert sorted(names, key=natural_key) == ["9" * 5000, "x9", "x10", "x²", "²"]

    def name(file: h5py.File) -> None:
        file[f"data/demo_{'9' * 5000}"] = file["data/demo_0"]
        file["data/demo_²"] = file["data/demo_0"]
        file["mask/odd"] = np.array([b"\xff\xfe", b"demo_0"])
        file["mask/group/inner"] = 1

    dataset = open_dataset(_robomimic(tmp_path, name))
    assert [episode.name for episode in dataset.episodes] == ["demo_0"]
    assert dataset.masks["odd"] == ("��", "demo_0")


@pytest.mark.parametrize("names", ["not JSON", '{"a": 1}', "[1, 2]", "3"])
def test_names_of_actions_are_a_list(tmp_path: Path, names: str) -> None:
    labelled = label_file(make_robomimic(tmp_path / "d.hdf5", episodes=1, frames=3, size=8))
    assert isinstance(labelled.path, Path)
    with h5py.File(labelled.path, "a") as file:
        file["data/demo_0/latent_actions"].attrs.update({"action_names": names, "alignment_id": "a"})
    with pytest.raises(DatasetError, match="action_names"):
        open_labelled(labelled.path).labels_attrs("demo_0")
