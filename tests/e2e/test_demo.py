"""`genie demo` from the command line to its four files, with a server of its own and an untrained model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from genie_core.data import decode_image, open_dataset, open_labelled
from genie_core.data.samples import sample_path
from processes import Genie


@pytest.fixture(scope="module")
def demo(models_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the demo said, and the folder that it wrote."""
    folder = tmp_path_factory.mktemp("demo")
    return Genie(folder).run("demo", "--models", models_folder, "--out", "out"), folder / "out"


def test_it_labels_the_whole_sample(demo: tuple[str, Path]) -> None:
    labelled, sample = open_labelled(demo[1] / "labelled.hdf5"), open_dataset(sample_path())
    assert list(labelled.episodes) == [episode.name for episode in sample.episodes]
    for episode in sample.episodes:
        labels, _ = labelled.labels(episode.name)
        kept = labelled.episode(episode.name)
        assert kept is not None
        assert len(labels) == kept.num_frames == episode.num_frames
        assert labels.valid.sum() == episode.num_frames - 1


def test_it_shows_the_real_and_the_simulated_video_and_every_counterfactual(demo: tuple[str, Path]) -> None:
    out = demo[1]
    (video,) = open_dataset(out / "rollout.mp4").episodes
    assert video.num_frames == 10
    sheet = decode_image((out / "demo.png").read_bytes())
    assert min(sheet.shape[:2]) > 1000
    verified = subprocess.run([sys.executable, "-m", "rerun", "rrd", "verify", out / "demo.rrd"], check=False)
    assert verified.returncode == 0


def test_it_says_what_happened_and_what_to_do_next(demo: tuple[str, Path]) -> None:
    for words in ("nano", "episodes", "9 futures of 9 frames", "end effector moves", "server ready", "genie label"):
        assert words in demo[0]
