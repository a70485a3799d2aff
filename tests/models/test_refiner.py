from __future__ import annotations

import pytest
import torch

from genie_core.models.config import MoverConfig, RefinerConfig
from genie_core.models.mover import FrameMover, Moving
from genie_core.models.refiner import FrameRefiner, Memory, steadied
from genie_core.models.warp import shifted


def picture(seed: int = 0, size: int = 32) -> torch.Tensor:
    """A smooth picture, (1, 3, size, size)."""
    coarse = torch.rand(1, 3, size // 4, size // 4, generator=torch.Generator().manual_seed(seed)) - 0.5
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic")


def refining_mover() -> FrameMover:
    """A mover whose refiner has learnt something: weights at random."""
    torch.manual_seed(0)
    mover = FrameMover(MoverConfig(width=8, blocks=2, refiner=RefinerConfig(width=8, blocks=1)), 6, 4).eval()
    assert mover.refiner is not None
    torch.nn.init.normal_(mover.refiner.fine_out.weight, std=0.3)
    return mover


@torch.inference_mode()
def test_flow_back_to_the_start_adds_up() -> None:
    """Steps of (3, -2) and then (4, 1) pixels of 64, the second back to where the first had led."""
    prompt = picture()[:, None].expand(-1, 4, -1, -1, -1)
    memory = Memory.begin(prompt, torch.tensor([[[1.0, 0], [1, 0], [1, 2]]]))
    for whole in ((3.0, -2.0), (4.0, 1.0)):
        whole_12 = torch.tensor([whole])
        memory = memory.after(-whole_12[:, :, None, None].expand(1, 2, 32, 32), whole_12)
    assert memory.shift_B2.tolist() == [[7, -1]]
    assert memory.older_B2.tolist() == [[3, 2]]
    torch.testing.assert_close(memory.flow_B2HW, -memory.shift_B2[:, :, None, None].expand(1, 2, 32, 32))


@torch.inference_mode()
def test_before_training_a_refiner_hardly_changes_what_moves_right() -> None:
    """Where everything moves alike, moved, summed and shifted pictures are the same; no choice can be wrong."""
    refiner, start, whole_12 = (
        FrameRefiner(RefinerConfig(width=8, blocks=1)).eval(),
        picture(),
        torch.tensor([[4.0, 0]]),
    )
    back = -whole_12[:, :, None, None].expand(1, 2, 32, 32)
    memory = Memory.begin(start[:, None], torch.zeros(1, 0, 2)).after(back, whole_12)
    refined = refiner(start, back, whole_12, torch.ones(1, 1), memory)
    torch.testing.assert_close(refined, shifted(start, whole_12), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_what_was_covered_in_the_last_frame_can_be_shown_as_the_oldest_had_it() -> None:
    refiner = FrameRefiner(RefinerConfig(width=8, blocks=1)).eval()
    oldest, start = picture(1), picture(2)
    memory = Memory.begin(torch.stack((oldest, start), 1), torch.zeros(1, 1, 2))
    refiner.fine_out.bias[4] = 50.0  # chooses the oldest frame
    nothing = torch.zeros(1, 2)
    refined = refiner(
        start,
        torch.zeros(1, 2, 32, 32),
        nothing,
        torch.full((1, 1), 1e6),
        memory.after(torch.zeros(1, 2, 32, 32), nothing),
    )
    torch.testing.assert_close(refined, oldest, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_what_has_hardly_moved_is_shown_as_at_the_start_and_what_has_moved_far_as_it_moved() -> None:
    """The left half stays, the right half has gone 10 pixels; the whole picture 4 to the right."""
    start, moved, whole_12 = picture(1), picture(2), torch.tensor([[4.0, 0]])
    memory = Memory.begin(start[:, None], torch.zeros(1, 0, 2))
    back = -whole_12[:, :, None, None].expand(1, 2, 32, 32).clone()
    back[:, 1, :, 16:] = 10
    memory = memory.after(back, whole_12)
    shown = steadied(moved, torch.full((1, 1), 1e6), memory, 0.1, 1.0)
    torch.testing.assert_close(shown[..., :16], shifted(start, whole_12)[..., :16], atol=1e-4, rtol=0)
    torch.testing.assert_close(shown[..., 16:], moved[..., 16:], atol=0.02, rtol=0)
    assert torch.equal(steadied(moved, torch.zeros(1, 1), memory, 0.1, 1.0), moved)


@torch.inference_mode()
def test_a_latent_of_zero_leaves_a_refined_frame_as_it_is() -> None:
    mover = refining_mover()
    prompt = torch.stack([picture(i)[0] for i in range(3)])[None]
    start = mover.move(mover.begin(prompt, torch.randn(1, 2, 6)), 3 * torch.randn(1, 6))
    assert (start.frame_BCHW - prompt[:, -1]).abs().max() > 0.02
    assert torch.equal(mover.move(start, torch.zeros(1, 6)).frame_BCHW, start.frame_BCHW)


@torch.inference_mode()
@pytest.mark.parametrize("mends", ["network", "rule", "nothing"])
def test_streams_moved_together_are_what_they_are_alone(mends: str) -> None:
    mover = refining_mover()
    if mends != "network":
        mover = FrameMover(MoverConfig(width=8, blocks=2, steady_px=float(mends == "rule")), 6, 4).eval()
    prompts = [torch.stack([picture(10 * i + t)[0] for t in range(i + 1)])[None] for i in range(3)]
    alone = [mover.begin(p, torch.randn(1, p.shape[1] - 1, 6)) for p in prompts]
    together = Moving.join(alone)
    for _ in range(2):
        latents = torch.randn(3, 6)
        together = mover.move(together, latents)
        alone = [mover.move(one, latents[i : i + 1]) for i, one in enumerate(alone)]
    for one, of_batch in zip(alone, together.split(), strict=True):
        assert len(one.tensors) == (1 if mends == "nothing" else 6)
        for a, b in zip(one.tensors, of_batch.tensors, strict=True):
            torch.testing.assert_close(a, b, atol=1e-2 if a.shape[1] == 3 else 1e-4, rtol=0)


@torch.inference_mode()
def test_a_refiner_that_chooses_shows_one_picture_and_is_charged_what_the_choice_costs_on_average() -> None:
    """A mean of two guesses would be nearer to a truth between them; it costs what the guesses cost."""
    refiner = FrameRefiner(RefinerConfig(width=8, blocks=1, chooses=True)).eval()
    oldest, start, nothing = picture(1), picture(2), torch.zeros(1, 2)
    memory = Memory.begin(torch.stack((oldest, start), 1), torch.zeros(1, 1, 2))
    still = torch.zeros(1, 2, 32, 32)
    given = (start, still, nothing, torch.full((1, 1), 1e6), memory.after(still, nothing))
    torch.testing.assert_close(refiner(*given), start, atol=1e-3, rtol=0)  # before training: what moved
    refiner.fine_out.bias[0], refiner.fine_out.bias[4] = 0.0, 50.0
    torch.testing.assert_close(refiner(*given), oldest, atol=1e-4, rtol=0)
    refiner.fine_out.bias[:] = torch.tensor([50.0, 0, 0, 0, 50])  # the start frame or the oldest
    pictures, chances = refiner.choice(*given)
    between = (start + oldest) / 2
    cost = (chances * (pictures - between[:, None]).square().mean(2)).sum(1)
    torch.testing.assert_close(cost.mean(), (start - oldest).square().mean() / 4, atol=1e-4, rtol=0)
