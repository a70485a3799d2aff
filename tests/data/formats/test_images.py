"""Frames as files: episodes, cameras, order, times, words and arrays beside them, and what may be wrong."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from genie_core.data import ReadOptions, inspect_dataset, open_dataset
from genie_core.data.export.source import open_export_source
from genie_core.data.formats.images.names import DEFAULT_CAMERA, find_recordings
from genie_core.data.frames.content import PictureWatch
from genie_core.data.labelled.exclusion import exclusions
from genie_core.errors import DatasetError
from tests.factories.data import make_frames
from tests.factories.folders import SIZE, write_pictures
from tests.factories.labelled import label_file


def test_a_folder_an_episode_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    write_pictures(tmp_path / "episode_10", 12, seed=10)
    write_pictures(tmp_path / "episode_2", 11, seed=2, name="frame_{:06d}.png", first=7)
    dataset = open_dataset(tmp_path, fps=5)
    assert (dataset.format, dataset.camera) == ("images", "images")
    assert [episode.name for episode in dataset.episodes] == ["episode_2", "episode_10"]
    np.testing.assert_array_equal(dataset.episodes[0].frames(), make_frames(11, *SIZE, seed=2))
    np.testing.assert_array_equal(dataset.episodes[1].frames(9, 12), make_frames(12, *SIZE, seed=10)[9:])
    np.testing.assert_array_equal(np.concatenate([*dataset.episodes[1].chunks(5)]), make_frames(12, *SIZE, seed=10))


def test_raw_bridge_data(tmp_path: Path) -> None:
    for group, traj in ((0, 0), (0, 1), (1, 0)):
        folder = tmp_path / f"raw/traj_group{group}/traj{traj}"
        for camera in (0, 1):
            write_pictures(folder / f"images{camera}", seed=group * 10 + traj * 2 + camera)
        write_pictures(folder / "depth_images0")
        (folder / "obs_dict.pkl").write_bytes(b"\x80\x04.")
        (folder / "lang.txt").write_text("put the spoon in the pot\nconfidence: 0.9\n")
    with pytest.raises(DatasetError, match="several cameras, expected a choice of one: images0, images1"):
        open_dataset(tmp_path)
    dataset = open_dataset(tmp_path, camera="images1", fps=5)
    names = [episode.name for episode in dataset.episodes]
    assert names == ["raw/traj_group0/traj0", "raw/traj_group0/traj1", "raw/traj_group1/traj0"]
    np.testing.assert_array_equal(dataset.episodes[1].frames(), make_frames(6, *SIZE, seed=3))
    assert {episode.task for episode in dataset.episodes} == {"put the spoon in the pot"}
    assert any("a pickle runs code" in fact for fact in dataset.facts)
    report = inspect_dataset(tmp_path, camera="images1", fps=5)
    assert report.can_label
    assert any("depth_images0: not read" in warning for warning in report.warnings)


def test_a_part_of_the_labelled_folder_is_found_again(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set/cam_front/ep_1", seed=1)
    write_pictures(tmp_path / "set/cam_front/ep_2", seed=2)
    write_pictures(tmp_path / "other/ep_1/wrist", seed=3)
    for root in ("set", "other"):
        for episode in open_dataset(tmp_path / root, fps=5).episodes:
            (alone,) = open_dataset(episode.source, camera=episode.camera).episodes
            assert alone.name == episode.name
            np.testing.assert_array_equal(alone.frames(), episode.frames())


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        (["P01/rgb_frames/P01_02/frame_1.jpg"], {"P01/P01_02": ["rgb_frames"]}),
        (["a/images/front/0.png", "a/images/wrist/0.png"], {"a": ["front", "wrist"]}),
        (
            ["cam_104122060902/ep0/0.png", "cam_036422060909/ep0/0.png"],
            {"ep0": ["cam_036422060909", "cam_104122060902"]},
        ),
        (["a/rgb_0.png", "a/rgb_1.png", "a/depth_0.png"], {"a": ["rgb"]}),
        (["a/left_0.png", "a/right_0.png"], {"a": ["left", "right"]}),
        (["0.png", "1.png"], {"": ["images"]}),
        (["pick left/0.png", "put/0.png"], {"pick left": ["images"], "put": ["images"]}),
    ],
)
def test_names_that_say_cameras(paths: list[str], wanted: dict[str, list[str]]) -> None:
    recordings, _ = find_recordings(map(PurePosixPath, paths))
    assert {recording.name: sorted(recording.strips) for recording in recordings} == wanted


@pytest.mark.parametrize(
    ("name", "text", "fps"),
    [
        ("timestamps.txt", "\n".join(str(at * 0.05) for at in range(6)), 20),
        ("timestamps.txt", "\n".join(str(1_700_000_000_123_456_789 + at * 50_000_000) for at in range(6)), 20),
        ("timestamps.csv", "frame,time\n" + "\n".join(f"{at},{at * 40}" for at in range(6)), 25),
        ("times.json", str([at * 0.1 for at in range(6)]), 10),
    ],
)
def test_times_beside_the_pictures(tmp_path: Path, name: str, text: str, fps: float) -> None:
    write_pictures(tmp_path / "ep")
    (tmp_path / "ep" / name).write_text(text)
    report = inspect_dataset(tmp_path)
    assert report.can_label
    assert report.fps == pytest.approx(fps)
    assert report.fps_source is not None
    assert name in report.fps_source


def test_names_that_are_times(tmp_path: Path) -> None:
    folder = tmp_path / "ep"
    write_pictures(folder)
    for number in range(6):
        (folder / f"im_{number}.png").rename(folder / f"{1_700_000_000_000_000_000 + number * 33_333_333}.png")
    (episode,) = open_dataset(tmp_path).episodes
    assert episode.fps == pytest.approx(30, rel=1e-3)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0\n0.1\n", "has 2 times, expected 6, one a picture"),
        ("0\n0.1\n0.2\n0.15\n0.4\n0.5", "the time of frame 3 is not after that of frame 2"),
        ("0\nsoon\n", "line 2: got `soon`, expected a time"),
        ("\n".join(str(at * 5.0) for at in range(6)).replace("5.0", "1e30"), "expected"),
    ],
)
def test_wrong_times_are_named(tmp_path: Path, text: str, problem: str) -> None:
    write_pictures(tmp_path / "ep")
    (tmp_path / "ep/timestamps.txt").write_text(text)
    with pytest.raises(DatasetError, match=problem):
        _ = open_dataset(tmp_path).episodes[0].fps


def test_arrays_beside_the_pictures(tmp_path: Path) -> None:
    write_pictures(tmp_path / "ep/front")
    np.save(tmp_path / "ep/actions.npy", np.arange(12.0).reshape(6, 2))
    np.save(tmp_path / "ep/state.npy", np.ones((6, 3)))
    np.save(tmp_path / "ep/other.npy", np.zeros((6, 1)))
    (episode,) = open_dataset(tmp_path, fps=5).episodes
    np.testing.assert_array_equal(episode.actions, np.arange(12.0).reshape(6, 2))
    assert episode.proprioception is not None
    assert episode.proprioception.names == ("state_0", "state_1", "state_2")
    np.save(tmp_path / "ep/actions.npy", np.arange(10.0).reshape(5, 2))  # the last frame has none
    (episode,) = open_dataset(tmp_path, fps=5).episodes
    assert episode.lacks_last_action
    np.testing.assert_array_equal(episode.actions[:5], np.arange(10.0).reshape(5, 2))  # type: ignore[index]
    np.save(tmp_path / "ep/actions.npy", np.zeros((3, 2)))
    with pytest.raises(DatasetError, match="expected one for each frame, or for each but the last"):
        _ = open_dataset(tmp_path, fps=5).episodes[0].actions
    (episode,) = open_dataset(tmp_path, options=ReadOptions(fps=5, actions_path="other")).episodes
    np.testing.assert_array_equal(episode.actions, np.zeros((6, 1)))


def test_an_array_of_objects_is_never_unpickled(tmp_path: Path) -> None:
    write_pictures(tmp_path / "ep")
    np.save(tmp_path / "ep/actions.npy", np.array([{}] * 6, object))
    with pytest.raises(DatasetError, match="Python objects in pickle"):
        _ = open_dataset(tmp_path, fps=5).episodes[0].actions


def test_bad_pictures_are_named(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "ep")
    whole = (folder / "im_3.png").read_bytes()
    (folder / "im_3.png").write_bytes(whole[:-30])
    (episode,) = open_dataset(tmp_path, fps=5).episodes
    with pytest.raises(DatasetError, match=r"im_3\.png: image: got a damaged image"):
        episode.frames()
    write_pictures(tmp_path / "small", 1).joinpath("im_0.png").rename(folder / "im_3.png")
    (folder / "im_3.png").write_bytes(_picture(8, 8))
    with pytest.raises(DatasetError, match=r"frame 3 is of .* expected .* like the first"):
        episode.frames()
    (folder / "im_03.png").write_bytes(whole)
    with pytest.raises(DatasetError, match="two pictures of one number"):
        _ = open_dataset(folder, fps=5).episodes[0].num_frames
    (folder / "im_03.png").rename(folder / "title.png")
    with pytest.raises(DatasetError, match="2 kinds of names in one folder"):
        _ = open_dataset(folder, fps=5).episodes[0].num_frames


def _picture(height: int, width: int) -> bytes:
    from genie_core.data import encode_image

    return encode_image(np.zeros((height, width, 3), np.uint8))


def test_pictures_beside_video_are_no_frames(tmp_path: Path) -> None:
    from tests.factories.data import make_video

    make_video(tmp_path / "a.mp4")
    write_pictures(tmp_path / "thumbnails", 2)
    assert open_dataset(tmp_path).format == "video"


def test_numbers_that_skip_pictures_are_gaps(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "set/run", 9, name="frame_{:04d}.png")
    for number in (3, 4):
        (folder / f"frame_{number:04d}.png").unlink()
    for options in (ReadOptions(fps=5), ReadOptions()):
        warnings = inspect_dataset(tmp_path / "set", options=options).warnings
        assert any("1 gap, the longest from 2 to 5 after frame 2" in warning for warning in warnings)
        (episode,) = open_dataset(tmp_path / "set", options=options).episodes
        watch = PictureWatch()
        watch.add(episode.frames())
        assert np.flatnonzero(exclusions(watch.seen, 1, episode.fps, episode.moments)).tolist() == [2]


@pytest.mark.parametrize(
    "names",
    [
        [f"f_{5 * number:04d}.png" for number in range(8)],  # every fifth of a video
        ["a.png", "b.png", "c.png"],
        [f"{number}_{number % 2}.png" for number in range(8)],
        ["1.png", "7.png", "40.png", "900.png"],  # no count
    ],
)
def test_names_that_do_not_count_say_nothing_of_gaps(names: list[str]) -> None:
    strip = find_recordings(map(PurePosixPath, names))[0][0].strips[DEFAULT_CAMERA]
    assert strip.numbers is None or len(set(np.diff(strip.numbers))) == 1


def test_sequences_in_one_folder_are_episodes(tmp_path: Path) -> None:
    for episode in (2, 10):
        write_pictures(tmp_path / "all", 5, seed=episode, name=f"ep{episode}_frame_{{:03d}}.png")
    dataset = open_dataset(tmp_path, fps=5)
    assert [episode.name for episode in dataset.episodes] == ["all/ep2_frame", "all/ep10_frame"]
    for episode, seed in zip(dataset.episodes, (2, 10), strict=True):
        np.testing.assert_array_equal(episode.frames(), make_frames(5, *SIZE, seed=seed))
    labelled = label_file(tmp_path / "all", options=ReadOptions(fps=5))
    source = open_export_source(labelled.path)
    for episode, seed in zip(source.provenance.episodes, (2, 10), strict=True):
        np.testing.assert_array_equal(source.source_frames(episode).frames(), make_frames(5, *SIZE, seed=seed))


def test_dates_and_times_in_names_are_one_sequence() -> None:
    names = [f"12_{at // 60:02d}_{at % 60:02d}.png" for at in range(50, 130)]
    assert [len(one.strips["images"].names) for one in find_recordings(map(PurePosixPath, names))[0]] == [80]
