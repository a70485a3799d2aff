from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genie_core.errors import ModelError
from genie_core.inference.shapes import threads_of_this_thread
from genie_core.models.config import ModelConfig
from genie_core.models.dynamics import previous_tokens
from genie_core.models.genie import Genie, count_parameters
from genie_core.models.patches import patchify, to_frames, to_pixels, unpatchify
from genie_core.models.presets import PRESETS, preset


def genie(**changes: object) -> Genie:
    torch.manual_seed(0)
    values = preset("nano").model_dump()
    for path, value in changes.items():
        part, name = path.split("__")
        values[part][name] = value
    return Genie(ModelConfig.model_validate(values)).eval()


def clips(frames: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.rand(2, frames, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) - 0.5


@given(h=st.integers(1, 4), w=st.integers(1, 4), patch=st.sampled_from([1, 2, 4]), channels=st.integers(1, 3))
@settings(max_examples=20)
def test_unpatchify_undoes_patchify(h: int, w: int, patch: int, channels: int) -> None:
    x = torch.randn(2, 3, channels, h * patch, w * patch)
    assert torch.equal(unpatchify(patchify(x, patch), patch, h * patch, w * patch), x)


def test_frames_survive_the_way_to_pixels_and_back() -> None:
    frames = torch.arange(256, dtype=torch.uint8).repeat(3).view(1, 1, 16, 16, 3)
    assert torch.equal(to_frames(to_pixels(frames)), frames)


@pytest.mark.parametrize("stem", ["patch", "conv"])
@pytest.mark.parametrize("temporal", ["st", "c", "none"])
@torch.inference_mode()
def test_tokens_see_no_later_frame_and_decode_to_pictures(stem: str, temporal: str) -> None:
    tokenizer = genie(tokenizer__stem=stem, tokenizer__temporal=temporal).tokenizer
    x = clips()
    tokens = tokenizer.encode(x)
    assert tokens.shape == (2, 6, 16)
    assert torch.equal(tokenizer.encode(x[:, :3]), tokens[:, :3])
    state, parts = tokenizer.decoder_state(2), []
    for t in range(6):
        drawn, state = tokenizer.decode_stream(tokens[:, t : t + 1], state)
        parts.append(drawn)
    torch.testing.assert_close(torch.cat(parts, dim=1), tokenizer.decode(tokens), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_without_encoder_blocks_a_token_sees_its_surroundings_alone() -> None:
    layers_none = preset("nano").tokenizer.encoder.model_dump() | {"layers": 0}
    tokenizer = genie(tokenizer__stem="conv", tokenizer__patch=4, tokenizer__encoder=layers_none).tokenizer
    x = clips()
    changed = x.clone()
    changed[..., :4, :4] = 0.4
    moved = (tokenizer.latents(x) - tokenizer.latents(changed)).abs().amax(dim=(0, 1, 3)).view(8, 8) > 1e-6
    assert moved[0, 0]
    assert not moved[6:].any()
    assert not moved[:, 6:].any()


@pytest.mark.parametrize("stem", ["patch", "conv"])
@pytest.mark.parametrize("pairs", [False, True])
@torch.inference_mode()
def test_the_action_at_t_sees_frame_t_plus_one_and_none_after(stem: str, pairs: bool) -> None:
    lam = genie(lam__stem=stem, lam__pairs=pairs).lam
    x = clips()
    changed = x.clone()
    changed[:, 4:] = 0
    moved = (lam.latents(x) - lam.latents(changed)).abs().amax(dim=(0, 2)) > 1e-6
    assert moved.tolist() == [False, False, False, True, True]
    torch.testing.assert_close(lam.latents(x).norm(dim=-1), torch.ones(2, 5))


@pytest.mark.parametrize("stem", ["patch", "conv"])
@pytest.mark.parametrize("pairs", [False, True])
@torch.inference_mode()
def test_latents_stream_as_over_whole_clips(stem: str, pairs: bool) -> None:
    lam = genie(lam__stem=stem, lam__pairs=pairs).lam
    x = clips()
    state, parts = lam.encoder_state(2), []
    for first, stop in ((0, 1), (1, 3), (3, 6)):
        latents, state = lam.latents_stream(x[:, first:stop], state)
        parts.append(latents)
    torch.testing.assert_close(torch.cat(parts, dim=1)[:, 1:], lam.latents(x), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_the_prediction_depends_on_the_action_and_on_no_later_frame() -> None:
    lam = genie(lam__residual=False).lam
    x, action = clips(), torch.randn(2, 6, 8)
    predicted = lam.predict(x, action)
    assert predicted.min() >= -0.5
    assert predicted.max() <= 0.5
    torch.testing.assert_close(lam.predict(x[:, :3], action[:, :3]), predicted[:, :3], atol=1e-6, rtol=0)
    assert (lam.predict(x, -action) - predicted).abs().max() > 1e-5


def test_gradients_reach_the_encoder_through_the_codes_alone() -> None:
    lam = genie().lam.train()
    torch.nn.init.normal_(lam.decoder_pixels.linear.weight, std=0.1)
    out = lam(clips())
    (out.predicted_BTCHW - clips()[:, 1:]).square().mean().backward()
    assert lam.to_latent.weight.grad is not None
    assert lam.to_latent.weight.grad.abs().max() > 0


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("group", [1, 2])
@torch.inference_mode()
def test_dynamics_streams_exactly_and_sees_no_later_frame(group: int, copy: bool) -> None:
    dynamics = genie(dynamics__group=group, dynamics__copy_previous=copy).dynamics
    generator = torch.Generator().manual_seed(0)
    token = torch.randint(64, (2, 6, 16), generator=generator)
    action = torch.randn(2, 6, 8, generator=generator)
    before = previous_tokens(token, dynamics.mask_token)
    assert torch.equal(before[:, 1:], token[:, :-1])
    assert (before[:, 0] == dynamics.mask_token).all()
    whole = dynamics(token, before, action)
    state, parts = dynamics.initial_state(2), []
    for t in range(6):
        now = slice(t, t + 1)
        logits, state = dynamics.stream(token[:, now], before[:, now], action[:, now], state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("group", [1, 2])
@torch.inference_mode()
def test_revealed_tokens_have_the_logits_of_the_whole_frame(group: int, copy: bool) -> None:
    dynamics = genie(dynamics__group=group, dynamics__copy_previous=copy).dynamics
    generator = torch.Generator().manual_seed(0)
    token, before = torch.randint(64, (2, 2, 16), generator=generator)
    action = torch.randn(2, 8, generator=generator)
    whole = dynamics(token[:, None], before[:, None], action[:, None])[:, 0]
    frame = dynamics.next_frame(before, action, dynamics.initial_state(2))
    for count in (1, 5, 16):
        at = torch.stack([torch.randperm(16, generator=generator)[:count] for _ in range(2)])
        wanted = torch.stack([whole[b, at[b]] for b in range(2)])
        torch.testing.assert_close(dynamics.reveal(frame, token, at), wanted, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_threads_do_not_change_the_logits_of_however_few_tokens() -> None:
    dynamics = genie().dynamics
    token, before = torch.randint(64, (2, 1, 16), generator=torch.Generator().manual_seed(0))
    frame = dynamics.next_frame(before, torch.ones(1, 8), dynamics.initial_state(1))
    for count in range(1, 17):
        logits = []
        for threads in (1, 2):
            with threads_of_this_thread(threads):
                logits.append(dynamics.reveal(frame, token, torch.arange(count)[None]))
        assert torch.equal(*logits), f"{count} tokens"


@torch.inference_mode()
def test_an_untrained_copying_dynamics_model_guesses_the_token_before() -> None:
    dynamics = genie(dynamics__group=2, dynamics__copy_previous=True).dynamics
    token = torch.randint(64, (2, 6, 16), generator=torch.Generator().manual_seed(0))
    before = previous_tokens(token, dynamics.mask_token)
    logits = dynamics(torch.full_like(token, dynamics.mask_token), before, torch.zeros(2, 6, 8))
    assert torch.equal(logits[:, 1:].argmax(-1), before[:, 1:])
    assert logits[:, 0].abs().max() < 5


def test_a_token_keeps_its_place_among_the_grouped() -> None:
    dynamics = genie(dynamics__group=2).dynamics
    place = torch.arange(16.0).view(1, 1, 16, 1)
    grouped = dynamics._grouped(place)
    assert grouped.shape == (1, 1, 4, 4)
    assert grouped[0, 0, 0].tolist() == [0, 1, 4, 5]
    assert grouped[0, 0, 3].tolist() == [10, 11, 14, 15]
    assert torch.equal(dynamics._ungrouped(grouped), place)


def test_a_group_must_tile_the_tokens() -> None:
    with pytest.raises(ValueError, match=r"group 3 must tile the 4 x 4 tokens"):
        genie(dynamics__group=3)


def test_a_latent_action_model_can_read_tokens() -> None:
    model = genie(lam__source="tokens")
    view = model.lam_view(clips())
    assert view.shape == (2, 6, 8, 4, 4)
    assert model.lam(view).predicted_BTCHW.shape == (2, 5, 8, 4, 4)


def test_parameter_counts_follow_the_paper() -> None:
    robotics = count_parameters(preset("robotics"))
    assert abs(robotics.lam / 300e6 - 1) < 0.05
    assert abs(robotics.tokenizer / 200e6 - 1) < 0.05
    assert abs(robotics.total / 2.5e9 - 1) < 0.02
    # The paper's 10.1B: 48 layers of width 5120, a layer being half a block.
    values = preset("robotics").model_dump()
    values["dynamics"]["transformer"] |= {"layers": 24, "dim": 5120, "heads": 40}
    assert abs(count_parameters(ModelConfig.model_validate(values)).dynamics / 10.1e9 - 1) < 0.01


def test_counting_matches_what_is_built() -> None:
    built = sum(p.numel() for p in genie().parameters())
    assert count_parameters(preset("nano")).total == built


def test_presets_are_listed_in_the_error() -> None:
    with pytest.raises(ModelError, match="motion, motion-plain, motion-refined, motion-tokens, coinrun, robotics"):
        preset("huge")
    assert {preset(n).name for n in PRESETS} == set(PRESETS)


def test_patches_must_tile_the_frame() -> None:
    values = preset("nano").model_dump() | {"height": 30}
    with pytest.raises(ValueError, match="does not tile"):
        ModelConfig.model_validate(values)
