from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from genie_cli.evaluate import evaluate as command
from genie_core.data import encode_image, open_dataset, read_image
from genie_core.errors import DatasetError, ModelError, RequestError
from genie_core.evaluation.catalogue import ENTRIES
from genie_core.evaluation.evaluation import evaluate, measure
from genie_core.evaluation.latent_actions import latent_action_findings
from genie_core.evaluation.material import load_film
from genie_core.evaluation.metrics import Metric, Missing
from genie_core.evaluation.options import EvaluationOptions
from genie_core.evaluation.tokenizer import tokenizer_findings
from genie_core.models.bundle import load_bundle
from tests.factories.bundles import make_nano_bundle
from tests.factories.data import make_robomimic, make_video
from tests.factories.i3d import make_i3d

SMALL = ["--rollouts", "2", "--starts", "3", "--applications", "2", "--supervised-steps", "2", "--maskgit-steps", "2"]


def run(*words: str | Path) -> str:
    """The command's output; its errors are raised."""
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(w) for w in words], catch_exceptions=False, standalone_mode=False).output


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_nano_bundle(tmp_path_factory.mktemp("bundles") / "nano")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Robot video in which the square that moves is the end effector."""
    path = make_robomimic(tmp_path_factory.mktemp("data") / "lift.hdf5", episodes=5, frames=12, size=32)
    with h5py.File(path, "a") as file:
        del file["mask"]
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, bundle: Path, data: Path) -> tuple[Path, str]:
    """The folder of a whole evaluation, and what was printed."""
    folder = tmp_path_factory.mktemp("out") / "deep" / "report"
    image = folder.parent.with_suffix(".png")
    image.write_bytes(encode_image(np.random.default_rng(0).integers(256, size=(50, 70, 3), dtype=np.uint8)))
    i3d = make_i3d(folder.parent.with_suffix(".pt"))
    return folder, run(bundle, data, "--out", folder, "--image", image, "--i3d", i3d, *SMALL)


def test_the_report_states_every_figure(report: tuple[Path, str], bundle: Path) -> None:
    content = json.loads((report[0] / "report.json").read_text())
    for entry in ENTRIES:
        section, key = entry.key.split(".")
        metric = content[section][key]
        assert (metric is None) == (entry.key in content["missing"]), entry.key
        if metric is not None:
            low, high = metric["ci95"] or (0, 0)
            assert low <= high
            assert (metric["ci95"] is None) == (entry.key in ("tokenizer.codebook_use", "dynamics.clip_frames"))
            assert metric["n"] >= metric["episodes"] >= 2
            assert np.isfinite(metric["value"])
    stated = {f"{s}.{k}" for s in ("tokenizer", "lam", "probe", "dynamics", "consistency") for k in content[s]}
    curves = {name for name in stated if isinstance(content[name.split(".")[0]][name.split(".")[1]], list)}
    assert stated - curves == {entry.key for entry in ENTRIES}
    assert content["bundle_id"] == load_bundle(bundle).bundle_id
    assert content["episodes"] == [f"demo_{i}" for i in range(5)]
    assert content["sampling"] == {"maskgit_steps": 2, "temperature": 1.0, "seed": 0}
    assert len(content["dynamics"]["inferred_psnr_db_by_horizon"]) == 11  # of 16: episodes have no more
    assert len(content["lam"]["code_share"]) == 8
    assert content["dynamics"]["clip_frames"]["value"] == 11
    assert content["dynamics"]["fvd"]["n"] == 2


def test_the_page_needs_nothing_else(report: tuple[Path, str]) -> None:
    page = (report[0] / "index.html").read_text()
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "<script" not in page
    assert page.count("data:image/png;base64,") == 4
    assert page.count("<svg") == 4
    for entry in ENTRIES:
        assert entry.meaning.replace("'", "&#x27;") in page, entry.key


def test_pictures_are_files_too(report: tuple[Path, str]) -> None:
    names = {p.name for p in report[0].iterdir()} - {"rollouts.rrd"}  # where Rerun is installed
    assert names == {"report.json", "index.html", "horizon.svg", "fig10.png", "fig13.png", "fig14.png", "rollouts.png"}
    assert read_image(report[0] / "fig13.png").shape == (1, 3 * 105 + 4, 9 * 100 + 4, 3)


def test_the_table_has_values_intervals_and_targets(report: tuple[Path, str]) -> None:
    line = next(line for line in report[1].splitlines() if "tokenizer PSNR" in line)
    assert re.search(r"[\d.]+ dB +[\d.]+ to [\d.]+ dB +60 +>= 30.00 dB", line)
    assert f"wrote {report[0] / 'report.json'}" in report[1].replace("\n", "")


def test_the_same_evaluation_gives_the_same_figures(bundle: Path, data: Path) -> None:
    loaded, dataset = load_bundle(bundle), open_dataset(data)
    options = EvaluationOptions(rollouts=1, starts=2, applications=1, supervised_steps=1, maskgit_steps=2, episodes=2)
    first, second = evaluate(loaded, dataset, options), evaluate(loaded, dataset, options)
    assert first.findings.metrics == second.findings.metrics
    assert first.findings.curves == second.findings.curves


def test_a_part_finds_the_same_alone(bundle: Path, data: Path) -> None:
    loaded = load_bundle(bundle)
    options = EvaluationOptions(rollouts=1, starts=1, applications=1, maskgit_steps=2, supervised_steps=0)
    films = [load_film(episode, loaded.config, options) for episode in open_dataset(data).episodes]
    chosen = [film for film in films if film is not None]
    together = measure(loaded, chosen, options, parts=(tokenizer_findings, latent_action_findings))
    alone = measure(loaded, chosen, options, parts=(latent_action_findings,))
    assert {name: together.metrics[name] for name in alone.metrics} == alone.metrics


def test_video_without_ground_truth_is_measured_as_far_as_it_goes(bundle: Path, tmp_path: Path) -> None:
    make_video(tmp_path / "clip.mp4", frames=12, size=(32, 32), fps=10)
    options = EvaluationOptions(rollouts=1, starts=2, applications=1, maskgit_steps=2)
    report = evaluate(load_bundle(bundle), open_dataset(tmp_path / "clip.mp4"), options)
    metrics = report.findings.metrics
    assert set(metrics) == {entry.key for entry in ENTRIES}
    for name, metric in metrics.items():
        # One clip is no distribution, and confidence is judged on episodes that it was not fitted on.
        known = not any(part in name for part in ("probe.", "frechet", "fvd", "confidence", "trusted"))
        assert isinstance(metric, Missing) != known, name
    nmi, psnr = metrics["probe.nmi"], metrics["tokenizer.psnr_db"]
    assert isinstance(nmi, Missing)
    assert "obs/robot0_eef_pos" in nmi.reason
    assert isinstance(psnr, Metric)
    assert psnr.ci95 is None
    content = report.to_json()
    assert isinstance(content["probe"], dict)
    assert content["probe"]["nmi"] is None


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["--subset", "held_out"], DatasetError, "no filter key `held_out`; there are: none"),
        (["--camera", "wrist"], DatasetError, "no camera `wrist`"),
        (["--maskgit-steps", "17"], RequestError, "maskgit_steps: got 17, expected 1 to 16"),
        (["--temperature", "0"], RequestError, "temperature: got 0.0"),
        (["--image", "/nowhere.png"], DatasetError, "/nowhere.png"),
        (["--i3d", "/nowhere.pt"], ModelError, "/nowhere.pt: no such file"),
        (["--device", "quantum"], ModelError, "device 'quantum' cannot be used"),
        (["--out", __file__], DatasetError, "got a file, expected a folder"),
    ],
)
def test_bad_input_is_named(bundle: Path, data: Path, words: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        run(bundle, data, *words)


def test_what_is_no_bundle_or_no_data_is_named(bundle: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a bundle"):
        run(tmp_path, data)
    with pytest.raises(DatasetError, match="no such file or folder"):
        run(bundle, tmp_path / "nothing")


def test_the_command_is_found_without_torch() -> None:
    code = "import sys, genie_cli.evaluate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
