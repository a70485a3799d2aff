from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from genie_core.models.motion import Pairs
from genie_core.models.presets import preset
from genie_core.training.clips import ClipStore, Span
from genie_core.training.config import MotionTraining
from scripts import motion_ablation
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
    frames = np.zeros((8, 64, 64, 3), np.uint8)
    frames[4:, 20:40] = np.arange(4, dtype=np.uint8)[:, None, None, None] * 60
    spans = tuple(Span("a", source, first, 4, 1, 10.0) for first, source in ((0, "train_iiwa"), (4, "train_panda")))
    both, one = ClipStore(frames, spans), ClipStore(frames, spans[1:])
    plain, without = motion_ablation.Row("all"), motion_ablation.Row("one", without=("train_iiwa",))
    runs = {
        (row.title, len(of.spans)): motion_ablation.trained(row, of, 2, 0)
        for row, of in ((plain, both), (without, both), (plain, one))
    }
    weight = {key: lam.motion_encoder.to_latent.weight for key, lam in runs.items()}
    assert torch.equal(weight["one", 2], weight["all", 1])
    assert not torch.equal(weight["one", 2], weight["all", 2])
