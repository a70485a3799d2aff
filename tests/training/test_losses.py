from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from genie_core.models.bundle import load_bundle
from genie_core.models.config import MoverConfig, RefinerConfig
from genie_core.models.genie import Genie
from genie_core.models.motion_lam import MotionActionModel
from genie_core.models.presets import preset
from genie_core.training.config import (
    AugmentConfig,
    DynamicsTraining,
    LatentActionTraining,
    RefinerTraining,
    StageConfig,
    TokenizerTraining,
)
from genie_core.training.loop import learning_rate
from genie_core.training.losses import augment, dynamics_loss, lam_loss, mask, psnr, tokenizer_loss
from genie_core.training.motion import refiner_loss
from tests.factories.bundles import make_motion_bundle


def clips(seed: int = 0) -> torch.Tensor:
    return torch.rand(4, 5, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) - 0.5


def genie() -> Genie:
    torch.manual_seed(0)
    return Genie(preset("nano"))


def test_psnr_is_in_db_of_a_range_of_one() -> None:
    assert psnr(1.0) == 0
    assert psnr(0.01) == pytest.approx(20)


def test_the_mask_hides_nothing_of_the_first_frame_and_half_or_more_of_the_others() -> None:
    torch.manual_seed(0)
    hidden = mask(torch.zeros(64, 8, 32, dtype=torch.int64), DynamicsTraining())
    assert not hidden[:, 0].any()
    share = hidden[:, 1:].float().mean()
    assert share.item() == pytest.approx(0.75, abs=0.03)
    per_clip = hidden[:, 1:].float().mean(dim=(1, 2))
    assert per_clip.min() > 0.4
    assert per_clip.std() > 0.1


def test_clean_frames_are_shown_whole() -> None:
    torch.manual_seed(0)
    hidden = mask(torch.zeros(256, 8, 32, dtype=torch.int64), DynamicsTraining(clean_frames=0.25))
    whole = (~hidden[:, 1:-1]).all(dim=-1).float().mean()
    assert whole.item() == pytest.approx(0.25, abs=0.05)
    assert hidden.flatten(1).any(dim=1).all()


def test_an_untrained_dynamics_model_knows_nothing() -> None:
    model = genie()
    token = torch.randint(64, (4, 5, 16))
    loss, _ = dynamics_loss(model.dynamics, token, torch.randn(4, 4, 8), DynamicsTraining())
    assert loss.item() == pytest.approx(math.log(64), abs=0.3)


def test_the_dynamics_loss_does_not_reach_the_latent_actions() -> None:
    action = torch.randn(4, 4, 8, requires_grad=True)
    loss, _ = dynamics_loss(genie().dynamics, torch.randint(64, (4, 5, 16)), action, DynamicsTraining())
    loss.backward()
    assert action.grad is None


def test_a_residual_latent_action_model_starts_at_copying() -> None:
    _, metrics = lam_loss(genie().lam, clips(), LatentActionTraining(), step=0)
    assert metrics["over_copy_db"] == pytest.approx(0, abs=1e-6)


def test_weighting_motion_changes_the_loss_of_moving_pixels_only() -> None:
    still = clips()[:, :1].expand(4, 5, 3, 32, 32)
    moving = still.clone()
    moving[..., :8] = clips(1)[..., :8]
    plain, heavy = LatentActionTraining(), LatentActionTraining(motion_weight=4)
    for x, same in ((still, True), (moving, False)):
        torch.manual_seed(0)
        model = genie().lam
        torch.nn.init.normal_(model.decoder_pixels.linear.weight, std=0.1)
        a, _ = lam_loss(model.eval(), x, plain, step=0)
        torch.manual_seed(0)
        model = genie().lam
        torch.nn.init.normal_(model.decoder_pixels.linear.weight, std=0.1)
        b, _ = lam_loss(model.eval(), x, heavy, step=0)
        assert same == (abs(a.item() - b.item()) < 0.02 * a.item())


def test_augmentation_changes_clips_alike_in_all_their_frames() -> None:
    torch.manual_seed(0)
    x = clips()[:, :1].expand(4, 5, 3, 32, 32)
    changed = augment(x, AugmentConfig(brightness=0.1, contrast=0.2, shift=2))
    assert torch.equal(changed[:, :1].expand_as(changed), changed)
    assert not torch.allclose(changed[0], x[0])
    assert torch.equal(augment(x, AugmentConfig()), x)


def test_a_shift_moves_the_picture_by_whole_pixels() -> None:
    torch.manual_seed(0)
    x = torch.arange(32.0).view(1, 1, 1, 1, 32).expand(8, 2, 3, 32, 32).contiguous()
    moved = augment(x, AugmentConfig(shift=2))[:, 0, 0, 16, 10:20] - x[:, 0, 0, 16, 10:20]
    assert set(moved.flatten().tolist()) <= {-2.0, -1.0, 0.0, 1.0, 2.0}
    assert len(set(moved[:, 0].tolist())) > 1


@pytest.mark.parametrize("step", [0, 5])
def test_the_tokenizer_reports_reconstruction_and_code_use(step: int) -> None:
    loss, metrics = tokenizer_loss(genie().tokenizer, clips(), TokenizerTraining(continuous_steps=5), step=step)
    assert loss.requires_grad
    assert 1 <= metrics["perplexity"] <= 64
    assert metrics["codes_used"] == 64


def test_the_learning_rate_warms_up_and_falls_on_a_cosine() -> None:
    config = StageConfig(steps=110, batch=1, clip_frames=2, lr=1.0, final_lr=0.1, warmup=10)
    rates = [learning_rate(config, s) for s in range(110)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)


@pytest.mark.parametrize("chooses", [False, True])
def test_only_the_refiner_learns_from_its_rollouts(tmp_path: Path, chooses: bool) -> None:
    mover = MoverConfig(width=8, blocks=1, refiner=RefinerConfig(width=8, blocks=1, chooses=chooses))
    networks = load_bundle(make_motion_bundle(tmp_path / "b", mover=mover)).genie
    assert networks.mover is not None
    assert networks.mover.refiner is not None
    assert isinstance(networks.lam, MotionActionModel)
    networks.mover.refiner.requires_grad_(True)
    loss, metrics = refiner_loss(networks.mover, networks.lam, clips(), RefinerTraining(steps=2))
    loss.backward()
    assert float(metrics["last_error"]) > 0
    learnt = {name for name, p in networks.mover.named_parameters() if p.grad is not None and p.grad.any()}
    assert "refiner.fine_out.weight" in learnt
    assert all(name.startswith("refiner.") for name in learnt)
