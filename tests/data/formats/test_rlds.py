from __future__ import annotations

import pickle
import tracemalloc
import zlib
from pathlib import Path

import fsspec
import numpy as np
import pytest

from genie_core.data.episode import Episode, FrameReader
from genie_core.data.formats.rlds.reader import RldsReader, is_rlds, read_rlds_meta, rlds_readers, rlds_reason
from genie_core.data.storage.location import RemotePath
from genie_core.errors import DatasetError
from tests.factories.rlds import (
    ACTION,
    DEPTH,
    IMAGE,
    SHARDS,
    SIZE,
    WRIST,
    Features,
    action_of,
    edit_info,
    frames_of,
    group,
    image,
    make_rlds,
    sequence,
    shard_path,
    state_of,
    step_features,
    tensor,
    text,
)

LENGTHS = (4, 6, 3, 5)
NAMES = ("train/0000", "train/0001", "train/0002", "val/0000")


def readers(path: Path, camera: str = IMAGE) -> list[RldsReader]:
    return list(rlds_readers(read_rlds_meta(path), camera))


def test_every_episode_of_every_split_comes_bit_for_bit(tmp_path: Path) -> None:
    path = make_rlds(tmp_path)
    found = readers(path)
    assert [reader.entry.name for reader in found] == list(NAMES)
    assert [reader.entry.shard.path.name for reader in found] == [
        "arm-train.tfrecord-00000-of-00002",
        "arm-train.tfrecord-00000-of-00002",
        "arm-train.tfrecord-00001-of-00002",
        "arm-val.tfrecord-00000-of-00001",
    ]
    for seed, (reader, length) in enumerate(zip(found, LENGTHS, strict=True)):
        assert (reader.num_frames, reader.frame_size, reader.fps) == (length, SIZE, None)
        np.testing.assert_array_equal(reader.read(0, length), frames_of(seed, length))
        np.testing.assert_array_equal(reader.array("observation/state"), state_of(seed, length))
        np.testing.assert_array_equal(reader.array("steps/action"), action_of(seed, length))
        np.testing.assert_array_equal(reader.array("reward"), np.arange(length, dtype=np.float32) / 2)
        assert reader.task == f"lift cube {seed}"
    for seed, reader in enumerate(readers(path, WRIST)):
        mirrored = frames_of(seed, LENGTHS[seed])[:, :, ::-1]
        np.testing.assert_array_equal(np.concatenate(list(reader.chunks(4))), mirrored)


def test_any_part_of_an_episode_is_read(tmp_path: Path) -> None:
    reader = readers(make_rlds(tmp_path))[1]
    frames = frames_of(1, 6)
    for start in range(7):
        for stop in range(start, 7):
            np.testing.assert_array_equal(reader.read(start, stop), frames[start:stop])
    for size in (1, 4, 6, 9):
        assert [len(chunk) for chunk in reader.chunks(size)] == [min(size, 6 - start) for start in range(0, 6, size)]
        np.testing.assert_array_equal(np.concatenate(list(reader.chunks(size))), frames)
    assert reader.read(2, 2).shape == (0, *SIZE, 3)


def test_an_episode_knows_its_actions_and_takes_the_rate_it_is_given(tmp_path: Path) -> None:
    reader: FrameReader = readers(make_rlds(tmp_path))[2]
    episode = Episode("train/0002", tmp_path, IMAGE, reader, fps_override=5)
    actions = episode.actions
    assert actions is not None
    assert (actions.dtype, episode.fps) == (np.float32, 5)
    np.testing.assert_array_equal(actions, action_of(2, 3))
    assert episode.array("observation/effort") is None


def test_metadata_say_what_there_is(tmp_path: Path) -> None:
    meta = read_rlds_meta(make_rlds(tmp_path))
    assert meta.cameras == (IMAGE, WRIST)
    assert meta.masks == {"train": NAMES[:3], "val": NAMES[3:]}
    assert meta.refused == {DEPTH: "depth is not read"}
    assert meta.warnings == (f"{DEPTH}: no camera: depth is not read",)
    assert meta.files == (*(shard_path(tmp_path, "train", number, 2) for number in (0, 1)), shard_path(tmp_path, "val"))


def test_listing_episodes_opens_no_shard(tmp_path: Path) -> None:
    make_rlds(tmp_path)
    for file in tmp_path.glob("*.tfrecord*"):
        file.write_bytes(b"these bytes are no TFRecord at all")
    assert [reader.entry.name for reader in readers(tmp_path)] == list(NAMES)


def test_a_dataset_is_told_by_its_files(tmp_path: Path) -> None:
    make_rlds(tmp_path / "arm/1.0.0")
    shard = "arm-train.tfrecord-00000-of-00002"
    assert rlds_reason(tmp_path / "arm/1.0.0") == f"holds {shard}, a shard as TFDS names it"
    assert rlds_reason(tmp_path / "arm") == f"holds 1.0.0/{shard}, a shard as TFDS names it"
    assert read_rlds_meta(tmp_path / "arm").path == tmp_path / "arm/1.0.0"
    for file in (tmp_path / "arm/1.0.0").glob("*.tfrecord*"):
        file.unlink()
    assert rlds_reason(tmp_path / "arm/1.0.0") == "holds features.json and dataset_info.json, which TFDS writes"
    with pytest.raises(DatasetError, match=r"got no shard, expected files like NAME-train\.tfrecord-00000-of-00001"):
        read_rlds_meta(tmp_path / "arm")


def test_other_folders_are_none(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / "x.mp4").touch()
    assert not is_rlds(tmp_path)
    assert not is_rlds(tmp_path / "x.mp4")
    assert not is_rlds(tmp_path / "nothing")
    with pytest.raises(DatasetError, match="nothing: no such folder"):
        read_rlds_meta(tmp_path / "nothing")


def test_one_of_several_versions_has_to_be_named(tmp_path: Path) -> None:
    for version in ("1.0.0", "2.0.0"):
        make_rlds(tmp_path / version)
    with pytest.raises(
        DatasetError, match=r"several versions of an RLDS dataset, expected one of them: 1\.0\.0, 2\.0\.0"
    ):
        read_rlds_meta(tmp_path)
    assert len(readers(tmp_path / "2.0.0")) == 4


def test_a_camera_that_is_none_is_refused_with_those_there_are(tmp_path: Path) -> None:
    meta = read_rlds_meta(make_rlds(tmp_path))
    with pytest.raises(DatasetError, match="no camera `top`; the cameras are: observation/image, observation/wrist"):
        list(rlds_readers(meta, "top"))
    with pytest.raises(DatasetError, match=rf"no camera `{DEPTH}` \(depth is not read\)"):
        list(rlds_readers(meta, DEPTH))


@pytest.mark.parametrize(
    ("feature", "why"),
    [
        (image((8, 8, 1), "uint16"), "pictures of uint16, as depth is stored, expected uint8"),
        (image((8, 8, 1), "float32"), "pictures of float32, as depth is stored, expected uint8"),
        (image((8, 8, 2)), r"pictures of shape (8, 8, 2), expected (H, W, 3)"),
        (sequence(image((8, 8, 3))), "several pictures a step, expected one"),
        (image((8, 8, 1)), None),
        (image((-1, -1, 3)), None),
    ],
)
def test_pictures_that_are_no_rgb_are_no_cameras(tmp_path: Path, feature: dict[str, object], why: str | None) -> None:
    path = make_rlds(tmp_path, features={**step_features(), "top": feature})
    meta = read_rlds_meta(path)
    assert meta.refused.get("top") == why
    assert ("top" in meta.cameras) == (why is None)


def test_readers_are_picklable_at_any_time(tmp_path: Path) -> None:
    reader = readers(make_rlds(tmp_path))[1]
    fresh = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(fresh.read(0, 6), reader.read(0, 6))
    chunks = reader.chunks(2)
    next(chunks)
    used = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(used.read(2, 4), next(chunks))
    assert used.num_frames == 6


def test_a_long_episode_is_decoded_a_chunk_at_a_time(tmp_path: Path) -> None:
    length, size = 120, (96, 128)
    reader = readers(make_rlds(tmp_path, {"train": [[length]]}, size))[0]
    record = shard_path(tmp_path).stat().st_size
    decoded = length * size[0] * size[1] * 3
    next(reader.chunks(4))
    tracemalloc.start()
    try:
        assert sum(len(chunk) for chunk in reader.chunks(4)) == length
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert record < decoded / 4  # else the bound below says nothing
    assert peak < decoded / 2


def test_a_dataset_behind_a_url_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENIE_CACHE", str(tmp_path / "cache"))
    path = make_rlds(tmp_path / "1.0.0")
    store = fsspec.filesystem("memory")
    try:
        for file in path.iterdir():
            store.pipe_file(f"/rlds-test/arm/1.0.0/{file.name}", file.read_bytes())
        url = RemotePath("memory://rlds-test/arm")
        assert is_rlds(url)
        meta = read_rlds_meta(url)
        assert meta.masks == {"train": NAMES[:3], "val": NAMES[3:]}
        for seed, reader in enumerate(rlds_readers(meta, IMAGE)):
            fresh = pickle.loads(pickle.dumps(reader))
            np.testing.assert_array_equal(fresh.read(0, LENGTHS[seed]), frames_of(seed, LENGTHS[seed]))
        assert not is_rlds(RemotePath("memory://rlds-test/leg"))
    finally:
        store.rm("/rlds-test", recursive=True)


def test_an_episode_without_steps_is_listed(tmp_path: Path) -> None:
    reader = readers(make_rlds(tmp_path, {"train": [[0, 3]]}))[0]
    assert (reader.num_frames, reader.frame_size, reader.task) == (0, SIZE, None)
    assert list(reader.chunks(4)) == []
    actions = reader.actions
    assert actions is not None
    assert actions.shape == (0, ACTION)


def test_an_action_of_several_parts_is_put_together(tmp_path: Path) -> None:
    def split_action(seed: int, features: Features) -> None:
        action = np.array(features.pop("steps/action"), np.float32).reshape(-1, ACTION)
        features["steps/action/world_vector"] = action[:, :3].ravel().tolist()
        features["steps/action/gripper"] = action[:, 3].tolist()

    action = group(world_vector=tensor("float32", 3), gripper=tensor())
    path = make_rlds(tmp_path, change=split_action, features={**step_features(), "action": action})
    meta = read_rlds_meta(path)
    assert meta.facts == ("actions are concatenated from action/gripper, action/world_vector, in this order",)
    actions = next(rlds_readers(meta, IMAGE)).actions
    np.testing.assert_array_equal(actions, action_of(0, 4)[:, [3, 0, 1, 2]])


def test_a_dataset_without_actions_has_none(tmp_path: Path) -> None:
    features = step_features()
    del features["action"]
    assert readers(make_rlds(tmp_path, features=features))[0].actions is None


def test_arrays_of_every_encoding_are_read(tmp_path: Path) -> None:
    wide = np.arange(4 * 2 * 3, dtype=np.int32).reshape(4, 2, 3) - 9

    def add(seed: int, features: Features) -> None:
        features["steps/plain"] = wide.ravel().tolist()
        features["steps/raw"] = [step.tobytes() for step in wide]
        features["steps/packed"] = [zlib.compress(step.tobytes()) for step in wide]
        features["steps/rows/ragged_flat_values"] = wide[:, 0].ravel().tolist()
        features["steps/rows/ragged_row_lengths_0"] = [3] * 4

    fixed = sequence(tensor("int32"))
    fixed["sequence"]["length"] = "3"
    declared = {
        "plain": tensor("int32", 2, 3),
        "raw": tensor("int32", 2, 3, encoding="bytes"),
        "packed": tensor("int32", 2, 3, encoding="zlib"),
        "rows": fixed,
    }
    path = make_rlds(tmp_path, {"train": [[4]]}, change=add, features={**step_features(), **declared})
    reader = readers(path)[0]
    for key in ("plain", "raw", "packed"):
        array = reader.array(key)
        assert array is not None
        assert array.dtype == np.int32
        np.testing.assert_array_equal(array, wide)
    np.testing.assert_array_equal(reader.array("rows"), wide[:, 0])


@pytest.mark.parametrize(
    ("key", "feature", "why"),
    [
        ("language_instruction", text(), "text, expected numbers"),
        ("is_first", tensor("string"), "text, expected numbers"),
        ("is_first", tensor("float32", -1), "its length is not the same in every step"),
        ("is_first", sequence(tensor()), "its length is not the same in every step"),
        ("is_first", tensor("complex64"), "complex64, expected numbers"),
        ("is_first", {"pythonClassName": "x.audio_feature.Audio", "audio": {}}, "it is a Audio, which is not read"),
        (IMAGE, None, "image, expected numbers"),
    ],
)
def test_features_that_are_no_arrays_are_refused(
    tmp_path: Path, key: str, feature: dict[str, object] | None, why: str
) -> None:
    features = step_features() if feature is None else {**step_features(), key: feature}
    with pytest.raises(DatasetError) as caught:
        readers(make_rlds(tmp_path, features=features))[1].array(key)
    assert str(caught.value) == f"{shard_path(tmp_path, count=2)}: record 1 (train/0001): `{key}`: {why}"


def test_without_features_json_the_first_record_tells(tmp_path: Path) -> None:
    path = make_rlds(tmp_path, {"train": [[0, 4], [6]]})
    declared = readers(path)[1]
    (path / "features.json").unlink()
    meta = read_rlds_meta(path)
    assert meta.cameras == (IMAGE, WRIST)
    assert meta.refused == {DEPTH: "depth is not read"}
    shard = shard_path(path, count=2)
    assert meta.warnings[0] == (
        f"{path}/features.json: missing: cameras and arrays are those of {shard}: record 1, "
        "arrays of several axes are read flat"
    )
    reader = list(rlds_readers(meta, IMAGE))[1]
    np.testing.assert_array_equal(reader.read(0, 4), declared.read(0, 4))
    for key in ("actions", "observation/state", "reward"):
        np.testing.assert_array_equal(reader.array(key), declared.array(key))
    assert reader.task == "lift cube 1"


def test_without_dataset_info_the_shards_are_counted(tmp_path: Path) -> None:
    path = make_rlds(tmp_path)
    (path / "dataset_info.json").unlink()
    meta = read_rlds_meta(path)
    assert meta.masks == {"train": NAMES[:3], "val": NAMES[3:]}
    assert "dataset_info.json: there is none, so that missing episodes would not be noticed" in meta.warnings[0]


def test_splits_that_are_not_as_listed_are_told(tmp_path: Path) -> None:
    path = make_rlds(tmp_path)
    shard_path(path, "val").unlink()
    meta = read_rlds_meta(path)
    assert list(meta.masks) == ["train"]
    assert meta.warnings[0] == (
        f"{path}: val: dataset_info.json lists 1 episodes, but none of the shards exists: the split is left out"
    )
    edit_info(make_rlds(tmp_path), splits=[{"name": "val", "shardLengths": ["1"]}])
    meta = read_rlds_meta(path)
    assert list(meta.masks) == ["val", "train"]
    assert meta.warnings[0] == f"{path}/dataset_info.json: does not list the split train, which is read all the same"
    assert SHARDS["train"] == ((4, 6), (3,))
    assert meta.masks["train"] == NAMES[:3]
