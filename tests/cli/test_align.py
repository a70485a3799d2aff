from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from genie_cli.align import align as command
from genie_core.alignment import list_alignments, load_alignment
from genie_core.data import open_labelled
from genie_core.errors import DatasetError, ModelError
from genie_core.models.bundle import BundleInfo, load_bundle, read_bundle_info
from tests.factories.alignment import make_aligned
from tests.factories.bundles import make_nano_bundle

SMALL = ["--budgets", "10,40,5000", "--seeds", "2", "--supervised-steps", "2", "--no-mlp"]


def run(*words: str | Path) -> str:
    """The command's output; its errors are raised."""
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(w) for w in words], catch_exceptions=False, standalone_mode=False).output


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BundleInfo:
    monkeypatch.chdir(tmp_path)
    return read_bundle_info(make_nano_bundle(tmp_path / "nano"))


@pytest.fixture
def labelled(tmp_path: Path, bundle: BundleInfo) -> Path:
    return make_aligned(tmp_path / "a.labelled.hdf5", bundle)


def test_an_alignment_is_fitted_measured_saved_and_served(bundle: BundleInfo, labelled: Path) -> None:
    output = run(labelled, "--bundle", bundle.path, "--budget", "60", "--report", "rep", *SMALL)
    (entry,) = list_alignments(bundle)
    assert entry.name == "a-60"
    alignment = load_alignment(entry.path, bundle)
    info = alignment.info
    assert (info.budget, info.step, info.reduce, info.labels) == (60, 1, "mean", "a.labelled.hdf5")
    assert read_bundle_info(bundle.path).bundle_id == bundle.bundle_id

    report = json.loads(Path("rep/report.json").read_text())
    assert [b["budget"] for b in report["budgets"]] == [10, 40, 60]
    assert report["budgets_without_labels"] == [5000]
    stated = report["budgets"][-1]["ways"]
    assert set(stated) == {"draw", "dictionary", "regressor"}
    # Two of the three numbers are linear in the latent, the third is noise: a third of the error cannot be undone.
    assert 0.25 < stated["regressor"]["nmse"] < 0.45 < stated["dictionary"]["nmse"] < stated["draw"]["nmse"]
    assert report["budgets"][1]["ways"]["linear"]["nmse"] < report["budgets"][0]["ways"]["linear"]["nmse"]
    assert stated["regressor"]["nmse"] == pytest.approx(info.held_out["regressor"].nmse)
    assert report["supervised"]["nmse"] > 0
    for ways in (b["ways"] for b in report["budgets"]):
        for way in ways.values():
            assert way["ci95"][0] <= way["nmse"] <= way["ci95"][1] or len(way["by_draw"]) < 3
    for text in (output, Path("rep/report.md").read_text()):
        assert "supervised inverse dynamics, all labels" in text
        assert "way back (saved)" in text
    # Two numbers of the latent are known from the action; the others are not, and less is told of the whole.
    assert [b["budget"] for b in report["way_back"]] == [10, 40, 60]
    back = {b["budget"]: b["ways"]["regressor"]["nmse"] for b in report["way_back"]}
    assert 0.6 < back[60] < 0.9
    assert back[60] <= back[10]
    assert back[60] == pytest.approx(info.held_out["way_back"].nmse)


def test_the_precision_of_the_labels_is_kept(bundle: BundleInfo, labelled: Path) -> None:
    with h5py.File(labelled, "a") as file:
        for demo in file["data"].values():
            demo["latent_actions"].attrs["precision"] = "bfloat16"
    run(labelled, "--bundle", bundle.path, "--report", "rep", *SMALL)
    assert load_alignment(list_alignments(bundle)[0].path, bundle).info.precision == "bfloat16"
    assert json.loads(Path("rep/report.json").read_text())["precision"] == "bfloat16"


def test_what_is_stated_is_what_the_saved_file_does(bundle: BundleInfo, labelled: Path) -> None:
    run(labelled, "--bundle", bundle.path, "--budget", "60", "--report", "rep", *SMALL)
    alignment = load_alignment(list_alignments(bundle)[0].path, bundle)
    held_out = json.loads(Path("rep/report.json").read_text())["held_out"]
    assert len(held_out) == 2
    file, wrong, truth = open_labelled(labelled), [], []
    for name in held_out:
        labels, _ = file.labels(name)
        episode = file.episode(name)
        assert episode is not None
        actions = episode.actions
        assert actions is not None
        decoded = alignment.decode(labels.latent, labels.code, episode.frames())
        wrong.append((decoded - actions)[labels.valid])
        truth.append(actions[labels.valid])
    rmse = np.sqrt(np.square(np.concatenate(wrong)).mean(axis=0))
    np.testing.assert_allclose(rmse, alignment.info.held_out["regressor"].rmse, rtol=1e-4)


def test_the_same_command_makes_the_same_alignment(bundle: BundleInfo, labelled: Path) -> None:
    words = [labelled, "--bundle", bundle.path, "--budget", "30", "--hold-out", "0", "--draw", "episodes"]
    assert "not scored" in run(*words, "--name", "one")
    run(*words, "--name", "two")
    run(*words, "--name", "three", "--seed", "1")
    made = {e.name: load_alignment(e.path, bundle).dictionary.action_NA for e in list_alignments(bundle)}
    np.testing.assert_array_equal(made["one"], made["two"])
    assert not np.array_equal(made["one"], made["three"])
    assert not Path("alignment-one").exists()


def test_without_frames_the_regressor_reads_the_label_alone(bundle: BundleInfo, labelled: Path) -> None:
    run(labelled, "--bundle", bundle.path, "--no-observation", "--out", "deep/a.safetensors", *SMALL)
    alignment = load_alignment(Path("deep/a.safetensors"), bundle)
    assert not alignment.needs_frames
    labels, _ = open_labelled(labelled).labels("demo_0")
    assert alignment.decode(labels.latent, labels.code).shape == (20, 3)


def test_a_longer_step_is_compared_with_the_bound_too(bundle: BundleInfo, tmp_path: Path) -> None:
    path = make_aligned(tmp_path / "k.labelled.hdf5", bundle, step=3, noise=0.01)
    run(path, "--bundle", bundle.path, "--reduce", "first", "--report", "rep", *SMALL)
    report = json.loads(Path("rep/report.json").read_text())
    assert report["step"] == 3
    assert np.isfinite([n["rmse"] for n in report["supervised"]["actions"]]).all()


def test_bad_requests_are_refused_before_anything_is_written(
    bundle: BundleInfo, labelled: Path, tmp_path: Path
) -> None:
    other = make_nano_bundle(tmp_path / "other", seed=1)
    with pytest.raises(
        ModelError, match=f"got bundle nano {load_bundle(other).bundle_id[:12]} .* nano {bundle.bundle_id[:12]}"
    ):
        run(labelled, "--bundle", other)
    with pytest.raises(ModelError, match="bundle nano, which does not ship with Genie: give it with --bundle"):
        run(labelled)
    with pytest.raises(DatasetError, match=r"budget: got 77, expected at most 76, .* 4 training episodes"):
        run(labelled, "--bundle", bundle.path, "--budget", "77", *SMALL)
    with pytest.raises(DatasetError, match="--budgets: got '10,ten'"):
        run(labelled, "--bundle", bundle.path, "--budgets", "10,ten")
    with pytest.raises(DatasetError, match="expected a file labelled by Genie"):
        run(tmp_path / "a.hdf5", "--bundle", bundle.path)
    assert list_alignments(bundle) == []
    run(labelled, "--bundle", bundle.path, "--hold-out", "0")
    with pytest.raises(ModelError, match="exists: choose another --name"):
        run(labelled, "--bundle", bundle.path, "--hold-out", "0")


def test_a_single_episode_cannot_be_held_out(bundle: BundleInfo, tmp_path: Path) -> None:
    path = make_aligned(tmp_path / "one.labelled.hdf5", bundle, episodes=1)
    with pytest.raises(DatasetError, match="1 episode with labels and actions, expected at least 2"):
        run(path, "--bundle", bundle.path, *SMALL)
    assert "alignment to 3 numbers from 19" in run(path, "--bundle", bundle.path, "--hold-out", "0")


def test_nan_actions_are_named(bundle: BundleInfo, labelled: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        file["data/demo_1/actions"][7, 2] = np.inf
    with pytest.raises(DatasetError, match=r"demo_1: .* \(inf\) in frame 7, component 2"):
        run(labelled, "--bundle", bundle.path)
