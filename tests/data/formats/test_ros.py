"""Recordings of ROS: MCAP, bags of ROS 1 and ROS 2, their pictures, clocks and joints, and what may be wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from genie_core.data import Dataset, ReadOptions, inspect_dataset, open_dataset
from genie_core.data.formats.ros import mcap
from genie_core.errors import DatasetError
from tests.factories import ros

KINDS = ("mcap", "ros1", "ros2")


def make(folder: Path, kind: str, **how: object) -> Path:
    messages = list(ros.entries(**how))  # type: ignore[arg-type]
    if kind == "mcap":
        return ros.write_mcap(folder / "run_0.mcap", messages)
    if kind == "ros1":
        return ros.write_bag(folder / "run_0.bag", messages, 1)
    return ros.write_bag(folder / "run_0", messages, 2)


def opened(path: Path, camera: str = ros.CAMERA, **options: object) -> Dataset:
    return open_dataset(path, options=ReadOptions(camera=camera, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("camera", [ros.CAMERA, ros.COMPRESSED])
def test_pictures_joints_and_commands_are_read(tmp_path: Path, kind: str, camera: str) -> None:
    dataset = opened(make(tmp_path, kind), camera)
    assert dataset.format == ("mcap" if kind == "mcap" else "rosbag")
    assert dataset.cameras == ("front.image_raw", "front.image_raw.compressed")
    (episode,) = dataset.episodes
    assert (episode.name, episode.num_frames, episode.height, episode.width) == ("run_0", ros.FRAMES, *ros.SIZE)
    assert episode.fps == pytest.approx(10)
    wanted = ros.robot_frames()
    np.testing.assert_array_equal(episode.frames(), wanted)
    np.testing.assert_array_equal(episode.frames(3, 5), wanted[3:5])
    np.testing.assert_array_equal(np.concatenate([*episode.chunks(3)]), wanted)
    states = np.array([ros.joints_at(frame) for frame in range(ros.FRAMES)])
    assert episode.proprioception is not None
    assert episode.proprioception.names == ("a", "b", "c")
    np.testing.assert_array_equal(episode.proprioception.state_TS, states)
    assert episode.actions is not None
    np.testing.assert_array_equal(episode.actions, states * 10)


def test_mcap_bags_of_several_files_are_one_episode(tmp_path: Path) -> None:
    messages = list(ros.entries())
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_information: {}\n")
    ros.write_mcap(folder / "run_0.mcap", messages[:12])
    ros.write_mcap(folder / "run_1.mcap", messages[12:])
    for path in (folder, tmp_path):
        (episode,) = opened(path).episodes
        assert episode.name == "run"
        np.testing.assert_array_equal(episode.frames(), ros.robot_frames())
        np.testing.assert_array_equal(episode.frames(2, 5), ros.robot_frames()[2:5])


def test_a_folder_of_recordings_is_one_dataset_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2):
        ros.write_mcap(tmp_path / f"run_{number}.mcap", list(ros.entries(seed=number)))
    dataset = opened(tmp_path)
    assert [episode.name for episode in dataset.episodes] == ["run_2", "run_10"]
    np.testing.assert_array_equal(dataset.episodes[0].frames(), ros.robot_frames(2))
    with pytest.raises(DatasetError, match=r"several cameras, expected a choice of one: front.image_raw, "):
        open_dataset(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_bags_in_folders_are_found(tmp_path: Path, kind: str) -> None:
    (tmp_path / "day").mkdir()
    make(tmp_path / "day", kind)
    (episode,) = opened(tmp_path).episodes
    assert episode.name == "day/run_0"
    assert episode.num_frames == ros.FRAMES


def test_where_headers_bear_no_time_that_of_the_recording_counts(tmp_path: Path) -> None:
    messages = [
        entry._replace(log_ns=ros.START_NS + 2 * (entry.log_ns - ros.START_NS)) for entry in ros.entries(stamped=False)
    ]
    (episode,) = opened(ros.write_mcap(tmp_path / "a.mcap", messages)).episodes
    assert episode.fps == pytest.approx(5)
    messages = [entry._replace(log_ns=ros.START_NS + 2 * (entry.log_ns - ros.START_NS)) for entry in ros.entries()]
    (episode,) = opened(ros.write_mcap(tmp_path / "b.mcap", messages)).episodes
    assert episode.fps == pytest.approx(10)


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_colours_are_those_that_the_messages_name(tmp_path: Path, encoding: str) -> None:
    (episode,) = opened(make(tmp_path, "mcap", encoding=encoding)).episodes
    np.testing.assert_array_equal(episode.frames(), ros.robot_frames())


def test_pictures_recorded_at_one_moment_are_told_apart(tmp_path: Path) -> None:
    messages = [
        entry._replace(log_ns=ros.START_NS + (entry.log_ns - ros.START_NS) // (3 * ros.FRAME_NS))
        for entry in ros.entries()
    ]
    (episode,) = opened(ros.write_mcap(tmp_path / "a.mcap", messages)).episodes
    for start in range(ros.FRAMES):
        np.testing.assert_array_equal(episode.frames(start, start + 2), ros.robot_frames()[start : start + 2])


def test_actions_can_be_named(tmp_path: Path) -> None:
    (episode,) = opened(make(tmp_path, "mcap"), actions_path="joint_states").episodes
    assert episode.actions is not None
    np.testing.assert_array_equal(episode.actions[:, 0], np.arange(ros.FRAMES))
    (episode,) = opened(tmp_path, actions_path="/nothing").episodes
    with pytest.raises(DatasetError, match="has no actions at `/nothing`"):
        _ = episode.actions


def test_bare_pictures_in_place_of_messages_are_read(tmp_path: Path) -> None:
    from mcap.writer import Writer

    from genie_core.data import encode_image

    with (tmp_path / "run.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start("ros2", "test")
        schema = writer.register_schema("sensor_msgs/msg/CompressedImage", "ros2msg", b"uint8[] data")
        channel = writer.register_channel("/camera/compressed", "cdr", schema)
        for number, frame in enumerate(ros.robot_frames()):
            at_ns = number * ros.FRAME_NS
            writer.add_message(channel, log_time=at_ns, publish_time=at_ns, data=encode_image(frame))
        writer.finish()
    (episode,) = open_dataset(tmp_path / "run.mcap").episodes
    np.testing.assert_array_equal(episode.frames(), ros.robot_frames())
    assert episode.fps == pytest.approx(10)


def test_unknown_encodings_and_messages_that_are_cut_off_are_named(tmp_path: Path) -> None:
    messages = list(ros.entries(encoding="bayer_rggb8"))
    (episode,) = opened(ros.write_mcap(tmp_path / "a.mcap", messages)).episodes
    with pytest.raises(DatasetError, match=r"a\.mcap: /front/image_raw: message 0: got encoding `bayer_rggb8`"):
        episode.frames()
    empty = np.zeros(0, np.uint8)
    messages = [
        entry._replace(values={**entry.values, "data": empty})
        for entry in ros.entries()
        if entry.topic == ros.COMPRESSED
    ]
    (episode,) = opened(ros.write_mcap(tmp_path / "e.mcap", messages), ros.COMPRESSED).episodes
    with pytest.raises(DatasetError, match="message 0: got a picture of no bytes"):
        episode.frames()
    messages = [
        entry._replace(values={**entry.values, "height": 2**20}) if "height" in entry.values else entry
        for entry in ros.entries()
    ]
    (episode,) = opened(ros.write_mcap(tmp_path / "b.mcap", messages)).episodes
    with pytest.raises(DatasetError, match="got a picture of 1048576 x 32"):
        episode.frames()


def test_damaged_recordings_are_named(tmp_path: Path) -> None:
    whole = make(tmp_path, "mcap").read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole[: len(whole) // 2])
    (tmp_path / "bad.bag").write_bytes(b"#ROSBAG V2.0\n" + bytes(100))
    (tmp_path / "bad.db3").write_bytes(b"SQLite format 3\0" + bytes(100))
    (tmp_path / "empty.mcap").write_bytes(b"")
    for name, words in (
        ("cut.mcap", "truncated or damaged|no index"),
        ("bad.bag", "not a bag, or truncated"),
        ("bad.db3", "has no metadata.yaml"),
        ("empty.mcap", "not an MCAP file"),
    ):
        with pytest.raises(DatasetError, match=rf"({words})"):
            opened(tmp_path / name)
    assert len(opened(tmp_path / "run_0.mcap").episodes) == 1


def test_a_bad_byte_in_a_chunk_is_found(tmp_path: Path) -> None:
    path = make(tmp_path, "mcap")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"run_0\.mcap"):
        opened(path).episodes[0].frames()


def test_what_unpacks_to_more_than_it_says_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path, "mcap")
    monkeypatch.setattr(mcap, "MAX_CHUNK_BYTES", 3000)
    with pytest.raises(DatasetError, match=r"got a chunk of \d+ bytes, expected 3000 or fewer"):
        opened(path).episodes[0].frames()


@pytest.mark.parametrize("packing", ["zstd", "lz4"])
def test_a_chunk_is_unpacked_no_further_than_its_index_says(packing: str) -> None:
    from types import SimpleNamespace

    import lz4.frame
    import zstandard

    pack = zstandard.compress if packing == "zstd" else lz4.frame.compress
    chunk = SimpleNamespace(compression=packing, data=pack(bytes(50_000_000)))
    with pytest.raises(ValueError, match="a chunk of 1000 or more bytes, its index says 1000"):
        mcap._unpacked(chunk, 1000)
    assert mcap._unpacked(SimpleNamespace(compression=packing, data=pack(b"abc")), 3) == b"abc"


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, bag = make(tmp_path, "mcap"), make(tmp_path, "ros1")
    monkeypatch.setitem(__import__("sys").modules, "mcap", None)
    monkeypatch.setitem(__import__("sys").modules, "rosbags", None)
    with pytest.raises(DatasetError, match=r"reading MCAP needs `pip install 'genie-latent\[mcap\]'`"):
        opened(path)
    with pytest.raises(DatasetError, match=r"reading bags of ROS needs `pip install 'genie-latent\[rosbag\]'`"):
        opened(bag)


def test_inspect_says_the_clock_and_what_is_no_camera(tmp_path: Path) -> None:
    messages = [
        entry if entry.topic != ros.COMPRESSED else entry._replace(topic="/front/compressedDepth")
        for entry in ros.entries()
    ]
    report = inspect_dataset(ros.write_mcap(tmp_path / "a.mcap", messages))
    assert report.can_label
    assert report.camera == "front.image_raw"
    assert report.fps_source is not None
    assert report.fps_source.startswith("times in the headers")
    assert any("/front/compressedDepth: no camera: it is depth" in warning for warning in report.warnings)
    assert any("actions are /arm/command" in fact for fact in report.facts)


def test_index_offsets_that_lead_nowhere_are_an_error_not_a_crash(tmp_path: Path) -> None:
    path = make(tmp_path, "mcap")
    data = bytearray(path.read_bytes())
    footer = len(data) - 8 - 20  # magic, and the footer's content
    data[footer : footer + 8] = struct.pack("<Q", 2**62)
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"run_0\.mcap"):
        opened(path)
