import shutil
from pathlib import Path
from typing import get_args

import pytest

from genie_core.data import Format, inspect_dataset, open_dataset
from genie_core.data.opening import LAYOUTS
from genie_core.errors import DatasetError
from tests.factories.data import make_robomimic, make_video


def names(path: Path) -> list[str]:
    return [episode.name for episode in open_dataset(path).episodes]


def test_a_folder_of_video_is_searched_in_order(tmp_path: Path) -> None:
    for name in ["b/ep_1.mp4", "b/ep_0.mp4", "a.gif", "c/d/ep_0.MP4"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        make_video(tmp_path / name.lower(), frames=2, codec="gif" if name.endswith("gif") else "libx264")
        if name != name.lower():
            shutil.move(tmp_path / name.lower(), tmp_path / name)
    (tmp_path / "notes.txt").write_text("not video")
    (tmp_path / "b" / "._ep_1.mp4").write_bytes(b"what a Mac leaves behind")
    dataset = open_dataset(tmp_path)
    assert names(tmp_path) == ["a", "b/ep_0", "b/ep_1", "c/d/ep_0"]
    assert (dataset.format, dataset.cameras, dataset.camera, dataset.fps) == ("video", ("video",), "video", 10)


def test_files_that_differ_in_their_suffix_keep_it(tmp_path: Path) -> None:
    for name in ["a.mp4", "a.mkv", "b.mp4"]:
        make_video(tmp_path / name, frames=2)
    assert names(tmp_path) == ["a.mkv", "a.mp4", "b"]


def test_opening_a_folder_of_video_opens_no_file(tmp_path: Path) -> None:
    for index in range(50):
        (tmp_path / f"{index:02}.mp4").write_bytes(b"no video at all")
    assert len(open_dataset(tmp_path).episodes) == 50


def test_rates_that_differ_are_not_one_rate(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4", frames=2, fps=10)
    make_video(tmp_path / "b.mp4", frames=2, fps=30)
    dataset = open_dataset(tmp_path)
    assert dataset.fps is None
    assert [episode.fps for episode in dataset.episodes] == [10, 30]
    assert open_dataset(tmp_path, fps=5).fps == 5


def test_a_folder_of_robomimic_files_is_one_dataset(tmp_path: Path) -> None:
    make_robomimic(tmp_path / "lift.hdf5", frames=3, size=8)
    make_robomimic(tmp_path / "can.h5", frames=3, size=8)
    dataset = open_dataset(tmp_path)
    assert names(tmp_path) == ["can/demo_0", "can/demo_1", "lift/demo_0", "lift/demo_1"]
    assert dataset.masks == {"train": ("can/demo_0", "lift/demo_0"), "valid": ("can/demo_1", "lift/demo_1")}
    assert dataset.episodes[2].source == tmp_path / "lift.hdf5"
    assert dataset.episodes[2].num_frames == 3


def test_files_of_a_folder_must_share_a_camera(tmp_path: Path) -> None:
    make_robomimic(tmp_path / "a.hdf5", frames=3, size=8, camera="left")
    make_robomimic(tmp_path / "b.hdf5", frames=3, size=8, camera="right")
    with pytest.raises(DatasetError, match="no camera images in the observations that all files share"):
        open_dataset(tmp_path)


def test_of_mixed_folders_the_hdf5_counts(tmp_path: Path) -> None:
    make_robomimic(tmp_path / "a.hdf5", frames=3, size=8)
    make_video(tmp_path / "b.mp4", frames=2)
    dataset = open_dataset(tmp_path)
    assert (dataset.format, dataset.warnings) == ("robomimic", ("1 video file left out: b.mp4",))


def test_outputs_in_a_folder_are_not_input(tmp_path: Path) -> None:
    make_video(tmp_path / "b.mp4", frames=2)
    make_robomimic(tmp_path / "b.labelled.hdf5", frames=3, size=8)
    (tmp_path / "b.labelled.hdf5.parts").mkdir()
    make_robomimic(tmp_path / "b.labelled.hdf5.parts" / "0.hdf5", frames=3, size=8)
    assert names(tmp_path) == ["b"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("gone", "no such file or folder"), (".", "without robot video, expected .*mp4"), ("a.txt", "ends in `.txt`")],
)
def test_what_is_no_dataset_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(DatasetError, match=message):
        open_dataset(tmp_path / name)


def test_hdf5_is_known_by_its_content(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5", size=8).rename(tmp_path / "a.data")
    assert open_dataset(path).format == "robomimic"


def test_a_video_has_one_camera(tmp_path: Path) -> None:
    path = make_video(tmp_path / "b.mp4", frames=2)
    assert open_dataset(path, camera="video").camera == "video"
    with pytest.raises(DatasetError, match="no camera `wrist`; the cameras are: video"):
        open_dataset(path, camera="wrist")


@pytest.mark.parametrize("fps", [0, -5, float("nan")])
def test_refuses_what_is_no_rate(tmp_path: Path, fps: float) -> None:
    with pytest.raises(DatasetError, match="fps: got"):
        open_dataset(make_video(tmp_path / "b.mp4", frames=2), fps=fps)


def test_a_shard_of_rlds_alone_is_sent_to_its_folder(tmp_path: Path) -> None:
    shard = tmp_path / "bridge-train.tfrecord-00000-of-00001"
    shard.write_bytes(b"")
    with pytest.raises(DatasetError, match="one shard of an RLDS dataset, expected the folder"):
        open_dataset(shard)


def test_every_layout_is_listed_once_and_says_what_it_looks_for(tmp_path: Path) -> None:
    names = [layout.name for layout in LAYOUTS]
    assert sorted(names) == sorted(get_args(Format))
    assert all(layout.looks_for for layout in LAYOUTS)
    (tmp_path / "notes.txt").write_text("nothing")
    assert [layout.recognise(tmp_path) for layout in LAYOUTS] == [None] * len(LAYOUTS)


def test_frames_that_are_too_large_to_label_are_refused_before_one_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = make_video(tmp_path / "large.mp4", frames=3, size=(48, 64))
    monkeypatch.setattr("genie_core.data.episode.MAX_PIXELS", 48 * 64 - 1)
    (episode,) = open_dataset(video).episodes
    for read in (episode.frames, lambda: next(episode.chunks())):
        with pytest.raises(
            DatasetError, match=r"large\.mp4: large: got frames of 48 x 64 pixels, expected at most 3071"
        ):
            read()
    report = inspect_dataset(video)
    assert not report.can_label
    assert "got frames of 48 x 64 pixels" in str(report.obstacles)
