from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.baselines import plain_dynamics, plain_encoder, sample_frame_full_window
from benchmarks.flops import decoder_flops, encoder_flops, full_window_flops, sampler_flops
from benchmarks.networks import coinrun, make_genie
from benchmarks.rollout import FullWindowRollout, logits_difference, random_window, start_rollout
from genie_core.inference.sampler import Chance, sample_frame
from genie_core.models.config import DynamicsConfig, LatentActionConfig, ModelConfig, TransformerConfig
from genie_core.models.genie import Genie
from genie_core.models.presets import preset

WINDOW = 4


def small() -> ModelConfig:
    """The structure of `coinrun` at a size that takes milliseconds."""
    stack = TransformerConfig(layers=2, dim=32, heads=2, window=WINDOW)
    nano = preset("nano")
    lam = LatentActionConfig(encoder=stack, decoder=stack, quantizer=nano.lam.quantizer, patch=16)
    return nano.model_copy(update={"lam": lam, "dynamics": DynamicsConfig(transformer=stack)})


@pytest.fixture
def genie() -> Genie:
    return make_genie(small(), seed=1)


def clips(frames: int = WINDOW) -> torch.Tensor:
    return torch.rand(2, frames, 3, 32, 32, generator=torch.Generator().manual_seed(2)) - 0.5


def test_plain_encoder_computes_what_ours_does(genie: Genie) -> None:
    plain = plain_encoder(genie.lam, small())
    torch.testing.assert_close(plain(clips()), genie.lam.latents(clips()), atol=1e-5, rtol=0)


def test_plain_dynamics_computes_what_the_cached_one_does(genie: Genie) -> None:
    with torch.no_grad():
        genie.dynamics.head.weight.mul_(20)  # logits of a size at which a difference would show
    assert logits_difference(genie, plain_dynamics(genie.dynamics, small())) < 1e-4


def test_difference_of_logits_shows_where_there_is_one(genie: Genie) -> None:
    plain = plain_dynamics(genie.dynamics, small())
    with torch.no_grad():
        plain.position_ND.add_(torch.randn(plain.position_ND.shape, generator=torch.Generator().manual_seed(3)))
    assert logits_difference(genie, plain) > 1e-3


def test_other_structures_are_refused() -> None:
    tiny = preset("tiny")
    genie = make_genie(tiny)
    with pytest.raises(ValueError, match="stem 'conv'"):
        plain_encoder(genie.lam, tiny)
    with pytest.raises(ValueError, match="group=2"):
        plain_dynamics(genie.dynamics, tiny)


@pytest.mark.parametrize("steps", [1, 3, 16])
def test_full_window_sampler_draws_every_token_and_only_those(genie: Genie, steps: int) -> None:
    config = small()
    plain, codes = plain_dynamics(genie.dynamics, config), config.tokenizer.quantizer.codes
    calls: list[int] = []
    plain.register_forward_hook(lambda module, args, out: calls.append(args[0].shape[1]))
    token_1TN, action_1TD = random_window(genie, WINDOW)
    before = token_1TN.clone()
    drawn = [
        sample_frame_full_window(
            plain,
            token_1TN,
            action_1TD,
            codes=codes,
            steps=steps,
            temperature=1.0,
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in (0, 0, 1)
    ]
    assert drawn[0].shape == (1, config.tokens_per_frame)
    assert 0 <= int(drawn[0].min()) <= int(drawn[0].max()) < codes
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(token_1TN, before)
    assert calls == [WINDOW] * steps * 3  # the whole window, every step


def test_both_rollouts_draw_frames(genie: Genie) -> None:
    plain = plain_dynamics(genie.dynamics, small())
    assert FullWindowRollout(genie, plain, 2).draw().shape == (1, 32, 32, 3)
    assert start_rollout(genie, 2).step([0]).shape == (1, 32, 32, 3)


def test_flops_are_those_that_torch_counts(genie: Genie) -> None:
    config = small()
    token_1TN, action_1TD = random_window(genie, 1)
    before = genie.dynamics.initial_state(1)

    def draw() -> None:
        frame = genie.dynamics.next_frame(token_1TN[:, 0], action_1TD[:, 0], before)
        chance = Chance.draw(config.tokens_per_frame, config.tokenizer.quantizer.codes, torch.Generator())
        reveal = partial(genie.dynamics.reveal, frame)
        token_1N = sample_frame(reveal, chance, steps=3, temperature_B=torch.ones(1))
        genie.dynamics.remember(frame, token_1N)

    assert _counted(lambda: genie.lam.latents(clips(3)[:1])) == encoder_flops(config.lam, 32, 32, 3, 3)
    decoder = genie.tokenizer.decoder_state(1)
    assert _counted(lambda: genie.tokenizer.decode_stream(token_1TN, decoder)) == decoder_flops(config)
    assert _counted(draw) == sampler_flops(config, 3, WINDOW)
    plain = plain_dynamics(genie.dynamics, config)
    window = random_window(genie)
    assert _counted(lambda: plain(*window)) == full_window_flops(config, 1, WINDOW)


@torch.no_grad()
def _counted(work: Callable[[], object]) -> int:
    """What torch counts, which does not know attention's kernel on a CPU by itself."""
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu

    def attention_flops(q: torch.Size, k: torch.Size, v: torch.Size, *_: object, **__: object) -> int:
        return 2 * q[:-1].numel() * k[-2] * (q[-1] + v[-1])

    with FlopCounterMode(display=False, custom_mapping={kernel: attention_flops}) as counted:
        work()
    return counted.get_total_flops()


def test_coinrun_is_the_size_that_is_published() -> None:
    config = coinrun()
    encoder, dynamics = config.lam.encoder, config.dynamics.transformer
    assert (encoder.layers, encoder.dim, encoder.heads, encoder.window, config.lam.patch) == (8, 512, 8, 16, 16)
    assert (dynamics.layers, dynamics.dim, dynamics.window, config.tokens_per_frame) == (12, 512, 16, 256)
