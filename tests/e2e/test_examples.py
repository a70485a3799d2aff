"""The examples run as they are, against a real server."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data import LabelModel, Labels, LabelWriter, open_dataset, read_image
from genie_core.data.labelled.provenance import LabelAlignment
from tests.factories.data import make_frames, make_robomimic, make_video
from tests.factories.labelled import label_file
from tests.support.processes import Genie

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_label_and_simulate(server: str, tmp_path: Path) -> None:
    video = make_video(tmp_path / "robot.mp4", 20, (48, 64), 10)
    script = EXAMPLES / "label_and_simulate.py"
    run = subprocess.run([sys.executable, script, video, server], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert "transitions" in run.stdout
    assert open_dataset(tmp_path / "robot.what-if.mp4").episodes[0].num_frames == 8


def example(name: str, *words: str | Path) -> str:
    """What an example says."""
    command = [sys.executable, EXAMPLES / name, *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_toy_of_the_tutorial_and_a_policy_from_labels_of_its_videos(tmp_path: Path) -> None:
    example("toy.py", tmp_path / "toy", "--videos", "3", "--frames", "8")
    videos = open_dataset(tmp_path / "toy" / "videos")
    assert [(e.num_frames, e.fps) for e in videos.episodes] == [(8, 10)] * 3
    few = open_dataset(tmp_path / "toy" / "few.hdf5")
    model = LabelModel("ab" * 32, "fake", 10.0, np.zeros((2, 4), np.float32))
    decoded = LabelAlignment("toy", "cd" * 32, ("y", "x"))
    with LabelWriter(tmp_path / "few.labelled.hdf5", few, model, step=1, alignment=decoded) as writer:
        for episode in writer.pending():
            assert episode.actions is not None
            action = np.array(episode.actions, np.float32)
            action[-1] = 0
            labels = replace(Labels.invalid(0, len(action), 4), valid=np.arange(len(action)) < len(action) - 1)
            writer.add(episode, replace(labels, action=action))
        path = writer.finish()
    said = example("train_policy.py", path, "--steps", "2", "--starts", "3")
    assert said.startswith("232 transitions with decoded actions of 2 numbers\nsuccess from 3 new starts: ")


def test_a_policy_from_labels_in_robomimics_layout(server: str, genie: Genie, tmp_path: Path) -> None:
    genie.run("label", make_robomimic(tmp_path / "lift.hdf5", episodes=4, frames=10), "--server", server)
    path = tmp_path / "lift.labelled.hdf5"
    with h5py.File(path, "a") as file:
        file["mask/genie_keep"] = [b"demo_0", b"demo_1", b"demo_3"]
    said = example("robomimic_policy.py", path, "--filter", "genie_keep", "--steps", "150").splitlines()
    assert said[0] == "27 transitions of 3 demos, 8 numbers each"
    errors = [float(word) for word in re.findall(r"\d+\.\d+", said[1])]
    assert errors[1] < min(0.95, errors[0])  # it learns, and best what it was trained on


def test_what_a_policy_is_cloned_from_is_read_or_refused_in_words(tmp_path: Path) -> None:
    path = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=2, frames=6)).path
    read = runpy.run_path(str(EXAMPLES / "robomimic_policy.py"))["read"]
    assert [len(demo.wanted) for demo in read(path, "actions", None, None)] == [5, 5]
    with h5py.File(path, "a") as file:
        actions = file["data/demo_0/actions"][:-1]  # as recorders write them that keep the last frame
        del file["data/demo_0/actions"]
        file["data/demo_0/actions"] = actions
    demos = read(path, "actions", "agentview_image", None)
    assert [(len(demo.picture), len(demo.wanted)) for demo in demos] == [(5, 5), (5, 5)]
    with pytest.raises(SystemExit, match="--camera: got wrist, expected one of demo_0's: agentview_image"):
        read(path, "actions", "wrist", None)
    with pytest.raises(SystemExit, match="demo_0 has no latent_actions/action"):
        read(path, "latent_actions/action", None, None)
    with h5py.File(path, "a") as file:
        del file["data/demo_0/obs"]
    with pytest.raises(SystemExit, match="demo_0 has no pictures: label with --keep-frames model, or copy"):
        read(path, "actions", None, None)


def test_counterfactuals_of_the_sample(tmp_path: Path) -> None:
    said = example("counterfactuals.py", tmp_path / "sheet.png")
    errors = [float(line.split()[-1]) for line in said.splitlines()[:3]]
    assert errors == sorted(errors)  # replayed, nothing, opposite
    assert errors[0] < 0.8 * errors[1]
    assert read_image(tmp_path / "sheet.png").shape == (1, 13 * 64, 7 * 64, 3)


def test_policies_are_ranked_in_rollouts_and_in_the_world() -> None:
    pytest.importorskip("gymnasium")
    said = example("rank_policies.py", "--starts", "2", "--steps", "2").splitlines()
    assert said[0].startswith("way back from action to latent, error on held-out episodes: 0.")
    assert len([line for line in said if line.startswith("policy ")]) == 8
    assert said[-1].startswith("rank correlation: ")


@pytest.mark.skipif(
    shutil.which("node") is None or not (EXAMPLES / "node" / "node_modules").is_dir(),
    reason="needs Node.js and `npm install --prefix examples/node`",
)
def test_a_client_in_javascript_made_from_the_protos(server: str, tmp_path: Path) -> None:
    frames = tmp_path / "frames.rgb"
    frames.write_bytes(make_frames(6, 48, 64).tobytes())
    script = EXAMPLES / "node" / "what_if.js"
    run = subprocess.run(
        ["node", script, server, frames, "64", "48"], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    codes, *drawn = run.stdout.splitlines()
    assert len(codes.split()) == 1 + 5
    assert drawn == [f"frame {i}: 32 x 32, 3072 bytes" for i in range(4)]
    frames.write_bytes(b"12345")
    run = subprocess.run(
        ["node", script, server, frames, "64", "48"], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 1
    assert "expected frames of 9216" in run.stderr
