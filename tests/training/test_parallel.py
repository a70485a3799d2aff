"""Training in several processes: the numbers of one, and a run that goes on with another number of processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
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
from tests.training.parallel_job import Losses, Recorder, job

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_robomimic(tmp_path_factory.mktemp("data") / "robot.hdf5", episodes=3, frames=14, size=32, fps=10)


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Losses]:
    """Return the bundle that one process trains, and its losses."""
    out = tmp_path_factory.mktemp("alone") / "alone"
    train(job(data, out), recorder := Recorder(), report_every=1)
    return out, recorder.losses


def in_two(*words: str | Path) -> int:
    """Run `parallel_job` in two processes, as torchrun starts them; its exit status."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
    command += ["--standalone", "-m", "tests.training.parallel_job", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    quiet = subprocess.DEVNULL
    return subprocess.run(command, cwd=ROOT, env=environment, timeout=280, check=False, stderr=quiet).returncode


def test_two_processes_compute_what_one_does_and_one_goes_on_from_two(
    data: Path, alone: tuple[Path, Losses], tmp_path: Path
) -> None:
    whole, losses = alone
    # Killed in the second stage by SIGKILL; its first stage was trained, with its first codes, by two.
    assert in_two(data, tmp_path / "cut", tmp_path / "losses.json", "lam", "4") != 0
    assert not (tmp_path / "cut").exists()
    both = json.loads((tmp_path / "losses.json").read_text())
    assert list(both) == [f"tokenizer {n}" for n in range(1, 7)] + [f"lam {n}" for n in range(1, 5)]
    assert both == pytest.approx({key: losses[key] for key in both}, rel=1e-3)
    rest = Recorder()
    train(job(data, tmp_path / "cut"), rest, report_every=1)
    assert {key.split()[0] for key in rest.losses} == {"lam", "dynamics"}
    assert min(int(key.split()[1]) for key in rest.losses if key.startswith("lam")) > 1
    assert list(losses)[-6:] == list(rest.losses)[-6:]
    for key in list(losses)[-6:]:  # smoothed from the stage's start, which this run has seen whole
        assert rest.losses[key] == pytest.approx(losses[key], rel=1e-3)
    for component in ("tokenizer", "lam", "dynamics"):
        a, b = (load_file(path / f"{component}.safetensors") for path in (whole, tmp_path / "cut"))
        assert all(torch.allclose(a[key], b[key], atol=2e-3) for key in a)


class CutError(Exception):
    """Ends a run in this process."""


class CutAt(Recorder):
    """Ends the run at one step of the dynamics model."""

    def step(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        super().step(stage, step, metrics)
        if (stage, step) == ("dynamics", 3):
            raise CutError


def each_step(smoothed: Losses) -> list[float]:
    """Return the losses behind smoothed ones, from the first that a run reported."""
    values = list(smoothed.values())
    return [values[0], *((after - 0.9 * before) / 0.1 for before, after in pairwise(values))]


def test_divided_network_computes_what_a_whole_one_does(data: Path, alone: tuple[Path, Losses], tmp_path: Path) -> None:
    """One process is stopped in the dynamics model; two go on, a part of it each; a last one reads what they kept."""
    whole, losses = alone
    folder = shutil.copytree(whole.with_name("alone.run"), tmp_path / "cut.run")
    (folder / "dynamics.safetensors").unlink()
    with pytest.raises(CutError):  # at step 3, its last checkpoint after step 2
        train(job(data, tmp_path / "cut"), CutAt(), checkpoint_seconds=0, report_every=1)
    assert in_two(data, tmp_path / "cut", tmp_path / "losses.json", "", "0", "shard") == 0
    both = json.loads((tmp_path / "losses.json").read_text())
    assert list(both) == [f"dynamics {n}" for n in (3, 4, 5, 6)]
    expected = each_step({key: loss for key, loss in losses.items() if "dynamics" in key})
    assert each_step(both) == pytest.approx(expected[2:], rel=1e-3)
    a, b = (load_file(path / "dynamics.safetensors") for path in (whole, tmp_path / "cut"))
    assert all(torch.allclose(a[key], b[key], atol=1e-4) for key in a)
    (tmp_path / "cut").rename(tmp_path / "by_two")
    train(job(data, tmp_path / "cut"), rest := Recorder())
    assert rest.losses == {}
    a, b = (load_file(tmp_path / name / "dynamics.safetensors") for name in ("by_two", "cut"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_division_needs_several_processes_and_a_dynamics_model(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="shard: got one process, expected several"):
        train(replace(job(data, tmp_path / "out"), shard=True), Recorder())


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
