"""What a training step costs, from the configuration: against counting on a real step, and by hand."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from genie_core.errors import ModelError
from genie_core.models.genie import Genie
from genie_core.models.presets import preset
from genie_core.training.config import training_preset
from genie_core.training.cost import cost_lines, networks_to_count, stage_costs, stage_flops
from genie_core.training.losses import dynamics_loss, lam_loss, tokenizer_loss


@pytest.mark.parametrize("stage", ["tokenizer", "lam", "dynamics"])
def test_arithmetic_of_a_step_is_what_a_step_does(stage: str) -> None:
    """From the configuration, and counted on a real step, where codebooks and the choice of tokens add little."""
    model, training = preset("nano"), training_preset("nano")
    genie = Genie(model)
    config = getattr(training, stage)
    x = torch.rand(2, config.clip_frames, 3, model.height, model.width) - 0.5
    with FlopCounterMode(display=False) as counter:
        if stage == "tokenizer":
            loss, _ = tokenizer_loss(genie.tokenizer, x, training.tokenizer_training, step=99)
        elif stage == "lam":
            loss, _ = lam_loss(genie.lam, x, training.lam_training, step=99)
        else:
            with torch.no_grad():
                token, action = genie.tokenizer.encode(x), genie.lam.latents(x)
            loss, _ = dynamics_loss(genie.dynamics, token, action, training.dynamics_training)
        loss.backward()
    counted = stage_flops(networks_to_count(model), stage, 2, config.clip_frames)
    assert counted == pytest.approx(
        counter.get_total_flops(), rel=0.2
    )  # the first layer needs no gradient of its input


def test_costs_of_a_recipe() -> None:
    for name in ("nano", "tiny", "motion-refined", "motion-tokens", "robotics"):
        costs = stage_costs(preset(name), training_preset(name))
        assert all(cost.flops > 0 and cost.activation_bytes > 0 and cost.parameters > 0 for cost in costs)
    assert [cost.name for cost in costs] == ["tokenizer", "lam_and_dynamics"]
    joint = costs[-1]
    assert joint.state_bytes == 16 * joint.parameters
    assert joint.total_flops == joint.steps * joint.flops
    # 6 operations a parameter and token, and attention on top of them.
    tokens = joint.batch * 16 * preset("robotics").tokens_per_frame
    assert 0.9 < joint.flops / (6 * 2.0e9 * tokens) < 1.5
    text = "\n".join(cost_lines(costs, "H100"))
    assert "lam_and_dynamics: 2,305,178,912 parameters; 125,000 steps of 512 clips" in text
    hours = sum(cost.total_flops for cost in costs) / (989e12 * 0.3) / 3600
    assert f"in all {hours:,.0f} hours of one H100" in text
    with pytest.raises(ModelError, match=r"gpu: got 'H1000', expected one of .*A100"):
        cost_lines(costs, "H1000")
