"""Optical flow and the other baselines on pictures whose motion is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genie_core.evaluation.baselines import BASELINES, baseline_features, random_encoder
from genie_core.evaluation.flow import cell_means, optical_flow
from genie_core.inference import Labeller
from genie_core.models.bundle import load_bundle
from tests.factories.bundles import make_nano_bundle
from tests.factories.squares import SIDE, draw_squares


def pair(dy: int, dx: int, size: int = 64) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    frames = draw_squares(np.array([[20, 22], [20 + dy, 22 + dx]]), size, np.random.default_rng(0))
    return frames[:1], frames[1:]


@pytest.mark.parametrize(("dy", "dx"), [(0, 2), (2, 0), (-1, 1), (0, -3)])
def test_flow_is_the_squares_motion_where_it_is_and_nothing_far_from_it(dy: int, dx: int) -> None:
    flow = optical_flow(*pair(dy, dx))[0]
    middle = flow[20 + 4 : 20 + SIDE - 4, 22 + 4 : 22 + SIDE - 4].mean(axis=(0, 1))
    np.testing.assert_allclose(middle, [dx, dy], atol=0.35)
    assert np.abs(flow[50:, 50:]).max() < 0.05


def test_equal_frames_have_no_flow() -> None:
    before, _ = pair(0, 0)
    assert not optical_flow(before, before).any()


def test_a_pairs_flow_is_its_own_whatever_is_beside_it() -> None:
    pairs = [pair(1, 0), pair(0, 2), pair(-2, -1)]
    together = optical_flow(*(np.concatenate(side) for side in zip(*pairs, strict=True)))
    for alone, beside in zip(pairs, together, strict=True):
        np.testing.assert_array_equal(optical_flow(*alone)[0], beside)


def test_cell_means_by_hand() -> None:
    x = np.arange(24, dtype=np.float32).reshape(1, 4, 6, 1)
    np.testing.assert_allclose(cell_means(x, 2)[0, :, :, 0], [[4, 7], [16, 19]])
    np.testing.assert_allclose(cell_means(x, 1)[0, 0, 0], [11.5])
    uneven = cell_means(np.ones((1, 5, 7, 2)), 3)
    np.testing.assert_allclose(uneven, np.ones((1, 3, 3, 2)))


def test_every_baseline_sees_what_it_should() -> None:
    before, after = pair(0, 2)
    moved = baseline_features(before, after, optical_flow(before, after))
    still = baseline_features(before, before, optical_flow(before, before))
    assert set(moved) == set(BASELINES)
    widths = {name: x.shape[1] for name, x in moved.items()}
    assert widths == {"flow_8x8": 128, "flow_4x4": 32, "flow_global": 2, "frame_difference": 192, "frame": 192}
    for name in ("flow_8x8", "flow_4x4", "flow_global", "frame_difference"):
        assert np.abs(still[name]).max() < 0.02
        assert np.abs(moved[name]).max() > 0.05
    np.testing.assert_array_equal(moved["frame"], still["frame"])
    np.testing.assert_allclose(moved["flow_global"], moved["flow_8x8"].reshape(64, 2).mean(axis=0)[None])


def test_a_random_encoder_repeats_differs_from_the_bundle_and_leaves_torchs_random_state(tmp_path: Path) -> None:
    bundle = load_bundle(make_nano_bundle(tmp_path / "nano", seed=5))
    frames = draw_squares(np.array([[4, 4], [6, 5], [8, 9]]), 32, np.random.default_rng(1))
    before = torch.get_rng_state()
    latents = [
        Labeller(b).label(frames, 1).latent for b in (random_encoder(bundle, 0), random_encoder(bundle, 0), bundle)
    ]
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(latents[0], latents[1])
    assert np.abs(latents[0] - latents[2]).max() > 0.1
