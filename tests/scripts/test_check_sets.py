"""The table of every set's verdict: what was answered is kept, and video that shows no robot is made as it says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from genie_core.data import open_dataset
from scripts import check_sets


def test_what_is_kept_is_told_and_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sets.json").write_text('[{"set": "An arm", "path": "arm.hdf5", "trained": true}]')
    rows = [{"step": 1, "labelled": 9, "moving": 7}, {"step": 2, "labelled": 4, "moving": 4}]
    probe = {"value": -0.021, "ci95": [-0.05, 0.01], "n": 11, "episodes": 2}
    report = {
        "verdict": "fit with care",
        "decided_by": [{"name": "moving_transitions", "value": 11.0}, {"name": "cut_share", "value": 0.0261}],
        "metrics": {"flow_left": {"value": 0.4, "ci95": None}, "probe_latent_minus_flow": probe},
        "episodes": rows,
    }
    (tmp_path / "An_arm.json").write_text(json.dumps(report))
    monkeypatch.setattr(check_sets, "SETS", tmp_path / "sets.json")
    monkeypatch.setattr(check_sets, "main_of_genie", None)  # nothing is asked
    monkeypatch.setattr(sys, "argv", ["check_sets", str(tmp_path), str(tmp_path), "--sets", "An arm"])
    check_sets.main()
    assert capsys.readouterr().out.splitlines()[2] == (
        "| An arm | yes | 2, 13 (11) | 1/2 | fit with care | `moving_transitions` 11.00, `cut_share` 0.026 | 0.40 "
        "|  |  |  |  | -0.02 (-0.05 to 0.01) |"
    )


@pytest.mark.parametrize("name", list(check_sets.MADE))
def test_video_of_no_robot_is_robomimics_and_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(check_sets, "EPISODES", 2)
    monkeypatch.setattr(check_sets, "FRAMES", 4)
    check_sets.make(tmp_path / "made.hdf5", check_sets.MADE[name])
    first, second = open_dataset(tmp_path / "made.hdf5").episodes
    assert (first.fps, first.num_frames) == (10, 4)
    frames = first.frames()
    assert all(np.abs(frames[i + 1].astype(int) - frames[i]).max() > 20 for i in range(3))
    assert (frames != second.frames()).any()
