"""The examples run as they are, against a real server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from genie_core.data import open_dataset
from tests.factories.data import make_video

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_label_and_simulate(server: str, tmp_path: Path) -> None:
    video = make_video(tmp_path / "robot.mp4", 20, (48, 64), 10)
    script = EXAMPLES / "label_and_simulate.py"
    run = subprocess.run([sys.executable, script, video, server], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert "transitions" in run.stdout
    assert open_dataset(tmp_path / "robot.what-if.mp4").episodes[0].num_frames == 8
