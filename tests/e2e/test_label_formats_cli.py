"""`genie inspect` and `genie label` on data of all formats, with what only the user can say, and with bad episodes."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data import open_labelled, resize_frames
from tests.factories.data import make_aloha, make_frames, make_libero, make_nested, make_robomimic
from tests.support.processes import Genie


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_aloha_is_labelled_once_its_rate_is_told(genie: Genie, server: str, tmp_path: Path) -> None:
    folder = tmp_path / "task"
    folder.mkdir()
    for number in (0, 7):
        make_aloha(folder / f"episode_{number}.hdf5", frames=20, cameras=("cam_high", "cam_low"), seed=number)
    assert "several cameras" in one_line(genie.fail("label", folder, "--server", server))
    words = ("label", folder, "--server", server, "--camera", "cam_high")
    assert "expected the data's frame rate" in one_line(genie.fail(*words))
    genie.run(*words, "--fps", "50")
    labelled = open_labelled(tmp_path / "task.labelled.hdf5")
    labels, attrs = labelled.labels("demo_1")
    assert (attrs.source_name, attrs.camera, attrs.fps, attrs.step) == ("episode_7", "cam_high", 50, 5)
    assert (len(labels), labels.valid.sum()) == (20, 15)
    kept = labelled.episode("demo_1")
    assert kept is not None
    np.testing.assert_array_equal(kept.frames(), resize_frames(make_frames(20, 24, 32, seed=7), 32, 32))


@pytest.mark.parametrize("words", [("--in-place",), ("--keep-frames", "copy"), ("--keep-frames", "link")])
def test_aloha_may_keep_its_own_layout(genie: Genie, server: str, tmp_path: Path, words: tuple[str, ...]) -> None:
    folder = tmp_path / "task"
    folder.mkdir()
    for number in (0, 7):
        make_aloha(folder / f"episode_{number}.hdf5", frames=12, seed=number)
    genie.run("label", folder, "--server", server, "--fps", "10", *words)
    labelled = open_labelled(folder if words == ("--in-place",) else tmp_path / "task.labelled")
    assert labelled.episodes == ("episode_0", "episode_7")
    assert labelled.labels("episode_7")[0].valid.sum() == 11
    assert "carries those of nano" in one_line(genie.run("inspect", labelled.path, "--fps", "10"))
    genie.run("view", labelled.path, "--sheet", tmp_path / "sheet.png")


def test_a_file_of_no_layout_is_described(genie: Genie, server: str, tmp_path: Path) -> None:
    path = make_nested(tmp_path / "nested.h5")
    assert "--frames 'trajectories/*/images/front'" in one_line(genie.fail("label", path, "--server", server))
    said = ("--frames", "trajectories/*/images/front", "--actions", "trajectories/*/robot/command", "--fps", "10")
    report = json.loads(genie.run("inspect", path, *said, "--json"))
    assert (report["format"], len(report["episodes"]), report["can_label"]) == ("hdf5", 3, True)
    genie.run("label", path, "--server", server, *said)
    labelled = open_labelled(tmp_path / "nested.labelled.hdf5")
    assert [labelled.labels(name)[1].source_name for name in labelled.episodes] == ["2", "9", "16"]


def test_upside_down_pictures_are_labelled_as_if_they_were_upright(genie: Genie, server: str, tmp_path: Path) -> None:
    stored = make_libero(tmp_path / "stored_demo.hdf5")
    upright = make_libero(tmp_path / "upright_demo.hdf5", convention="opencv")
    genie.run("label", stored, "--server", server)
    genie.run("label", upright, "--server", server)
    genie.run("label", stored, "--server", server, "--no-flip", "--out", tmp_path / "unflipped.hdf5")
    latents = [
        open_labelled(tmp_path / name).labels("demo_0")[0].latent
        for name in ("stored_demo.labelled.hdf5", "upright_demo.labelled.hdf5", "unflipped.hdf5")
    ]
    np.testing.assert_array_equal(latents[0], latents[1])
    assert not np.array_equal(latents[0], latents[2])


@pytest.mark.parametrize("wrong", [0.0, -3.0, float("nan")])
def test_a_wrong_rate_stops_its_own_episode_only(genie: Genie, server: str, tmp_path: Path, wrong: float) -> None:
    path = make_robomimic(tmp_path / "lift.hdf5", episodes=3)
    with h5py.File(path, "r+") as file:
        file["data/demo_1"].attrs["fps"] = wrong
    err = one_line(genie.fail("label", path, "--server", server))
    assert f"demo_1: attribute fps of the demo: got {wrong}" in err
    assert "--skip-bad leaves such episodes out" in err
    said = one_line(genie.run("label", path, "--server", server, "--skip-bad"))
    assert "2 of 3 labelled" in said
    assert "left out demo_1:" in said
    assert open_labelled(tmp_path / "lift.labelled.hdf5").episodes == ("demo_0", "demo_2")
    genie.run("label", path, "--server", server, "--fps", "10", "--overwrite")
    assert len(open_labelled(tmp_path / "lift.labelled.hdf5").episodes) == 3


def test_bad_files_among_good_ones_are_left_out_only_on_request(genie: Genie, server: str, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.hdf5").write_bytes(b"no HDF5 at all")
    make_robomimic(folder / "b.hdf5", episodes=3, frames=6)
    with h5py.File(folder / "b.hdf5", "r+") as file:
        del file["data/demo_1/obs/agentview_image"]
    assert "a.hdf5" in genie.fail("label", folder, "--server", server)
    assert not (tmp_path / "set.labelled.hdf5").exists()
    said = one_line(genie.run("label", folder, "--server", server, "--skip-bad"))
    assert "left out a:" in said
    assert "left out b/demo_1:" in said
    labelled = open_labelled(tmp_path / "set.labelled.hdf5")
    assert [labelled.labels(name)[1].source_name for name in labelled.episodes] == ["b/demo_0", "b/demo_2"]


def test_a_damaged_jpeg_is_named_with_its_frame(genie: Genie, server: str, tmp_path: Path) -> None:
    for number in range(2):
        make_aloha(tmp_path / f"episode_{number}.hdf5", frames=12, compressed=True, seed=number)
    with h5py.File(tmp_path / "episode_1.hdf5", "r+") as file:
        file["observations/images/top"][7, 200:] = 0
    words = ("label", tmp_path, "--server", server, "--fps", "10", "--out", tmp_path.parent / "jpeg.hdf5")
    err = one_line(genie.fail(*words))
    assert "episode_1.hdf5: frame 7 of observations/images/top" in err
    assert "of 2 episodes are finished" in err
    said = one_line(genie.run(*words, "--skip-bad"))
    assert "left out episode_1:" in said
    assert len(open_labelled(tmp_path.parent / "jpeg.hdf5").episodes) == 1


def test_nothing_to_label_is_an_error_even_where_bad_ones_may_be_left_out(
    genie: Genie, server: str, tmp_path: Path
) -> None:
    path = make_robomimic(tmp_path / "lift.hdf5", frames=1)
    err = one_line(genie.fail("label", path, "--server", server, "--skip-bad"))
    assert "none of 2 episodes can be labelled; demo_0: " in err
    said = genie.run("inspect", make_robomimic(tmp_path / "short.hdf5", frames=4), "--colour", "bgr", "--flip")
    assert "stored as BGR, upside down, turned over when read" in one_line(said)


def test_every_camera_is_labelled_into_a_file_of_its_own(genie: Genie, server: str, tmp_path: Path) -> None:
    path = make_aloha(tmp_path / "episode_0.hdf5", frames=12, cameras=("cam_high", "cam_low"))
    words = ("--camera", "all", "--fps", "10")
    assert one_line(genie.run("inspect", path, *words)).count("can be labelled: genie label") == 2
    genie.run("label", path, "--server", server, *words)
    genie.run("label", path, "--server", server, *words, "--out", tmp_path / "mine.hdf5")
    for name in ("episode_0.{}.labelled.hdf5", "mine.{}.hdf5"):
        for camera in ("cam_high", "cam_low"):
            labelled = open_labelled(tmp_path / name.format(camera))
            assert labelled.labels_attrs(labelled.episodes[0]).camera == camera
    assert "a place for the labels of one camera" in one_line(genie.fail("label", path, *words, "--in-place"))
