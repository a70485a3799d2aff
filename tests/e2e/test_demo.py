"""`genie demo` from the command line to its four files, with a server of its own and an untrained model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from genie_core.data import decode_image, open_dataset, open_labelled
from genie_core.data.samples import sample_path
from tests.support.processes import Genie


def test_the_demo_labels_simulates_draws_and_says_what_happened(
    genie_process: Genie, models_folder: Path, tmp_path: Path
) -> None:
    said, out = genie_process.run("demo", "--models", models_folder, "--out", "out"), tmp_path / "out"
    assert_whole_sample_is_labelled(out / "labelled.hdf5")
    (video,) = open_dataset(out / "rollout.mp4").episodes
    assert video.num_frames == 10
    sheet_HWC = decode_image((out / "demo.png").read_bytes())
    assert min(sheet_HWC.shape[:2]) > 1000
    verified = subprocess.run([sys.executable, "-m", "rerun", "rrd", "verify", out / "demo.rrd"], check=False)
    assert verified.returncode == 0
    for words in ("nano", "episodes", "9 futures of 9 frames", "end effector moves", "server ready", "genie label"):
        assert words in said


def assert_whole_sample_is_labelled(path: Path) -> None:
    labelled, sample = open_labelled(path), open_dataset(sample_path())
    assert list(labelled.episodes) == [episode.name for episode in sample.episodes]
    for episode in sample.episodes:
        labels, _ = labelled.labels(episode.name)
        kept = labelled.episode(episode.name)
        assert kept is not None
        assert len(labels) == kept.num_frames == episode.num_frames
        assert labels.valid.sum() == episode.num_frames - 1
