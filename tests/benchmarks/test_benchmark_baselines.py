from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.baselines import plain_dynamics, plain_encoder, sample_frame_full_window
from benchmarks.flops import decoder_flops, dynamics_flops, encoder_flops, sampler_flops
from benchmarks.networks import coinrun, make_genie
from benchmarks.rollout import FullWindowRollout, logits_difference, random_window, start_rollout
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
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        genie.lam.latents(clips(3)[:1])
    assert counted.get_total_flops() == encoder_flops(config.lam, 32, 32, 3, 3)
    token_1TN, action_1TD = random_window(genie, 1)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        genie.dynamics.stream(token_1TN, token_1TN, action_1TD, genie.dynamics.initial_state(1))
    assert counted.get_total_flops() == dynamics_flops(config, 1, WINDOW)
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        genie.tokenizer.decode_stream(token_1TN, genie.tokenizer.decoder_state(1))
    assert counted.get_total_flops() == decoder_flops(config)


def test_a_sampled_frame_costs_one_pass_more_than_its_steps() -> None:
    config = coinrun()
    one, two = sampler_flops(config, 1, 16), sampler_flops(config, 2, 16)
    assert two - one == dynamics_flops(config, 1, 16)


def test_coinrun_is_the_size_that_is_published() -> None:
    config = coinrun()
    encoder, dynamics = config.lam.encoder, config.dynamics.transformer
    assert (encoder.layers, encoder.dim, encoder.heads, encoder.window, config.lam.patch) == (8, 512, 8, 16, 16)
    assert (dynamics.layers, dynamics.dim, dynamics.window, config.tokens_per_frame) == (12, 512, 16, 256)
