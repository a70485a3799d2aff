from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks.catalogue import METRICS, Benchmark
from benchmarks.episodes import make_clip, write_episodes
from benchmarks.grpc_labelling import measure
from benchmarks.machine import describe_machine
from benchmarks.matmul import matmul_sides
from benchmarks.measured import Measured, make_row
from benchmarks.motion_labels import one_thread
from benchmarks.play_latency import QUICK_ACTIONS, under_bulk
from benchmarks.processes import label_peak_mb, peak_mb, serving
from benchmarks.robotics import random_bundle, time_rollouts
from benchmarks.row import read_rows, write_rows
from genie_core.data import open_dataset, read_labels
from genie_core.models.presets import preset


def test_command_measures_a_row_and_writes_both_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, page = tmp_path / "results.json", tmp_path / "page.md"
    name = "start_to_first_label_s"
    assert command.main([name, "--quick", "--results", str(results), "--page", str(page)]) == 0
    (row,) = read_rows(results)
    assert row.name == name
    assert row.parts.quick
    assert 0 < row.parts.measured["ready"].median < row.value < 120
    assert name in page.read_text()
    assert name in capsys.readouterr().out


def test_failed_benchmark_keeps_the_row_that_there_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results, page = tmp_path / "results.json", tmp_path / "page.md"
    metric = METRICS["encoder_over_plain_all"]
    old = make_row(metric, Measured(value=1.5, measured={}), describe_machine(), quick=False)
    write_rows(results, [old])
    monkeypatch.setattr(command, "chosen", lambda names: [Benchmark("benchmarks.start:nothing", 1, (metric,))])
    assert command.main(["--results", str(results), "--page", str(page)]) == 1
    assert read_rows(results) == [old]
    assert "encoder_over_plain_all: failed with status 1" in capsys.readouterr().err


def test_unknown_name_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["speed"]) == 2
    assert "no benchmark 'speed'" in capsys.readouterr().err


def test_clients_label_what_the_process_labels() -> None:
    """Two real clients and the real server with the shipped model; `measure` itself checks that the codes are equal."""
    (measured,) = measure(2, "tiny", quick=True)
    assert measured.value > 0
    assert {"inprocess", "grpc", "ratio", "cpu_ratio"} < set(measured.measured)


def test_play_goes_on_beside_a_labeller() -> None:
    """A real `Play` and a real labeller on one real server; that every lane is busy `under_bulk` itself sees to."""
    (measured,) = under_bulk(quick=True)
    parts = {name: samples.median for name, samples in measured.measured.items()}
    for side in ("idle", "beside"):
        assert 0 < parts[f"{side}_waiting"] + parts[f"{side}_computing"] < parts[f"{side}_p95"]
        assert parts[f"{side}_p50"] <= parts[f"{side}_p95"]
    assert measured.value == parts["beside_p95"]
    assert parts["labeller_alone"] > 0
    assert parts["labeller_beside"] > 0
    assert measured.facts["actions_a_round"] == QUICK_ACTIONS


def test_peak_memory_is_seen(tmp_path: Path) -> None:
    before = peak_mb()
    block = np.ones(200_000_000, np.uint8)
    assert peak_mb() >= before
    assert peak_mb() > block.nbytes / 1e6
    data = write_episodes(tmp_path / "data.hdf5", 1, 20)
    out = tmp_path / "out.hdf5"
    with serving() as server:
        client = label_peak_mb(str(data), "--server", server.address, "--out", str(out))
        assert 20 < client < peak_mb(server.pid)
    labels, _ = read_labels(out, "demo_0")
    assert labels.valid.sum() == 19


def test_episodes_move_and_repeat(tmp_path: Path) -> None:
    clip = make_clip(500, seed=4)
    assert (clip[1:] != clip[:-1]).any(axis=(1, 2, 3)).mean() > 0.9
    path = write_episodes(tmp_path / "long.hdf5", 2, 700, first_seed=4)
    with h5py.File(path) as file:
        frames = file["data/demo_0/obs/agentview_image"][()]
    assert np.array_equal(frames, np.concatenate([clip, clip[:200]]))
    assert [e.num_frames for e in open_dataset(path).episodes] == [700, 700]


def test_matrix_products_are_counted() -> None:
    for work, flops in matmul_sides("fp32", sample_flops=1.0).values():
        work()
        assert flops > 1e8


def test_rollouts_of_a_model_are_timed_on_any_device() -> None:
    measured = time_rollouts(random_bundle(preset("nano"), torch.device("cpu")), steps=2, rounds=2)
    assert measured.value == pytest.approx(1 / measured.measured["frame"].median, rel=1e-4)
    assert measured.gpu == ""
    assert measured.facts["maskgit_steps"] == 2


def test_motion_is_timed_beside_tiny_and_its_flow_alone() -> None:
    (measured,) = one_thread(quick=True)
    rates = {name: samples.median for name, samples in measured.measured.items()}
    assert measured.value == rates["motion"] > 0
    assert rates["flow_both_ways"] > rates["motion"]
    assert measured.measured["over_tiny"].unit == "x"
