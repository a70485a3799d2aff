from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genie_core.models.config import MotionActionConfig
from genie_core.models.presets import preset
from genie_core.training.config import MotionTraining
from genie_core.training.motion import motion_loss
from scripts.learnt_correlation import COARSE, CorrelatingModel, LocalCorrelation, taught_loss


@pytest.fixture(scope="module")
def lam() -> CorrelatingModel:
    torch.manual_seed(0)
    config = preset("motion").lam
    assert isinstance(config, MotionActionConfig)
    return CorrelatingModel(config, 64, 64).eval()


@pytest.fixture(scope="module")
def frames() -> Tensor:
    torch.manual_seed(1)
    return F.interpolate(torch.rand(5, 3, 16, 16) - 0.5, scale_factor=4, mode="bilinear")


def latents(lam: CorrelatingModel, before: Tensor, after: Tensor) -> Tensor:
    return lam.latents_of(lam.features_of(lam.see(before, after)))


@torch.inference_mode()
def test_latents_turn_round_with_time_and_are_zero_of_stillness_and_flow_is_the_same_in_any_company(
    lam: CorrelatingModel, frames: Tensor
) -> None:
    after = frames.roll(2, -1)
    there = latents(lam, frames, after)
    assert torch.equal(latents(lam, after, frames), -there)
    assert not latents(lam, frames, frames).any()
    flow = lam.correlated(lam.see(frames, after)).there_NCHW
    alone = [lam.correlated(lam.see(a[None], b[None])).there_NCHW for a, b in zip(frames, after, strict=True)]
    assert torch.equal(torch.cat(alone), flow)


def test_the_best_match_says_how_far_things_moved(frames: Tensor) -> None:
    torch.manual_seed(2)
    correlation = LocalCorrelation()
    correlation.sharp.data += 4
    there, back = correlation(frames, frames.roll((COARSE, 2 * COARSE), (-2, -1)))
    middle = there[:, :, 8:-8, 8:-8].median(-1).values.median(-1).values
    torch.testing.assert_close(middle, torch.tensor([[2.0 * COARSE, COARSE]]).expand(5, 2), atol=0.5, rtol=0)
    assert not torch.equal(there, back)


def test_the_correlation_learns_from_both_losses(lam: CorrelatingModel, frames: Tensor) -> None:
    pairs = lam.see(frames, frames.roll(2, -1))
    for loss in (motion_loss(lam, pairs, MotionTraining())[0], taught_loss(lam.correlated(pairs), pairs, 0.02)):
        lam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        found = lam.correlation.head[-1].weight.grad
        assert found is not None
        assert found.abs().sum() > 0
