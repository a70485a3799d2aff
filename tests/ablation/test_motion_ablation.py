from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from genie_core.data import open_dataset
from genie_core.evaluation.suite.rows import EpisodeTransitions
from genie_core.models.motion import Pairs
from genie_core.models.presets import preset
from genie_core.models.quantizer import VectorQuantizer
from genie_core.training.clips import ClipStore, Span
from genie_core.training.config import MotionTraining
from scripts import motion_ablation, motion_probes
from scripts.learnt_correlation import CorrelatingModel
from tests.factories.squares import make_squares


def lam(row: motion_ablation.Row) -> motion_ablation.MotionActionModel:
    torch.manual_seed(0)
    model = preset("motion")
    return row.model(motion_ablation._motion_config(model), model.height, model.width).eval()


def pairs() -> Pairs:
    torch.manual_seed(1)
    there = torch.randn(4, 2, 32, 32)
    return Pairs(*(torch.rand(2, 4, 3, 32, 32) - 0.5).unbind(0), there, -there).steady()


def test_every_row_learns_from_its_own_loss_and_the_blind_one_sees_no_flow() -> None:
    losses = set()
    for row in motion_ablation.ROWS:
        model, seen = lam(row), pairs()
        if isinstance(model, CorrelatingModel):
            continue
        torch.manual_seed(2)
        loss = row.loss(model, seen, MotionTraining())
        loss.backward()
        assert model.motion_encoder.to_latent.weight.grad is not None
        losses.add(round(float(loss.detach()), 4))
        other = Pairs(seen.before_NCHW, seen.after_NCHW, -seen.there_NCHW, -seen.back_NCHW, seen.whole_N2)
        blind = torch.equal(model.features_of(seen), model.features_of(other))
        assert blind == (row.title.startswith("no flow"))
    assert len(losses) == 4


def test_a_run_trains_and_probes_every_row_once_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "sim"
    folder.mkdir()
    make_squares(folder / "panda_squares.hdf5", episodes=4, frames=6, size=32)
    (tmp_path / "sources.json").write_text(json.dumps([{"path": "sim/panda_squares.hdf5"}]))
    suite = {
        "format": 1,
        "name": "squares",
        "description": "squares",
        "sets": [
            {
                "name": "squares",
                "path": "sim/panda_squares.hdf5",
                "role": "trained",
                "robot": "square",
                "source": "simulated",
                "step": 1,
                "target": {"array": "obs/square"},
            }
        ],
    }
    (tmp_path / "suite.json").write_text(json.dumps(suite))
    arguments = [str(tmp_path / "sources.json"), str(tmp_path), str(tmp_path / "out"), "--steps", "1", "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", ["motion_ablation.py", *arguments, "--suite", str(tmp_path / "suite.json")])
    monkeypatch.setattr(motion_ablation, "ROWS", motion_ablation.ROWS[:2])
    motion_ablation.main()
    first = capsys.readouterr()
    assert first.err.count("done") == 2
    assert "| as shipped | " in first.out
    assert "| flow 8x8, no encoder | " in first.out
    motion_ablation.main()
    again = capsys.readouterr()
    assert "done" not in again.err
    assert again.out == first.out


def test_a_source_that_is_left_out_is_not_trained_on() -> None:
    frames = np.zeros((12, 64, 64, 3), np.uint8)
    sources = ("train_iiwa", "train_panda", "train_baxter")
    spans = tuple(Span("a", source, 4 * i, 4, 1, 10.0) for i, source in enumerate(sources))
    training = motion_ablation.Training(ClipStore(frames, spans), (1.6, 1.5, math.nan))
    for row, kept in (
        (motion_ablation.Row("all"), ["train_iiwa", "train_panda"]),
        (motion_ablation.Row("one", without=("train_iiwa",)), ["train_panda", "train_baxter"]),
        (motion_ablation.Row("near", farthest_m=1.5), ["train_panda"]),
    ):
        assert [span.source for span in training.of(row).spans] == kept


def test_distances_are_those_of_the_cameras_that_files_tell_of(tmp_path: Path) -> None:
    make_squares(tmp_path / "squares.hdf5", episodes=2, frames=4, size=32)
    with h5py.File(tmp_path / "squares.hdf5", "a") as file:
        file["data/demo_1"].attrs["camera"] = json.dumps({"pos": [-0.03, 1.2, 0.9 + 0.9]})
    episodes = open_dataset(str(tmp_path / "squares.hdf5")).episodes
    none, told = motion_ablation.camera_distances(episodes)
    assert math.isnan(none)
    assert told == pytest.approx(1.5)


def test_errors_are_of_groups_of_columns_and_codes_too_and_means_of_sets_alone() -> None:
    rng = np.random.default_rng(0)
    rows, seen = [], []
    for _ in range(4):
        of = pairs()
        seen.append(of)
        truth = rng.normal(size=(4, 3))
        features = {f"flow_{n}x{n}": rng.normal(size=(4, 2)) for n in (8, 4)}
        rows.append(EpisodeTransitions("a", np.zeros(4, np.int64), features, np.zeros(4), truth, {}, None))  # type: ignore[arg-type]
    frames = [(torch.zeros(4, 64, 64, 3, dtype=torch.uint8),) * 2] * 4
    of_set = motion_probes.ProbedSet("robot", rows, seen, frames, {"hand": [2]}, {})
    flows = motion_probes._errors(
        of_set, motion_probes.score(rows, 8, 0, lambda *_: None, motion_probes.FLOWS), motion_probes.FLOWS
    )
    probed = [replace(of_set, flows=flows)]
    model = lam(motion_ablation.ROWS[0])
    book = VectorQuantizer(model.config.quantizer)
    errors = motion_probes.errors_of(model, probed, [book])
    assert set(errors) == {"robot", "robot, hand"}
    assert set(errors["robot, hand"]) == {"latent_linear", "code_linear", "flow_8x8_linear", "flow_4x4_linear"}
    other = motion_probes.errors_of(lam(motion_ablation.ROWS[-2]), probed)["robot"]
    runs = {"as shipped": {"0": errors}, "another": {"0": {"robot": other}}}
    assert len(motion_probes.table(runs, {"robot"}).splitlines()) == 6
    assert "another" not in motion_probes.table(runs, {"robot"}, "code_linear")
