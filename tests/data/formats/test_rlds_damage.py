from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genie_core.data import encode_image
from genie_core.data.formats.rlds.reader import RldsReader, read_rlds_meta, rlds_readers
from genie_core.errors import DatasetError
from tests.factories.rlds import (
    ACTION,
    IMAGE,
    SIZE,
    Features,
    edit_info,
    encode_example,
    frame_record,
    frames_of,
    make_rlds,
    sequence,
    shard_path,
    step_features,
    tensor,
)

ONE_SHARD = {"train": [[4, 6, 3]]}
LENGTHS = (4, 6, 3)


def readers(path: Path) -> list[RldsReader]:
    return list(rlds_readers(read_rlds_meta(path), IMAGE))


def refusal(path: Path, episode: int = 1, others: tuple[int, ...] = (0, 2)) -> str:
    """Why an episode cannot be read, which is the same whatever is asked of it, and does not keep others from it."""
    reader = readers(path)[episode]
    asks: tuple[Callable[[], object], ...] = (
        lambda: reader.num_frames,
        lambda: reader.frame_size,
        lambda: list(reader.chunks(4)),
        lambda: reader.read(0, 1),
    )
    messages = set()
    for ask in asks:
        with pytest.raises(DatasetError) as caught:
            ask()
        messages.add(str(caught.value))
    assert len(messages) == 1
    for other in others:
        np.testing.assert_array_equal(readers(path)[other].read(0, 2), frames_of(other, LENGTHS[other])[:2])
    return messages.pop()


def change_of(episode: int, **changes: object) -> Callable[[int, Features], None]:
    """Changes features of the steps of one episode; None drops one."""

    def change(seed: int, features: Features) -> None:
        for key, held in changes.items() if seed == episode else ():
            features[f"steps/{key}"] = held
            if held is None:
                del features[f"steps/{key}"]

    return change


def record_bounds(path: Path) -> list[int]:
    """Where the records of a file begin, and where the last ends."""
    data, bounds = path.read_bytes(), [0]
    while bounds[-1] < len(data):
        bounds.append(bounds[-1] + 16 + int.from_bytes(data[bounds[-1] : bounds[-1] + 8], "little"))
    return bounds


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_a_truncated_shard_keeps_the_episodes_before(tmp_path: Path) -> None:
    shard = shard_path(make_rlds(tmp_path, ONE_SHARD))
    bounds = record_bounds(shard)
    size = (bounds[1] + bounds[2]) // 2
    os.truncate(shard, size)
    wanted = (
        f"{shard}: record 1, at byte {bounds[1]} of {size}: the file is truncated, "
        f"expected {bounds[2] - bounds[1]} bytes, {size - bounds[1]} are there"
    )
    assert refusal(tmp_path, 1, others=(0,)) == wanted
    assert refusal(tmp_path, 2, others=(0,)) == wanted
    (tmp_path / "dataset_info.json").unlink()
    assert len(readers(tmp_path)) == 2  # nobody knows of the third; the second must not be lost unseen
    assert refusal(tmp_path, 1, others=(0,)) == wanted


def test_a_damaged_record_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    shard = shard_path(make_rlds(tmp_path, ONE_SHARD))
    bounds = record_bounds(shard)
    flip(shard, bounds[1] + 100)
    assert refusal(tmp_path) == (
        f"{shard}: record 1: damaged, its {bounds[2] - bounds[1] - 16} bytes do not match their CRC"
    )


def test_a_damaged_length_is_named(tmp_path: Path) -> None:
    shard = shard_path(make_rlds(tmp_path, ONE_SHARD))
    flip(shard, record_bounds(shard)[1])
    assert "record 1, at byte" in refusal(tmp_path, 1, others=(0,))
    assert "the length of the record does not match its CRC" in refusal(tmp_path, 2, others=(0,))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff" * 40, "got 40 bytes that are no tf.train.Example"),
        (b"", "got 0 bytes without a single feature, expected a tf.train.Example"),
        (
            encode_example({"file_path": [b"x"]}) + encode_example({"image": [b"x"]}, field=2),
            "got a tf.SequenceExample, expected a tf.train.Example as TFDS writes it",
        ),
    ],
)
def test_a_record_that_is_no_example_is_named(tmp_path: Path, data: bytes, why: str) -> None:
    shard = shard_path(make_rlds(tmp_path, ONE_SHARD))
    bounds, content = record_bounds(shard), shard.read_bytes()
    shard.write_bytes(content[: bounds[1]] + frame_record(data) + content[bounds[2] :])
    assert refusal(tmp_path).startswith(f"{shard}: record 1: {why}")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("<html><head><title>404 Not Found</title></head>", "record 0, at byte 0 of 47: not a TFRecord, or damaged"),
        ("version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, not the file itself"),
    ],
)
def test_a_file_that_is_no_tfrecord_is_named(tmp_path: Path, content: str, why: str) -> None:
    shard = shard_path(make_rlds(tmp_path, ONE_SHARD))
    shard.write_text(content)
    assert why in refusal(tmp_path, 0, others=())
    (tmp_path / "features.json").unlink()
    with pytest.raises(DatasetError, match=r"not a TFRecord, or damaged|Git LFS pointer"):
        read_rlds_meta(tmp_path)


def test_a_camera_that_an_episode_lacks_is_named(tmp_path: Path) -> None:
    make_rlds(tmp_path, ONE_SHARD, change=change_of(1, **{IMAGE: None}))
    assert refusal(tmp_path) == (
        f"{shard_path(tmp_path)}: record 1 (train/0001): has no `{IMAGE}`, which its dataset calls a camera"
    )
    actions = readers(tmp_path)[1].actions
    assert actions is not None
    assert actions.shape == (6, ACTION)


def test_a_camera_without_marks_of_steps_is_missed_too(tmp_path: Path) -> None:
    change = change_of(1, is_first=None, is_last=None, is_terminal=None, **{IMAGE: None})
    make_rlds(tmp_path, ONE_SHARD, change=change)
    assert f"has no `{IMAGE}`" in refusal(tmp_path)


def test_an_episode_of_less_pictures_than_steps_is_refused(tmp_path: Path) -> None:
    pictures = [encode_image(frame) for frame in frames_of(1, 4)]
    make_rlds(tmp_path, ONE_SHARD, change=change_of(1, **{IMAGE: pictures}))
    assert refusal(tmp_path).endswith(f"(train/0001): got 4 pictures of {IMAGE} in 6 steps, expected one each")


def test_a_damaged_picture_is_named_by_its_step(tmp_path: Path) -> None:
    pictures = [encode_image(frame, "jpeg") for frame in frames_of(1, 6)]
    make_rlds(tmp_path, ONE_SHARD, change=change_of(1, **{IMAGE: [*pictures[:3], pictures[3][:100], *pictures[4:]]}))
    reader = readers(tmp_path)[1]
    assert reader.num_frames == 6
    assert len(reader.read(0, 3)) == 3
    assert len(reader.read(4, 6)) == 2
    for ask in (lambda: reader.read(2, 4), lambda: list(reader.chunks(2))):
        with pytest.raises(DatasetError) as caught:
            ask()
        where = f"{shard_path(tmp_path)}: record 1 (train/0001): step 3 of {IMAGE}"
        assert str(caught.value).startswith(f"{where}: image: got a damaged image")


@pytest.mark.parametrize("bad", [b"not a picture", b"", 7])
def test_what_is_no_picture_is_named(tmp_path: Path, bad: object) -> None:
    make_rlds(tmp_path, ONE_SHARD, change=change_of(1, **{IMAGE: [bad] * 6}))
    assert f"record 1 (train/0001): step 0 of {IMAGE}: " in refusal(tmp_path)
    assert "PNG or JPEG" in refusal(tmp_path)


def test_a_picture_of_another_size_is_named(tmp_path: Path) -> None:
    pictures = [encode_image(frame) for frame in frames_of(1, 6)]
    pictures[4] = encode_image(np.zeros((20, 30, 3), np.uint8))
    make_rlds(tmp_path, ONE_SHARD, change=change_of(1, **{IMAGE: pictures}))
    with pytest.raises(DatasetError) as caught:
        readers(tmp_path)[1].read(4, 6)  # the first of these is compared with step 0, not with its neighbour
    where = f"{shard_path(tmp_path)}: record 1 (train/0001): step 4 of {IMAGE}"
    assert str(caught.value) == f"{where} is of (20, 30) pixels, expected {SIZE} like the first"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"action": [0.0] * 40}, "`action` has 40 numbers, expected 42 for (6, 7)"),
        ({"action": None}, "has no `action`, which its dataset declares"),
        ({"action": [b"x"] * 6}, "`action`: damaged: "),
        ({"reward": [0.5] * 6}, "`reward`: damaged: got floating-point numbers, expected int64"),
        ({"packed": [b"no zlib"] * 6}, "`packed`: damaged: "),
        ({"packed": [1, 2, 3]}, "`packed`: damaged: got numbers, expected a string a step that holds them (zlib)"),
    ],
)
def test_numbers_that_are_not_as_declared_are_refused(tmp_path: Path, changes: Features, why: str) -> None:
    features = {**step_features(), "reward": tensor("int64"), "packed": tensor("float32", 2, encoding="zlib")}
    make_rlds(tmp_path, ONE_SHARD, change=change_of(1, **changes), features=features)
    reader = readers(tmp_path)[1]
    with pytest.raises(DatasetError) as caught:
        reader.array(next(iter(changes)))
    assert str(caught.value).startswith(f"{shard_path(tmp_path)}: record 1 (train/0001): {why}")
    np.testing.assert_array_equal(reader.read(0, 6), frames_of(1, 6))


@pytest.mark.parametrize("listed", [2, 4])
def test_a_shard_that_is_not_as_long_as_listed_is_named(tmp_path: Path, listed: int) -> None:
    make_rlds(tmp_path, ONE_SHARD)
    edit_info(tmp_path, splits=[{"name": "train", "shardLengths": [str(listed)]}])
    assert len(readers(tmp_path)) == listed
    missed = 1 if listed == 2 else 3
    others = () if listed == 2 else (0, 1, 2)  # where there are more than listed none is read, lest one be lost
    assert refusal(tmp_path, missed, others) == (
        f"{shard_path(tmp_path)}: record {missed}: the file holds 3 records, dataset_info.json lists {listed}"
    )


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    make_rlds(tmp_path, {"train": [[2], [2], [2]]})
    shard_path(tmp_path, "train", 1, 3).unlink()
    with pytest.raises(DatasetError) as caught:
        read_rlds_meta(tmp_path)
    assert str(caught.value) == f"{tmp_path}: train: got 2 of 3 shards, expected all; missing: 00001"
    for number in (1, 3):
        shard_path(tmp_path, "train", number, 3).touch()
    with pytest.raises(DatasetError, match="train: got shard 00003 of 3, expected 00000 to 00002"):
        read_rlds_meta(tmp_path)


def test_shards_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    make_rlds(tmp_path, ONE_SHARD)
    shard_path(tmp_path, "train", 0, 2).touch()
    with pytest.raises(DatasetError, match="train: got shards of 1 and of 2, expected one set"):
        read_rlds_meta(tmp_path)
    shard_path(tmp_path, "train", 0, 2).rename(tmp_path / "leg-train.tfrecord-00000-of-00001")
    with pytest.raises(DatasetError, match="shards of several datasets, expected one: arm, leg"):
        read_rlds_meta(tmp_path)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"fileFormat": "array_record"}, "fileFormat: got array_record, expected tfrecord"),
        ({"splits": [{"name": "train", "shardLengths": ["1", "2"]}]}, "train: lists 2 shards, the files are 1"),
        ({"splits": [{"name": "train", "shardLengths": ["x"]}]}, "splits.0.shardLengths.0: "),
        ({"splits": [{"name": "train", "shardLengths": ["-1"]}]}, "splits.0.shardLengths.0: "),
        ({"splits": [{"shardLengths": ["3"]}]}, "splits.0.name: Field required"),
    ],
)
def test_a_dataset_info_that_is_wrong_is_named(tmp_path: Path, changes: dict[str, object], why: str) -> None:
    edit_info(make_rlds(tmp_path, ONE_SHARD), **changes)
    with pytest.raises(DatasetError) as caught:
        read_rlds_meta(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/dataset_info.json: {why}")


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
def test_json_that_is_damaged_is_named(tmp_path: Path, name: str) -> None:
    make_rlds(tmp_path, ONE_SHARD)
    os.truncate(tmp_path / name, 30)
    with pytest.raises(DatasetError, match=rf"{name}: damaged, not JSON"):
        read_rlds_meta(tmp_path)


def test_features_that_are_not_rlds_are_refused(tmp_path: Path) -> None:
    make_rlds(tmp_path, ONE_SHARD)
    path = tmp_path / "features.json"
    document = json.loads(path.read_text())
    document["featuresDict"]["features"]["steps"]["sequence"]["feature"] = 3
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=r"features\.json: featuresDict\.features\.steps\.sequence\.feature: "):
        read_rlds_meta(tmp_path)
    document["featuresDict"]["features"] = {"video": sequence(tensor())}
    path.write_text(json.dumps(document))
    with pytest.raises(DatasetError, match=r"declares no dataset `steps`.*; the features are: video"):
        read_rlds_meta(tmp_path)


def test_a_record_that_is_not_rlds_is_refused(tmp_path: Path) -> None:
    shard = shard_path(tmp_path)
    shard.write_bytes(frame_record(encode_example({"image": [b"x"], "label": [3]})))
    with pytest.raises(DatasetError) as caught:
        read_rlds_meta(tmp_path)
    assert str(caught.value) == (
        f"{shard}: record 0: no features of steps, expected steps/is_first and others; it holds: image, label"
    )
    shard.write_bytes(b"")
    with pytest.raises(DatasetError, match="its shards hold no episode"):
        read_rlds_meta(tmp_path)


def test_features_of_an_unknown_layout_are_inferred(tmp_path: Path) -> None:
    make_rlds(tmp_path, ONE_SHARD)
    (tmp_path / "features.json").write_text(json.dumps({"type": "FeaturesDict", "content": {}}))
    meta = read_rlds_meta(tmp_path)
    assert "not in the layout that Genie knows" in meta.warnings[0]
    np.testing.assert_array_equal(next(rlds_readers(meta, IMAGE)).read(0, 4), frames_of(0, 4))


def test_a_damaged_first_record_does_not_hide_the_features(tmp_path: Path) -> None:
    make_rlds(tmp_path, ONE_SHARD)
    (tmp_path / "features.json").unlink()
    flip(shard_path(tmp_path), 100)
    assert "record 0: damaged" in refusal(tmp_path, 0, others=(1, 2))
