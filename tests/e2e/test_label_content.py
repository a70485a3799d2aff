"""`genie label` and `genie inspect` look at what the pictures show, and at their times."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from genie_core.data import open_labelled
from tests.factories.data import make_aloha, make_frames, make_robomimic, make_video
from tests.support.processes import GenieHere


def one_line(text: str) -> str:
    return " ".join(text.split())


def make_faulty(path: Path) -> Path:
    """Demos: all black, frozen, dark from frame 12 on, as they should be."""
    good = make_frames(24, 32, 32)
    dark = good.copy()
    dark[12:] = 0
    make_robomimic(path, episodes=4, frames=24, size=32)
    with h5py.File(path, "r+") as file:
        for number, frames in enumerate((good * 0, good[[5] * 24], dark)):
            file[f"data/demo_{number}/obs/agentview_image"][...] = frames
    return path


def test_blank_and_frozen_pictures_are_told_and_get_no_label(genie: GenieHere, server: str, tmp_path: Path) -> None:
    path = make_faulty(tmp_path / "faulty.hdf5")
    for words in (("inspect", path), ("inspect", path, "--thorough"), ("label", path, "--server", server)):
        said = one_line(genie.run(*words))
        assert "demo_0: all 24 frames are of one colour: the camera recorded nothing" in said
        assert "demo_1: all frames are the same picture to the bit" in said
        assert "demo_2: the camera goes dark, or blank: frame 12 is of one colour, and all frames from there" in said
        assert "demo_3" not in said.partition("warning")[2]
    assert "transitions that got no label (valid is false, reason says why): 35 blank, 23 frozen" in said
    labelled = open_labelled(tmp_path / "faulty.labelled.hdf5")
    valid = [int(labelled.labels(name)[0].valid.sum()) for name in labelled.episodes]
    assert valid == [0, 0, 11, 23]
    assert genie.run("verify", labelled.path)


def test_frozen_pictures_are_labelled_if_asked_for(genie: GenieHere, server: str, tmp_path: Path) -> None:
    path = make_faulty(tmp_path / "faulty.hdf5")
    genie.run("label", path, "--server", server, "--keep-frozen")
    labels, attrs = open_labelled(tmp_path / "faulty.labelled.hdf5").labels("demo_1")
    assert (labels.valid.sum(), labels.reason, attrs.frozen) == (23, None, "kept")
    assert "frozen" in genie.fail("label", path, "--server", server, "--resume")


def test_labels_of_nearly_one_code_are_told(genie: GenieHere, server: str, tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "still.hdf5", episodes=1, frames=40, size=32)
    with h5py.File(path, "r+") as file:
        frames = file["data/demo_0/obs/agentview_image"]
        frames[...] = np.tile(frames[:2], (20, 1, 1, 1))[np.arange(40) // 2 % 40]
    said = one_line(genie.run("label", path, "--server", server, "--step", "4"))
    assert "nearly all is one code" in said
    assert "try --step N, or adapt the model" in said


def test_a_gap_in_time_is_told_and_not_labelled_across(genie: GenieHere, server: str, tmp_path: Path) -> None:
    times = [100 * t + (6000 if t > 9 else 0) for t in range(20)]
    path = make_video(tmp_path / "pause.mkv", frames=20, times_ms=times)
    assert "1 gap, the longest of 6.1 s after frame 9" in one_line(genie.run("inspect", path))
    said = one_line(genie.run("label", path, "--server", server))
    assert "1 gap, the longest of 6.1 s after frame 9" in said
    labels, attrs = open_labelled(tmp_path / "pause.labelled.hdf5").labels("demo_0")
    assert (attrs.fps, attrs.step) == (10, 1)
    assert np.flatnonzero(~labels.valid).tolist() == [9, 19]


def test_damage_is_told_before_an_unknown_rate(genie: GenieHere, server: str, tmp_path: Path) -> None:
    path = make_aloha(tmp_path / "episode_0.hdf5", compressed=True)
    with h5py.File(path, "r+") as file:
        file["observations/images/top"][5] = 0
    assert "frame 5 of observations/images/top" in genie.fail("label", path, "--server", server)
