"""Training says early whether latent actions collapse, and is quiet where they do not."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from rich.console import Console

from genie_core.models.genie import Genie
from genie_core.models.presets import preset
from genie_core.training.collapse import collapse, is_time
from genie_core.training.config import LatentActionTraining
from genie_core.training.losses import lam_loss, spread
from genie_core.training.reporting import TerminalReporter


def test_spread_is_none_of_equal_latents_and_all_of_opposite_ones() -> None:
    latent = torch.randn(1, 8, generator=torch.Generator().manual_seed(0))
    assert spread(latent.expand(16, 8)) == pytest.approx(0, abs=1e-6)
    assert spread(torch.cat([latent, -latent])) == pytest.approx(1)


def test_a_model_that_is_shown_one_still_picture_has_collapsed_and_one_that_sees_change_has_not() -> None:
    torch.manual_seed(0)
    lam = Genie(preset("nano")).lam
    still = torch.rand(1, 1, 3, 32, 32).expand(4, 5, 3, 32, 32) - 0.5
    metrics = {k: float(v) for k, v in lam_loss(lam, still, LatentActionTraining(), step=0)[1].items()}
    assert "have collapsed" in str(collapse("lam", 500, metrics))
    changing = torch.rand(4, 5, 3, 32, 32) - 0.5
    metrics = {k: float(v) for k, v in lam_loss(lam, changing, LatentActionTraining(), step=0)[1].items()}
    assert metrics["spread"] > 0.1


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"spread": 0.6, "perplexity": 1.05}, "codebook has collapsed"),
        ({"spread": 0.9, "flow_error": 1.0}, "say nothing of the motion"),
        ({"spread": 0.6, "perplexity": 4.0}, None),
        ({"spread": 0.9, "flow_error": 0.7}, None),
    ],
)
def test_each_way_to_collapse_is_told_apart(metrics: dict[str, float], said: str | None) -> None:
    found = collapse("lam", 500, metrics)
    assert found is None if said is None else said in str(found)
    assert collapse("tokenizer", 500, metrics) is None
    assert collapse("lam", 100, metrics) is None


def test_it_is_judged_by_step_500_however_seldom_reports_come() -> None:
    assert not is_time(0, 199)
    assert is_time(191, 201)
    assert is_time(0, 500)
    assert is_time(491, 501)
    assert not is_time(501, 511)


def test_the_terminal_warns_once_in_500_steps(tmp_path: Path) -> None:
    said = io.StringIO()
    with TerminalReporter(tmp_path, Console(file=said, width=400)) as reporter:
        reporter.start("lam", 0, 1000)
        for step in range(1, 1001, 10):
            reporter.step("lam", step, {"loss": 1.0, "spread": 0.01})
    warnings = [line for line in said.getvalue().splitlines() if line.startswith("warning: lam, step")]
    assert [line.split("step ")[1].split(":")[0] for line in warnings] == ["201", "501"]
