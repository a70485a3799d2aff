"""A recorded loss gives the gradients of the loss itself; a recording here is the work done again, there is no GPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genie_core.training.losses import Metrics
from genie_core.training.mending import with_prompt
from genie_core.training.recorded import RecordedLoss


def _parts() -> tuple[nn.Linear, RecordedLoss]:
    torch.manual_seed(0)
    network = nn.Linear(3, 1)
    unused = nn.Parameter(torch.ones(2))

    def work(x_N3: Tensor, scale: Tensor) -> tuple[Tensor, Metrics]:
        kept_N1 = torch.rand(len(x_N3), 1) > 0.5
        loss = (network(x_N3) * kept_N1 * scale).square().mean()
        return loss, {"loss": loss.detach(), "kept": kept_N1.float().mean()}

    return network, RecordedLoss([*network.parameters(), unused], work, lambda once: once)


def test_gradients_and_metrics_are_those_of_the_loss_whatever_the_shape_and_the_numbers_drawn() -> None:
    network, recorded = _parts()
    for size, scale in ((8, 1.0), (5, 2.0), (8, 3.0)):
        x_N3 = torch.randn(size, 3)
        torch.manual_seed(size)
        kept_N1 = torch.rand(size, 1) > 0.5
        expected = (network(x_N3) * kept_N1 * scale).square().mean()
        gradients = torch.autograd.grad(expected, list(network.parameters()))
        network.zero_grad(set_to_none=True)
        torch.manual_seed(size)
        loss, metrics = recorded(x_N3, torch.tensor(scale))
        (0.5 * loss).backward()  # type: ignore[no-untyped-call]
        assert torch.equal(loss.detach(), expected.detach())
        assert float(metrics["kept"]) == float(kept_N1.float().mean())
        for parameter, gradient in zip(network.parameters(), gradients, strict=True):
            torch.testing.assert_close(parameter.grad, 0.5 * gradient)


def test_a_loss_that_was_recorded_is_not_changed_by_the_next_one() -> None:
    _, recorded = _parts()
    x_N3 = torch.randn(8, 3)
    loss, _ = recorded(x_N3, torch.tensor(1.0))
    first = loss.detach().clone()
    recorded(2 * x_N3, torch.tensor(1.0))
    assert torch.equal(loss.detach(), first)


def test_a_step_of_the_optimizer_is_seen_by_the_next_replay() -> None:
    network, recorded = _parts()
    x_N3 = torch.randn(8, 3)
    torch.manual_seed(3)
    before = float(recorded(x_N3, torch.tensor(1.0))[0].detach())
    with torch.no_grad():
        network.weight.add_(1.0)
    torch.manual_seed(3)
    assert float(recorded(x_N3, torch.tensor(1.0))[0].detach()) != before


def test_prompts_of_every_length_stay_before_the_last_steps() -> None:
    clip_BTCHW, latent_BSD = torch.arange(6.0).view(1, 6, 1, 1, 1), torch.arange(5.0).view(1, 5, 1)
    seen = set()
    for seed in range(60):
        torch.manual_seed(seed)
        clip, latent = with_prompt(clip_BTCHW, latent_BSD, 2)
        assert clip.flatten().tolist() == [float(i) for i in range(6 - clip.shape[1], 6)]
        assert latent.shape[1] == clip.shape[1] - 1
        assert latent.flatten().tolist() == clip.flatten()[:-1].tolist()
        seen.add(clip.shape[1] - 2)
    assert seen == {1, 2, 3, 4}
    assert with_prompt(clip_BTCHW[:, :2], latent_BSD[:, :1], 5)[0].shape[1] == 2  # clips too short for all steps
