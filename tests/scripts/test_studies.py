"""The scripts behind figures of docs/label-quality.md, on squares whose motion is known to the pixel."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data import decode_image
from scripts import codes_by_camera, compare_on_suite, frame_rates
from tests.factories.bundles import make_motion_bundle
from tests.factories.squares import make_squares


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], module: object, *words: object) -> str:
    monkeypatch.setattr(sys, "argv", ["script", *map(str, words)])
    module.main()  # type: ignore[attr-defined]
    return capsys.readouterr().out


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    make_squares(tmp_path / "squares.hdf5", episodes=8, frames=12)
    target = {"array": "obs/square", "groups": {"down": [0]}}
    entry = {"name": "squares", "path": "squares.hdf5", "role": "trained", "step": 1, "target": target, "hold_out": 0.5}
    path = tmp_path / "suite.json"
    path.write_text(json.dumps({"format": 1, "name": "s", "probes": "labels", "sets": [entry]}))
    return path


def test_bundles_are_compared_on_the_same_episodes_and_what_was_computed_is_kept(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = make_motion_bundle(tmp_path / "before")
    make_motion_bundle(tmp_path / "mine_squares", seed=1)
    words = (before, tmp_path / "mine_{set}", tmp_path, tmp_path / "kept.json", "--suite", suite)
    table = run(monkeypatch, capsys, compare_on_suite, *words)
    assert "| squares (4 episodes) | latent |" in table
    assert "| squares, down | code |" in table
    assert "| mean of 1 sets | latent |" in table
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert {len(of["errors"][""]["latent"]) for of in kept.values()} == {4}

    same = run(monkeypatch, capsys, compare_on_suite, before, before, *words[2:])
    assert all("+0.000 (+0.000 to +0.000)" in line for line in same.splitlines() if "(4 episodes)" in line)
    monkeypatch.setattr(compare_on_suite, "errors_of", None)  # nothing is computed again
    assert run(monkeypatch, capsys, compare_on_suite, *words) == table


def test_a_set_at_another_rate_has_its_own_frames_and_truth_at_those_times(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_motion_bundle(tmp_path / "bundle", usual_norm=1e-3)
    words = (tmp_path, tmp_path / "out", "--bundle", bundle, "--suite", suite, "--set", "squares")
    lines = run(monkeypatch, capsys, frame_rates, *words, "--rates", 5, 20).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| 5", "| 20"]
    with h5py.File(tmp_path / "squares.hdf5") as source:
        there = {place.tobytes() for demo in source["data"].values() for place in demo["obs/square"][:]}
    with h5py.File(tmp_path / "out" / "5.hdf5") as half, h5py.File(tmp_path / "out" / "20.hdf5") as twice:
        assert half["data/demo_0/obs/truth"].shape == (6, 2)
        track = twice["data/demo_0/obs/truth"][:]
        assert {place.tobytes() for place in track} <= there
        assert len(track) == 23
        assert (np.diff(track, axis=0) == 0).all(axis=1).sum() >= 11


def test_the_same_motion_from_two_cameras(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "turned"):
        make_squares(tmp_path / f"{name}.hdf5", episodes=4, frames=12)
        with h5py.File(tmp_path / f"{name}.hdf5", "a") as file:
            for demo in file["data"].values():
                row_column = demo["obs/square"][:]
                demo["obs/robot0_eef_pos"] = np.c_[row_column, np.zeros(len(row_column))] / 100
                if name == "turned":
                    pictures = demo["obs/agentview_image"][:][:, ::-1]
                    del demo["obs/agentview_image"]
                    demo["obs/agentview_image"] = pictures
                    row_column = np.c_[31 - row_column[:, 0], row_column[:, 1]]
                demo["obs/eef_pixel"] = row_column[:, ::-1]
    bundle = make_motion_bundle(tmp_path / "bundle")
    cameras = [f"{name}={tmp_path / name}.hdf5" for name in ("one", "turned")]
    words = (*cameras, "--bundle", bundle, "--picture", tmp_path / "codes.png")
    out = run(monkeypatch, capsys, codes_by_camera, *words)
    assert "| one | hand, in the picture |" in out
    assert "| one, turned |" in out
    assert decode_image((tmp_path / "codes.png").read_bytes()).shape[2] == 3


def test_codes_that_mean_the_same_from_both_cameras_agree() -> None:
    moved = np.array([[1.0, 0.0], [-1.0, 0.0]] * 5)
    code = np.array([0, 1] * 5)
    kinds = (codes_by_camera.HAND, codes_by_camera.PICTURE)
    seen = codes_by_camera.Seen([code] * 3, {kind: [moved] * 3 for kind in kinds}, {})
    other = codes_by_camera.Seen([1 - code] * 3, seen.moved, {})
    same = codes_by_camera.agreement({"a": seen, "b": seen}, 2)
    assert "| a, b | 1.00 (1.00 to 1.00) (chance 0.50) | 1.00 (1.00 to 1.00) |" in same
    opposite = codes_by_camera.agreement({"a": seen, "b": other}, 2)
    assert "| a, b | 0.00 (0.00 to 0.00) (chance 0.50) | -1.00 (-1.00 to -1.00) |" in opposite
