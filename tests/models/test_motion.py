from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from genie_core.models.config import (
    LatentActionConfig,
    ModelConfig,
    MotionActionConfig,
    MoverConfig,
    QuantizerConfig,
)
from genie_core.models.flow import optical_flow
from genie_core.models.genie import Genie
from genie_core.models.motion import Pairs
from genie_core.models.motion_lam import MotionActionModel
from genie_core.models.mover import FrameMover, code_means
from genie_core.models.patches import to_pixels
from genie_core.models.presets import preset
from genie_core.models.quantizer import VectorQuantizer
from genie_core.models.warp import warp


def motion_config() -> ModelConfig:
    lam = MotionActionConfig(quantizer=QuantizerConfig(codes=4, dim=6, metric="euclidean"), width=8, maps=2, places=2)
    return preset("nano").model_copy(update={"lam": lam})


def motion_model() -> MotionActionModel:
    torch.manual_seed(0)
    lam = Genie(motion_config()).eval().lam
    assert isinstance(lam, MotionActionModel)
    return lam


def clips(frames: int = 5) -> torch.Tensor:
    """Clips in which a smooth pattern slides, (2, frames, 3, 32, 32)."""
    rng = np.random.default_rng(0)
    wide = torch.from_numpy(rng.integers(0, 256, (2, 3, 12, 12))).float()
    wide = torch.nn.functional.interpolate(wide, (64, 64), mode="bicubic").clamp(0, 255).round().to(torch.uint8)
    frames_BTHWC = torch.stack([wide[:, :, 8:40, t : t + 32] for t in range(frames)], 1).permute(0, 1, 3, 4, 2)
    return to_pixels(frames_BTHWC)


def test_flow_says_where_what_is_seen_goes_in_pixels_of_a_frame_of_64() -> None:
    before, after = (
        np.ascontiguousarray(f) for f in ((clips()[0, t].permute(1, 2, 0).numpy() + 0.5) * 255 for t in (0, 2))
    )
    flow = optical_flow(before.round().astype(np.uint8), after.round().astype(np.uint8), 8)
    assert flow.shape == (2, 8, 8)
    assert flow[0, 2:6, 2:6].mean() == pytest.approx(-4, abs=0.5)  # 2 pixels of 32, to the left
    assert abs(flow[1, 2:6, 2:6].mean()) < 0.5


@torch.inference_mode()
def test_threads_change_nothing_of_what_is_seen() -> None:
    lam, x = motion_model(), clips()
    one = lam.latents(x)
    lam.flow_threads = 3
    assert torch.equal(lam.latents(x), one)


@torch.inference_mode()
def test_a_latent_changes_its_sign_with_time_and_is_zero_where_nothing_moves() -> None:
    lam, x = motion_model(), clips()
    latents = lam.latents(x)
    assert latents.norm(dim=-1).min() > 1e-3
    assert torch.equal(lam.latents(x.flip(1)).flip(1), -latents)
    assert not lam.latents(x[:, :1].expand(-1, 3, -1, -1, -1)).any()


@torch.inference_mode()
def test_motion_streams_as_over_whole_clips_and_remembers_one_frame() -> None:
    lam, x = motion_model(), clips()
    state, parts = lam.encoder_state(2), []
    for first, stop in ((0, 1), (1, 3), (3, 5)):
        latents, state = lam.latents_stream(x[:, first:stop], state)
        parts.append(latents)
    got = torch.cat(parts, dim=1)
    assert not got[:, 0].any()
    torch.testing.assert_close(got[:, 1:], lam.latents(x), atol=1e-6, rtol=0)
    joined = type(state).join(state.split())
    assert torch.equal(joined.last_BCHW, x[:, -1])
    assert joined.temporal.frames_B.tolist() == [5, 5]


@torch.inference_mode()
def test_the_prediction_moves_the_frame_and_does_nothing_for_no_action() -> None:
    lam, x = motion_model(), clips()
    torch.nn.init.zeros_(lam.motion_decoder.back_out.bias)
    assert lam.predict(x, torch.randn(2, 5, 6)).shape == x.shape
    moved = warp(x[:, 0], torch.tensor([2.0, 0.0]).view(1, 2, 1, 1).expand(2, 2, 4, 4))  # 1 pixel of 32
    torch.testing.assert_close(moved[..., 2:-2], x[:, 1, ..., 2:-2], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_a_code_stands_for_the_mean_of_the_latents_that_have_it() -> None:
    quantizer = VectorQuantizer(QuantizerConfig(codes=3, dim=2, metric="euclidean"))
    quantizer.codebook.copy_(torch.tensor([[1.0, 0], [0, 1], [-1, 0]]))
    prior_KD = torch.tensor([[1.0, 0], [0, 1], [-1, 0.1]])
    latent_ND = torch.tensor([[8.0, 1], [10, -1], [0.1, 30]])
    mean_KD = code_means(quantizer, latent_ND, prior_KD, weight=2.0)
    torch.testing.assert_close(mean_KD[:2], torch.tensor([[(18 + 2) / 4, 0], [0.1 / 3, (30 + 2) / 3]]))
    assert torch.equal(mean_KD[2], prior_KD[2])  # never seen: to the bit
    assert torch.equal(code_means(quantizer, latent_ND[:0], prior_KD, weight=2.0), prior_KD)


@pytest.mark.parametrize("places", [0, 4])
def test_a_mover_does_nothing_for_a_latent_of_zero_and_answers_in_whole_grey_levels(places: int) -> None:
    torch.manual_seed(0)
    mover, x_NCHW = FrameMover(MoverConfig(width=8, blocks=2, places=places), 6, 4).eval(), clips()[:, 0]
    now = mover.begin(x_NCHW[:, None], torch.zeros(2, 0, 6))
    assert torch.equal(mover.move(now, torch.zeros(2, 6)).frame_BCHW, x_NCHW)
    moved = mover.move(now, 5 * torch.randn(2, 6)).frame_BCHW
    assert moved.shape == x_NCHW.shape
    assert (moved - x_NCHW).abs().max() > 0.01
    levels = (moved + 0.5) * 255
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_latents_tell_a_mover_by_themselves_where_things_move() -> None:
    """Flow that is linear in latents is found from pairs, whatever their sizes, and moves any picture."""
    torch.manual_seed(0)
    mover = FrameMover(MoverConfig(width=8, blocks=1, places=4, steady_px=0), 6, 4).eval()
    true_F6, latent_N6 = torch.randn(2 * 4 * 4, 6), torch.randn(200, 6) * 10 ** torch.linspace(0, 2, 200)[:, None]
    flow_N2GG = F.interpolate((latent_N6 @ true_F6.T).view(-1, 2, 4, 4), (32, 32), mode="nearest")
    mover.fit_places(latent_N6, flow_N2GG, still=0.02)
    torch.testing.assert_close(mover.to_places.weight, true_F6, atol=0.2, rtol=0)
    mover.fine_out.bias[2] = 30.0  # relies on that alone
    told = mover.told_flow(latent_N6[:2])
    torch.testing.assert_close(mover(clips()[:, 0], latent_N6[:2]), told)
    assert told.abs().amax() > 1
    with pytest.raises(ValueError, match="places"):
        FrameMover(MoverConfig(width=8, blocks=1), 6, 4).fit_places(latent_N6, flow_N2GG, still=0.02)


@torch.inference_mode()
def test_condensed_latents_mix_the_principal_components_evenly_and_decode_as_before() -> None:
    torch.manual_seed(0)
    lam = motion_model()
    scale = torch.cat((torch.tensor([4.0, 2, 1, 1]), torch.zeros(lam.feature_dim - 4)))
    feature, frame = torch.randn(400, lam.feature_dim) * scale, torch.rand(400, 3, 32, 32) - 0.5
    before, _ = lam.motion_decoder(frame, lam.latents_of(feature)[:, :-2])
    lam.condense(feature)
    made = lam.latents_of(feature)[:, :-2]
    assert made.square().mean(1).sqrt().median() == pytest.approx(1, abs=1e-3)
    deviation = made.std(0)
    assert deviation.max() < 1.5 * deviation.min()
    kept = torch.linalg.svdvals(made) / torch.linalg.svdvals(feature[:, :4])  # sizes are kept
    torch.testing.assert_close(kept, kept[:1].expand(4), atol=1e-4, rtol=1e-3)
    assert not lam.motion_encoder.to_latent.weight[:, 4:].abs().max() > 1e-4
    torch.testing.assert_close(lam.motion_decoder(frame, made)[0], before, atol=1e-4, rtol=1e-3)


@torch.inference_mode()
def test_condensed_latents_say_a_little_where_it_moves() -> None:
    torch.manual_seed(0)
    lam = motion_model()
    feature = torch.randn(400, lam.feature_dim) * torch.cat((torch.tensor([5.0, 5.0]), torch.zeros(14), torch.ones(10)))
    assert lam.features(clips()).shape[-1] == lam.feature_dim == 2 * 8 + 2 * 2 * 2 + 2
    lam.condense(feature)
    found, places = feature.clone(), feature.clone()
    found[:, 16:], places[:, :16], places[:, -2:] = 0, 0, 0
    found, places = (lam.latents_of(x)[:, :-2].norm(dim=1).mean() for x in (found, places))
    assert 0.1 < places / found < 0.3  # all eight numbers of flow have 0.3 of the encoder's size; two come in
    assert torch.equal(lam.latents(clips().flip(1)).flip(1), -lam.latents(clips()))


def test_the_kind_chooses_the_model_and_a_bundle_of_before_is_read_as_it_was() -> None:
    config = motion_config()
    assert ModelConfig.model_validate_json(config.model_dump_json()) == config
    values = preset("nano").model_dump()
    assert "kind" not in values["lam"]
    assert isinstance(ModelConfig.model_validate(values).lam, LatentActionConfig)
    with pytest.raises(ValueError, match="expected 'euclidean'"):
        MotionActionConfig(quantizer=QuantizerConfig(codes=4, dim=6))


def test_codes_of_the_euclidean_metric_keep_their_length() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantizer(QuantizerConfig(codes=3, dim=2, metric="euclidean"))
    middle = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 6.0]])
    latents = (middle[:, None] + 0.05 * torch.randn(3, 50, 2)).reshape(-1, 2)
    quantizer.fit(latents)
    assert sorted(quantizer.codebook.norm(dim=-1).tolist()) == pytest.approx([0, 3, 6], abs=0.2)
    assert quantizer.nearest(latents).view(3, 50).unique(dim=1).shape == (3, 1)
    assert quantizer.nearest(torch.tensor([0.0, 60.0])) == quantizer.nearest(torch.tensor([0.0, 6.0]))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_fitted_code_keeps_its_weight_in_the_moving_average(metric: str) -> None:
    torch.manual_seed(0)
    config = QuantizerConfig.model_validate({"codes": 4, "dim": 3, "metric": metric})
    quantizer = VectorQuantizer(config).train()
    latents = torch.nn.functional.normalize(torch.randn(400, 3), dim=-1)
    quantizer.fit(latents)
    before = quantizer.codebook.clone()
    quantizer(torch.nn.functional.normalize(torch.randn(400, 3), dim=-1))
    assert (quantizer.codebook - before).norm(dim=-1).max() < 0.02  # of 1 %, not of most of it


def test_codes_are_the_same_inside_autocast() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantizer(QuantizerConfig(codes=64, dim=8))
    latents = torch.nn.functional.normalize(torch.randn(2000, 8), dim=-1)
    with torch.autocast("cpu", torch.bfloat16):
        inside = quantizer.nearest(latents)
    assert torch.equal(inside, quantizer.nearest(latents))


def test_what_moves_the_whole_picture_is_taken_out_and_changes_its_sign_with_the_flow() -> None:
    torch.manual_seed(0)
    there, back = 0.3 * torch.randn(2, 3, 2, 32, 32)
    there[:, :, 4:20, 4:16] += 3  # what a robot does: less than half of the picture
    frame, shake = torch.zeros(3, 3, 32, 32), torch.tensor([1.0, -2.0]).view(1, 2, 1, 1)
    pairs, shaken = Pairs(frame, frame, there, back), Pairs(frame, frame, there + shake, back - shake)
    torch.testing.assert_close(shaken.steady().there_NCHW, pairs.steady().there_NCHW, atol=1e-5, rtol=0)
    assert torch.equal(Pairs(frame, frame, back, there).steady().there_NCHW, pairs.steady().back_NCHW)
