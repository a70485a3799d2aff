from __future__ import annotations

from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from genie_core.models.config import QuantizerConfig
from genie_core.models.quantizer import VectorQuantizer, perplexity


def quantizer(codes: int = 8, **changes: int) -> VectorQuantizer:
    torch.manual_seed(0)
    return VectorQuantizer(QuantizerConfig(codes=codes, dim=4, **changes))


def unit(n: int, seed: int = 1) -> torch.Tensor:
    return F.normalize(torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)), dim=-1)


@given(seed=st.integers(0, 1000))
@settings(max_examples=30)
def test_the_chosen_code_is_the_nearest_and_confidence_is_its_margin(seed: int) -> None:
    q = quantizer().eval()
    latent = unit(50, seed)
    distance = torch.cdist(latent, q.codebook, compute_mode="donot_use_mm_for_euclid_dist")
    assert torch.equal(q.nearest(latent), distance.argmin(dim=-1))
    d1, d2 = distance.sort(dim=-1).values[:, :2].unbind(-1)
    torch.testing.assert_close(q.confidence(latent), (d2 - d1) / (d2 + d1), atol=1e-3, rtol=0)


def test_confidence_is_one_on_a_code_and_zero_between_two() -> None:
    q = quantizer().eval()
    middle = F.normalize(q.codebook[0] + q.codebook[1], dim=0)
    q.codebook[2:] = -middle
    assert q.confidence(q.codebook[:1]).item() > 0.99
    assert q.confidence(middle[None]).item() < 1e-3


def test_gradients_pass_straight_through() -> None:
    q = quantizer()
    latent = unit(5).requires_grad_()
    q(latent).vector.sum().backward()
    torch.testing.assert_close(latent.grad, torch.ones_like(latent))


def test_evaluation_moves_nothing() -> None:
    q = quantizer().eval()
    before = {k: v.clone() for k, v in q.state_dict().items()}
    q(unit(100))
    assert all(torch.equal(v, before[k]) for k, v in q.state_dict().items())


def test_dead_codes_are_revived_and_the_codebook_does_not_collapse() -> None:
    q = quantizer(codes=8, revive_after=5)
    q.codebook[:] = F.normalize(torch.tensor([1.0, 0, 0, 0]) + 1e-3 * torch.randn(8, 4), dim=-1)
    q.sum_KD.copy_(q.codebook)
    clusters = unit(8, seed=7)
    for step in range(400):
        noise = 0.05 * torch.randn(64, 4, generator=torch.Generator().manual_seed(step))
        q(F.normalize(clusters.repeat(8, 1) + noise, dim=-1))
    q.eval()
    assert perplexity(q.nearest(clusters), 8) > 5


def test_kmeans_finds_separate_clusters() -> None:
    clusters = torch.cat((torch.eye(4), -torch.eye(4)))
    noise = 0.05 * torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
    latent = F.normalize(clusters.repeat(50, 1) + noise, dim=-1)
    q = quantizer()
    q.fit(latent)
    assert perplexity(q.eval().nearest(clusters), 8) > 7.9


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_centres_of_kmeans_keep_their_weight_in_the_moving_average(metric: Literal["cosine", "euclidean"]) -> None:
    """A step moves a code towards its new latents by 1 - decay, and not nearly all the way."""
    torch.manual_seed(0)
    q = VectorQuantizer(QuantizerConfig(codes=4, dim=4, metric=metric))
    q.fit(torch.eye(4).repeat(64, 1), restarts=8)
    torch.testing.assert_close(q.count_K, torch.full((4,), 0.25))
    fitted_KD = q.codebook.clone()
    q.train()(F.normalize(torch.eye(4) + 0.4, dim=-1).repeat(8, 1))  # 24 degrees from the centres
    assert (F.cosine_similarity(q.codebook, fitted_KD) > 0.9999).all()
    assert not torch.equal(q.codebook, fitted_KD)


def test_perplexity_counts_codes() -> None:
    assert abs(perplexity(torch.arange(8).repeat(3), 8) - 8) < 1e-4
    assert abs(perplexity(torch.zeros(9, dtype=torch.int64), 8) - 1) < 1e-4


def test_of_codes_of_motion_that_fit_about_as_well_pairs_of_opposites_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = VectorQuantizer(QuantizerConfig(codes=4, dim=2, metric="euclidean"))
    best, opposite, worse = (
        torch.tensor([[0.5, 0], [0, 0.5], [-0.4, 0.3], [0.1, -0.5]]),
        torch.tensor([[0.5, 0], [0, 0.4], [-0.5, 0], [0, -0.3]]),
        torch.tensor([[0.5, 0], [0, 0.4], [-0.5, 0], [0, -0.4]]),
    )
    runs = iter(
        [(best, torch.ones(4) / 4, 1.0), (opposite, torch.ones(4) / 4, 1.005), (worse, torch.ones(4) / 4, 1.02)]
    )
    monkeypatch.setattr(fitted, "_clusters", lambda *_: next(runs))
    fitted.fit(10 * torch.randn(20, 2), restarts=3)
    torch.testing.assert_close(fitted._shorten(fitted.codebook), opposite, atol=1e-4, rtol=0)


def test_the_ball_of_distances_is_as_large_as_the_usual_length_says() -> None:
    quantizer = VectorQuantizer(QuantizerConfig(codes=2, dim=2, metric="euclidean", radii=2))
    latents = torch.tensor([[3.0, 0], [5.0, 0], [0, 4.0]])
    quantizer.fit(latents)
    assert quantizer.radius == 2
    quantizer.fit(latents, usual_norm=7)
    assert quantizer.radius == 3.5


def test_codes_within_reach_lie_nearer_to_zero_all_but_the_one_of_stillness() -> None:
    torch.manual_seed(0)
    latents = torch.cat([0.01 * torch.randn(20, 2), torch.tensor([[4.0, 0], [-4.0, 0], [0, 4.0]]).repeat(20, 1)])
    whole, drawn_in = (VectorQuantizer(QuantizerConfig(codes=4, dim=2, metric="euclidean")) for _ in range(2))
    for quantizer, reach in ((whole, 1.0), (drawn_in, 0.5)):
        torch.manual_seed(0)
        quantizer.fit(latents, restarts=8, reach=reach)
    length_K = whole._shorten(whole.codebook).norm(dim=-1)
    share_K = drawn_in._shorten(drawn_in.codebook).norm(dim=-1) / length_K
    still = int(length_K.argmin())
    assert share_K[still] == pytest.approx(1, abs=1e-3)
    assert share_K[torch.arange(4) != still].tolist() == pytest.approx([0.5] * 3, abs=1e-3)
