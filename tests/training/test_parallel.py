"""Training in several processes: the numbers of one, and a run that goes on with another number of processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from genie_core.errors import ModelError
from genie_core.models.presets import preset
from genie_core.training.config import StageConfig
from genie_core.training.parallel import ALONE, Group
from genie_core.training.pipeline import train
from tests.factories.data import make_robomimic
from tests.training.parallel_job import Recorder, job

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_robomimic(tmp_path_factory.mktemp("data") / "robot.hdf5", episodes=3, frames=14, size=32, fps=10)


def in_two(*words: str | Path) -> int:
    """Run `parallel_job` in two processes, as torchrun starts them; its exit status."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += ["--standalone", "-m", "tests.training.parallel_job", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    quiet = subprocess.DEVNULL
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=280, check=False, stderr=quiet).returncode


def test_two_processes_compute_what_one_does_and_one_goes_on_from_two(data: Path, tmp_path: Path) -> None:
    alone = Recorder()
    train(job(data, tmp_path / "alone"), alone, report_every=1)
    # Killed in the second stage by SIGKILL; its first stage was trained, with its first codes, by two.
    assert in_two(data, tmp_path / "cut", tmp_path / "losses.json", "lam", "4") != 0
    assert not (tmp_path / "cut").exists()
    both = json.loads((tmp_path / "losses.json").read_text())
    assert list(both) == [f"tokenizer {n}" for n in range(1, 7)] + [f"lam {n}" for n in range(1, 5)]
    assert both == pytest.approx({key: alone.losses[key] for key in both}, rel=1e-3)
    rest = Recorder()
    train(job(data, tmp_path / "cut"), rest, report_every=1)
    assert {key.split()[0] for key in rest.losses} == {"lam", "dynamics"}
    assert min(int(key.split()[1]) for key in rest.losses if key.startswith("lam")) > 1
    assert list(alone.losses)[-6:] == list(rest.losses)[-6:]
    for key in list(alone.losses)[-6:]:  # smoothed from the stage's start, which this run has seen whole
        assert rest.losses[key] == pytest.approx(alone.losses[key], rel=1e-3)
    for component in ("tokenizer", "lam", "dynamics"):
        a, b = (load_file(tmp_path / name / f"{component}.safetensors") for name in ("alone", "cut"))
        assert all(torch.allclose(a[key], b[key], atol=2e-3) for key in a)


def test_pieces_are_divided_evenly() -> None:
    assert list(ALONE.own(4, "lam")) == [0, 1, 2, 3]
    assert [list(Group(rank, 2).own(4, "lam")) for rank in (0, 1)] == [[0, 1], [2, 3]]
    with pytest.raises(ModelError, match=r"lam: got 3 pieces a step for 2 processes.*--pieces"):
        Group(0, 2).own(3, "lam")
    with pytest.raises(ValueError, match="expected a number that divides it"):
        StageConfig(steps=1, batch=4, clip_frames=2, lr=1e-3, pieces=3)
    assert Group(1, 2, 1).device("cuda") == "cuda:1"
    assert Group(1, 2, 1).device("cpu") == "cpu"


def test_activations_computed_again_change_nothing(data: Path, tmp_path: Path) -> None:
    kept, again = Recorder(), Recorder()
    whole = replace(job(data, tmp_path / "kept", pieces=1), model=preset("nano"))
    train(whole, kept, report_every=1)
    train(replace(whole, out=tmp_path / "again", recompute=True), again, report_every=1)
    assert again.losses == pytest.approx(kept.losses, rel=1e-5)
