"""`genie ablate` from data to tables, with networks small enough to train in a second."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import pytest
import typer
from typer.testing import CliRunner

from genie_cli import ablate as ablate_command
from genie_cli.ablate import ablate
from genie_core.ablation import plan as ablation_plan
from genie_core.ablation import run as ablation_run
from genie_core.ablation.clock import StageClock, read_clock
from genie_core.ablation.plan import Base
from genie_core.ablation.run import split_episodes
from genie_core.data import open_dataset
from genie_core.errors import DatasetError, ModelError
from genie_core.evaluation import ground_truth
from genie_core.evaluation.options import EvaluationOptions
from genie_core.models.bundle import load_bundle
from genie_core.models.presets import preset
from genie_core.statistics.probes import fit_mlp
from genie_core.training import card, pipeline
from genie_core.training.config import AugmentConfig, training_preset
from tests.factories.data import make_robomimic, make_video

ROWS = [
    *("tokenizer_none", "tokenizer_c", "tokenizer_st"),
    *("lam_pixels", "lam_tokens"),
    *("recipe_plain", "recipe_residual", "recipe_continuous", "recipe_augmentation", "recipe_pairs", "recipe_mixed"),
]
SMALL = ["--rollouts", "2", "--scale", "0.1", "--threads", "1"]


def nano_base() -> Base:
    """`nano` with all that the shipped recipe has, and two layers where C-ViViT needs them."""
    model, training = preset("nano"), training_preset("nano")
    two = model.tokenizer.encoder.model_copy(update={"layers": 2})
    tokenizer = model.tokenizer.model_copy(update={"encoder": two, "decoder": two})
    lam = model.lam.model_copy(update={"stem": "conv", "stem_width": 4, "pairs": True})
    special = training.lam_training.model_copy(
        update={"augment": AugmentConfig(brightness=0.05, shift=1), "quantized_share": 0.5}
    )
    return Base(
        model.model_copy(update={"tokenizer": tokenizer, "lam": lam}),
        training.model_copy(update={"lam_training": special}),
    )


@pytest.fixture(scope="module")
def base() -> Any:
    """`genie ablate` trains `nano`, and measures with few sampling steps and short training of probes."""
    quick = partial(EvaluationOptions, maskgit_steps=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablation_plan, "small_base", nano_base)
        patch.setattr(ablate_command, "EvaluationOptions", quick)
        patch.setattr(card, "EvaluationOptions", quick)
        patch.setattr(ground_truth, "fit_mlp", partial(fit_mlp, steps=20))
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_robomimic(tmp_path_factory.mktemp("data") / "lift.hdf5", episodes=5, frames=14, size=32)
    with h5py.File(path, "a") as file:
        del file["mask/valid"]
        file["mask/valid"] = ["demo_1", "demo_4"]
    return path


def run(*words: str | Path) -> str:
    """The command's output; its errors are raised."""
    app = typer.Typer()
    app.command()(ablate)
    return CliRunner().invoke(app, [str(w) for w in words], catch_exceptions=False, standalone_mode=False).output


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, base: None, data: Path) -> tuple[Path, str]:
    """The folder of a whole ablation, and what was printed."""
    out = tmp_path_factory.mktemp("out") / "deep" / "ablation"
    return out, run(data, "--out", out, *SMALL)


def rows_of(out: Path) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads((out / "ablation.json").read_text())["rows"]}


def test_every_row_is_there_with_figures_counts_and_seconds(done: tuple[Path, str]) -> None:
    content = json.loads((done[0] / "ablation.json").read_text())
    assert content["setting"]["eval_episodes"] == ["demo_1", "demo_4"]
    assert content["setting"]["train_episodes"] == 3
    assert content["setting"]["seed"] == 0
    assert content["setting"]["genie_version"]
    assert [row["name"] for row in content["rows"]] == ROWS
    for row in content["rows"]:
        metrics = row["figures"]
        wanted = {
            "tokenizer": ["tokenizer.psnr_db", "tokenizer.codebook_use", "dynamics.delta_t_psnr_4"],
            "lam": ["dynamics.delta_t_psnr_4", "lam.code_perplexity", "probe.nmi"],
            "recipe": ["lam.psnr_over_copy_db", "lam.unchanged_shift", "probe.latent_to_displacement_r2_mean"],
        }[row["table"]]
        for key in wanted:
            assert {"value", "ci95", "n", "episodes"} == set(metrics[key]), key
        assert set(row["seconds"]) == {stage for stage, steps in row["steps"].items() if steps}
        assert all(seconds > 0 for seconds in row["seconds"].values())
        assert row["compared_parameters"] == row["parameters"][row["table"].replace("recipe", "lam")]
    assert rows_of(done[0])["lam_tokens"]["changes"]["model.lam.source"] == "tokens"


def test_the_tables_are_markdown(done: tuple[Path, str]) -> None:
    text = (done[0] / "ablation.md").read_text()
    assert text in done[1]
    assert text.count("### ") == 3
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert [table.count("\n") - 2 for table in tables] == [3, 2, 6]
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1
    assert re.search(r"\| ViT \| [\d,]+ \| \d+ \| \d+ \| [\d.]+ dB \([\d.]+ to [\d.]+ dB\) \|", tables[0])
    assert "held-out episodes of `lift.hdf5`" in text
    assert "tokenizer 4 steps of 4 clips of 4 frames" in text
    assert "FVD" not in text
    assert "tokenizer 4 steps" not in text.split("plain recipe")[1]


def test_shared_stages_are_trained_once(done: tuple[Path, str]) -> None:
    out, rows = done[0], rows_of(done[0])
    networks = {name: load_bundle(out / name).genie for name in ROWS}
    for part, names in (
        ("lam", ["tokenizer_none", "tokenizer_c", "tokenizer_st", "recipe_mixed"]),
        ("tokenizer", ["tokenizer_st", "lam_pixels", "lam_tokens"]),
    ):
        first = getattr(networks[names[0]], part).state_dict()
        for name in names[1:]:
            assert rows[name]["seconds"][part] == rows[names[0]]["seconds"][part]
            for key, value in getattr(networks[name], part).state_dict().items():
                if not key.endswith(("count_K", "sum_KD", "idle_K")):  # bundles do without
                    assert value.equal(first[key]), (name, key)


def test_an_interrupted_ablation_goes_on(
    done: tuple[Path, str], base: None, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "again"
    real, trained = pipeline.train, []

    def train(job: pipeline.TrainingJob, reporter: Any) -> Any:
        if trained:
            raise RuntimeError("killed")
        trained.append(job.out.name)
        return real(job, reporter)

    monkeypatch.setattr(ablation_run, "train", train)
    with pytest.raises(RuntimeError, match="killed"):
        run(data, "--out", out, *SMALL, "--only", "lam")
    assert list(rows_of(out)) == ["lam_pixels"]
    monkeypatch.setattr(
        ablation_run, "train", lambda job, reporter: trained.append(job.out.name) or real(job, reporter)
    )
    for _ in range(2):  # the second time there is nothing left to do
        run(data, "--out", out, *SMALL, "--only", "lam")
        assert trained == ["lam_pixels", "lam_tokens"]
    # There the tokenizer was trained by another row.
    for name, row in rows_of(out).items():
        assert row["figures"] == rows_of(done[0])[name]["figures"], name


def test_other_options_of_measuring_train_nothing_again(done: tuple[Path, str], base: None, data: Path) -> None:
    before = rows_of(done[0])
    run(data, "--out", done[0], *SMALL, "--only", "lam", "--still", "0.5")
    after = rows_of(done[0])
    assert list(after) == ["lam_pixels", "lam_tokens"]
    assert after["lam_pixels"]["seconds"] == before["lam_pixels"]["seconds"]
    assert (
        after["lam_pixels"]["figures"]["lam.code_perplexity"] == before["lam_pixels"]["figures"]["lam.code_perplexity"]
    )


def test_a_folder_of_another_configuration_is_refused(done: tuple[Path, str], base: None, data: Path) -> None:
    with pytest.raises(ModelError, match="another configuration or other data"):
        run(data, "--out", done[0], "--rollouts", "2", "--scale", "0.2", "--only", "recipe")


def test_video_without_ground_truth_has_no_probes(base: None, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for index in range(3):
        make_video(tmp_path / "clips" / f"{index}.mp4", frames=12, size=(32, 32), fps=10, seed=index)
    run(tmp_path / "clips", "--out", tmp_path / "out", *SMALL, "--only", "lam", "--hold-out", "0.3")
    content = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert content["setting"]["train_episodes"] == 2
    assert len(content["setting"]["eval_episodes"]) == 1
    assert "probe.nmi" in content["rows"][0]["missing"]
    assert "NMI" not in (tmp_path / "out" / "ablation.md").read_text()


def test_episodes_are_held_out(data: Path, tmp_path: Path) -> None:
    names = [[e.name for e in part] for part in split_episodes(open_dataset(data), 0.5, 0)]
    assert names == [["demo_0", "demo_2", "demo_3"], ["demo_1", "demo_4"]]
    plain = make_robomimic(tmp_path / "plain.hdf5", episodes=4, frames=3, size=32)
    with h5py.File(plain, "a") as file:
        del file["mask"]
    training, held_out = split_episodes(open_dataset(plain), 0.01, 0)
    assert (len(training), len(held_out)) == (3, 1)
    assert not {e.name for e in training} & {e.name for e in held_out}
    assert len(split_episodes(open_dataset(plain), 0.0, 0)[0]) == 4


def test_nothing_is_measured_on_what_was_trained_on(base: None, data: Path, tmp_path: Path) -> None:
    with h5py.File(data, "r") as file, h5py.File(tmp_path / "other.hdf5", "w") as copy:
        file.copy("data", copy)
    with pytest.raises(DatasetError, match="demo_0 would be trained on and measured on"):
        run(tmp_path / "other.hdf5", "--out", tmp_path / "out", "--eval-data", tmp_path / "other.hdf5")


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (
            ["--only", "tokenizer,dynamics"],
            DatasetError,
            "--only: got 'dynamics', expected some of tokenizer, lam, recipe",
        ),
        (["--camera", "wrist"], DatasetError, "no camera `wrist`"),
        (["--i3d", "/nowhere.pt"], ModelError, "/nowhere.pt: no such file"),
        (["--device", "quantum"], ModelError, "device 'quantum' cannot be used"),
    ],
)
def test_bad_input_is_named(
    base: None, data: Path, tmp_path: Path, words: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        run(data, "--out", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_what_is_no_ablation_is_named(base: None, data: Path, tmp_path: Path) -> None:
    (tmp_path / "ablation.json").write_text("{}")
    with pytest.raises(DatasetError, match="is not an ablation of this version"):
        run(data, "--out", tmp_path)


class Quiet:
    def start(self, stage: str, step: int, steps: int) -> None:
        pass

    def step(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        pass


def test_the_clock_counts_the_steps_that_were_kept(tmp_path: Path) -> None:
    times = iter([0.0, 10.0, 100.0, 104.0])
    clock = StageClock(Quiet(), tmp_path / "seconds.json", lambda: next(times))
    clock.start("lam", 0, 8)
    clock.step("lam", 5, {})
    assert read_clock(tmp_path / "seconds.json") == {"lam": (5, 10.0)}
    clock.start("lam", 4, 8)  # its checkpoint was a step behind
    clock.step("lam", 8, {})
    assert read_clock(tmp_path / "seconds.json") == {"lam": (8, 12.0)}


def test_the_command_is_found_without_torch() -> None:
    code = "import sys, genie_cli.ablate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
