"""Labels of several cameras, fused, as LeRobot exports: the video of every camera, wherever each was recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from genie_core.data import open_dataset
from genie_core.data.dataset import ReadOptions
from genie_core.data.export.run import ExportPlan, export_labels
from genie_core.data.frames.resize import Frames, resize_frames
from genie_core.errors import DatasetError
from tests.factories.data import make_aloha, make_frames, make_robotwin, make_video
from tests.factories.labelled import label_file
from tests.factories.lerobot import make_lerobot_v21, make_lerobot_v30

FRONT, WRIST = "observation.images.front", "observation.images.wrist"


def seen(path: Path, camera: str, fps: float | None = None) -> list[Frames]:
    return [episode.frames() for episode in open_dataset(path, camera=camera, fps=fps).episodes]


def info_of(path: Path) -> dict[str, Any]:
    info: dict[str, Any] = json.loads((path / "meta/info.json").read_text())
    return info


def assert_same(mine: list[Frames], theirs: list[Frames]) -> None:
    for got, wanted in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("make", [make_lerobot_v21, make_lerobot_v30])
def test_the_video_of_every_camera_is_copied_and_again_from_the_export(
    tmp_path: Path, make: Callable[..., Path]
) -> None:
    source = make(tmp_path / "src", lengths=(9, 6), cameras=(FRONT, WRIST))
    labelled = label_file(source, fused=(WRIST, FRONT))
    plan = ExportPlan("lerobot")
    for at, out in ((labelled.path, tmp_path / "out"), (tmp_path / "out", tmp_path / "again")):
        report = export_labels(at, out, plan)
        assert {camera: video.encoded for camera, video in report.videos.items()} == {WRIST: None, FRONT: None}
        assert info_of(out)["genie"]["video"] == "copied"
        for camera in (FRONT, WRIST):
            assert_same(seen(out, camera), seen(source, camera))
        assert export_labels(at, out, plan).was_complete
    assert not np.array_equal(seen(source, FRONT)[0], seen(source, WRIST)[0])
    last = sorted((tmp_path / "out/videos" / FRONT).rglob("*.mp4"))[-1]
    last.write_bytes(last.read_bytes()[:900])
    with pytest.raises(DatasetError, match="out: exists already"):
        export_labels(labelled.path, tmp_path / "out", plan)


def test_a_camera_whose_codec_cannot_be_copied_is_encoded_beside_one_that_is(tmp_path: Path) -> None:
    source = make_lerobot_v21(tmp_path / "src", lengths=(9, 6), cameras=(FRONT, WRIST))
    for number, length in enumerate((9, 6)):
        film = source / f"videos/chunk-000/{WRIST}/episode_{number:06d}.mp4"
        make_video(film, length, (32, 80), codec="mpeg4", seed=number)
    report = export_labels(label_file(source, fused=(FRONT, WRIST)).path, tmp_path / "out", ExportPlan("lerobot"))
    assert report.size is None  # two sizes
    assert report.videos[FRONT].encoded is None
    assert "its codec is mpeg4" in (report.videos[WRIST].encoded or "")
    info = info_of(tmp_path / "out")
    assert info["genie"]["video"] == {camera: video.said() for camera, video in report.videos.items()}
    assert [info["features"][camera]["shape"] for camera in (FRONT, WRIST)] == [[48, 64, 3], [32, 80, 3]]
    assert_same(seen(tmp_path / "out", FRONT), seen(source, FRONT))
    for got, wanted in zip(seen(tmp_path / "out", WRIST), seen(source, WRIST), strict=True):
        assert np.abs(got.astype(int) - wanted).mean() < 12
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    mean = np.concatenate([frames.reshape(-1, 3) for frames in seen(source, WRIST)]).mean(0) / 255
    np.testing.assert_allclose(np.ravel(stats[WRIST]["mean"]), mean, atol=1e-6)


def _robotwin(folder: Path) -> Path:
    return make_robotwin(folder / "src.hdf5", cameras=("front", "wrist"))


def _robomimic(folder: Path) -> Path:
    with h5py.File(folder / "src.hdf5", "w") as file:
        for number, camera in enumerate(("front", "wrist")):
            file[f"data/demo_0/obs/{camera}"] = make_frames(8, 48, 48, seed=number)
    return folder / "src.hdf5"


def _folders(folder: Path) -> Path:
    for number, camera in enumerate(("front", "wrist")):
        (folder / "src" / camera).mkdir(parents=True)
        make_video(folder / f"src/{camera}/episode_000000.mkv", 8, (48, 64), codec="ffv1", seed=number)
    return folder / "src"


def _aloha(folder: Path) -> Path:
    (folder / "src").mkdir()
    for number in range(2):
        make_aloha(folder / f"src/episode_{number}.hdf5", 8, (48, 64), ("front", "wrist"), seed=7 * number)
    return folder / "src"


@pytest.mark.parametrize("make", [_robotwin, _robomimic, _folders, _aloha])
def test_every_camera_is_found_wherever_it_was_recorded(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    source = make(tmp_path)
    labelled = label_file(source, fused=("front", "wrist"), options=ReadOptions(fps=10))
    export_labels(labelled.path, tmp_path / "out", ExportPlan("lerobot", frames=(64, 64)))
    for camera in ("front", "wrist"):
        exported = seen(tmp_path / "out", camera)
        for frames, recorded in zip(exported, seen(source, camera, fps=10), strict=True):
            assert np.abs(frames.astype(int) - resize_frames(recorded, 64, 64)).mean() < 9


def test_a_labelled_file_that_keeps_small_frames_has_those_of_the_first_camera_alone(tmp_path: Path) -> None:
    labelled = label_file(_folders(tmp_path), fused=("front", "wrist"), frames="model")
    report = export_labels(labelled.path, tmp_path / "out", ExportPlan("lerobot", frames="labelled"))
    assert list(report.videos) == [FRONT]
    (tmp_path / "src/wrist/episode_000000.mkv").unlink()
    with pytest.raises(DatasetError, match=r"wrist.episode_000000\.mkv: no longer exists"):
        export_labels(labelled.path, tmp_path / "whole", ExportPlan("lerobot"))


def test_cameras_that_store_pictures_in_different_ways_are_not_fused(tmp_path: Path) -> None:
    source = make_aloha(tmp_path / "src.hdf5", 4, cameras=("front",))
    with h5py.File(source, "a") as opened:
        opened["observations/images/wrist"] = np.array([[255, 216, 255, 0]] * 4, np.uint8)  # JPEG is read as BGR
    with pytest.raises(DatasetError, match=r"different ways, expected one .*: front rgb, wrist bgr"):
        label_file(source, fused=("front", "wrist"), options=ReadOptions(fps=10))
