"""A scaling study: power laws that are known, and a tiny study with real tokens that stops and goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from genie_cli.app import build_app
from genie_core.data import open_dataset
from genie_core.errors import ModelError
from genie_core.models.bundle import load_bundle
from genie_core.models.presets import preset
from genie_core.scaling import run as running
from genie_core.scaling.fit import best_sizes, power_law
from genie_core.scaling.plan import ScalingPlan, Size, sized
from genie_core.scaling.report import optima, page, size_law
from genie_core.scaling.run import ScalingRun, ScalingStudy, study
from tests.factories.bundles import make_nano_bundle
from tests.factories.data import make_robomimic

PLAN = ScalingPlan(
    sizes=(Size(layers=1, dim=16), Size(layers=2, dim=32)),
    batches=(1, 4),
    batch=2,
    steps=6,
    clip_frames=4,
    held_out=0.3,
    evaluated=2,
    size_of_batches=0,
)


def test_a_power_law_is_found() -> None:
    x = [1e3, 1e4, 1e6]
    law = power_law(x, [5 * value**-0.07 for value in x])
    assert (law.factor, law.exponent, law.r2) == pytest.approx((5, -0.07, 1))
    assert law.at(1e5) == pytest.approx(5 * 1e5**-0.07)
    noisy = power_law([1, 10, 100, 1000], [4.0, 3.3, 3.1, 2.2])
    assert 0.8 < noisy.r2 < 1
    with pytest.raises(ValueError, match="expected 2 or more"):
        power_law([3, 3], [1, 2])


def test_the_best_size_grows_with_the_budget() -> None:
    """Small models learn sooner a unit of arithmetic, and stop sooner."""
    curves = {
        n: [(flops, 2 + 10 / n**0.5 + 3 * n / flops) for flops in np.geomspace(n, 300 * n, 30).tolist()]
        for n in (10, 100, 1000)
    }
    best = best_sizes(curves, [110, 2000, 25_000, 1e9])
    assert [b.parameters for b in best] == [10, 100, 1000][: len(best)]
    assert [b.at_edge for b in best] == [True, False, True]


def run_of(layers: int, body: int, held_out: float, batch: int = 8) -> ScalingRun:
    curve = tuple((step, held_out + body / step / 1e3) for step in range(10, 110, 10))
    size = Size(layers=layers, dim=16 * layers)
    return ScalingRun(
        size=size, batch=batch, parameters=2 * body, body=body, flops=6 * body, curve=curve, final=held_out,
        held_out=held_out, seconds=1,
    )  # fmt: skip


def test_the_page_says_what_was_found_and_what_not() -> None:
    sizes = tuple(Size(layers=n, dim=16 * n) for n in (1, 2, 3))
    runs = (run_of(1, 1000, 3.0), run_of(2, 10_000, 2.5), run_of(3, 100_000, 2.1), run_of(2, 10_000, 2.6, batch=2))
    found = ScalingStudy(
        plan=ScalingPlan(sizes=sizes, batches=(2,)), bundle_id="ab" * 32, data="", frames=1000, held_out_frames=100,
        runs=runs,
    )  # fmt: skip
    assert size_law(found).exponent < 0
    text = page(found)
    assert "3 sizes, a factor 100 apart" in text
    assert "every frame was seen" in text
    assert "| 2x32 | 2 |" in text
    assert "best size" in text.lower()
    assert all(best.parameters in (1000, 10_000, 100_000) for best in optima(found))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_robomimic(tmp_path_factory.mktemp("data") / "robot.hdf5", episodes=4, frames=12, size=32, fps=10)


def test_a_study_that_was_stopped_goes_on(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load_bundle(make_nano_bundle(tmp_path / "nano"))
    episodes = open_dataset(data).episodes
    real, trained = running.train_one, []

    def train_one(*arguments: object) -> ScalingRun:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(arguments[-2:])
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(running, "train_one", train_one)
    with pytest.raises(KeyboardInterrupt):
        study(bundle, episodes, PLAN, tmp_path / "out")
    monkeypatch.setattr(running, "train_one", real)
    whole = study(bundle, episodes, PLAN, tmp_path / "out")
    assert [(run.size.name, run.batch) for run in whole.runs] == [("1x16", 2), ("2x32", 2), ("1x16", 1), ("1x16", 4)]
    again = study(bundle, episodes, PLAN, tmp_path / "again")
    assert [run.curve for run in again.runs] == [run.curve for run in whole.runs]
    assert [run.held_out for run in again.runs] == [run.held_out for run in whole.runs]
    first, second = whole.runs[:2]
    assert second.body > 4 * first.body
    assert second.flops > first.flops
    assert 0 < first.held_out < 2 * np.log(64)
    with pytest.raises(ModelError, match="no tokens"):
        study(load_bundle_of_motion(), episodes, PLAN, tmp_path / "motion")


def load_bundle_of_motion() -> object:
    from genie_core.bundles import models_dir

    return load_bundle(models_dir() / "motion")


def test_the_command_draws_the_figure(data: Path, tmp_path: Path) -> None:
    bundle = make_nano_bundle(tmp_path / "nano")
    words = ["scaling", str(data), "--out", str(tmp_path / "out"), "--bundle", str(bundle), "--sizes", "1x16,1x32"]
    words += ["--steps", "3", "--batch", "2", "--batches", "1", "--clip-frames", "4", "--hold-out", "0.3"]
    done = CliRunner().invoke(build_app(), words)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "fig9.svg").read_text().count("<svg") == 4
    assert len(json.loads((tmp_path / "out" / "study.json").read_text())["runs"]) == 3
    assert "What this cannot show" in (tmp_path / "out" / "scaling.md").read_text()
    wrong = CliRunner().invoke(build_app(), [*words[:-2], "--sizes", "1x17,2x32"])
    assert "expected LAYERSxWIDTH" in str(wrong.exception)


def test_sizes_change_the_dynamics_model_alone() -> None:
    config = preset("tiny")
    other = sized(config, Size(layers=3, dim=96))
    assert other.dynamics.transformer.layers == 3
    assert other.dynamics.transformer.heads == 6
    assert (other.tokenizer, other.lam) == (config.tokenizer, config.lam)
    assert PLAN.learning_rate(Size(layers=1, dim=64)) == pytest.approx(PLAN.lr / 2)
