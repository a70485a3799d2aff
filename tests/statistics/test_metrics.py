from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from genie_core.statistics.gaussian import gaussian_kernel, smooth_same, smooth_valid
from genie_core.statistics.metrics import (
    entropy,
    frame_mse,
    normalised_mse,
    normalised_mutual_information,
    perplexity,
    psnr_db,
    r2,
    residual_sums,
    ssim,
)

Floats = NDArray[np.float64]


def flat(value: int, frames: int = 1, size: int = 16) -> NDArray[np.uint8]:
    return np.full((frames, size, size, 3), value, np.uint8)


def noise(seed: int, frames: int = 1, size: int = 16) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(256, size=(frames, size, size, 3), dtype=np.uint8)


def test_psnr_by_hand() -> None:
    mse = frame_mse(flat(51, frames=2), flat(0, frames=2))  # a fifth of the range
    np.testing.assert_allclose(mse, [0.04, 0.04])
    np.testing.assert_allclose(psnr_db(mse), 20 * math.log10(5))
    np.testing.assert_allclose(psnr_db(frame_mse(flat(7), flat(7))), 100)


def test_ssim_of_flat_pictures_is_its_luminance_term() -> None:
    a, b = 0.2, 0.6
    expected = (2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4)
    np.testing.assert_allclose(ssim(flat(51), flat(153)), expected, rtol=1e-9)


def test_ssim_is_the_definition_window_by_window() -> None:
    """Against the formula written out for every window and colour, with weighted means and variances."""
    a_HWC, b_HWC = noise(0)[0] / 255, noise(1)[0] / 255
    weight = np.outer(gaussian_kernel(11, 1.5), gaussian_kernel(11, 1.5))
    found = []
    for c in range(3):
        for y in range(6):
            for x in range(6):
                a, b = a_HWC[y : y + 11, x : x + 11, c], b_HWC[y : y + 11, x : x + 11, c]
                mean_a, mean_b = (weight * a).sum(), (weight * b).sum()
                var_a, var_b = (weight * (a - mean_a) ** 2).sum(), (weight * (b - mean_b) ** 2).sum()
                covariance = (weight * (a - mean_a) * (b - mean_b)).sum()
                luminance = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
                found.append(luminance * (2 * covariance + 0.03**2) / (var_a + var_b + 0.03**2))
    np.testing.assert_allclose(ssim(noise(0), noise(1)), np.mean(found), rtol=1e-9)


@given(st.integers(0, 1000), st.integers(0, 1000))
@settings(max_examples=20)
def test_ssim_is_symmetric_and_1_only_for_equal_pictures(seed: int, other: int) -> None:
    a, b = noise(seed), noise(other)
    np.testing.assert_allclose(ssim(a, b), ssim(b, a))
    assert (ssim(a, b)[0] > 1 - 1e-9) == (seed == other)


def test_smoothing_keeps_flat_pictures_and_sums() -> None:
    kernel = gaussian_kernel(5, 1.0)
    assert kernel.sum() == pytest.approx(1)
    np.testing.assert_allclose(smooth_valid(np.ones((2, 9, 8)), kernel), np.ones((2, 5, 4)))
    point = np.zeros((9, 9))
    point[4, 4] = 1
    np.testing.assert_allclose(smooth_same(point, kernel)[2:7, 2:7], np.outer(kernel, kernel))


def test_perplexity_counts_the_codes_in_use() -> None:
    counts = np.array([[5.0, 5, 5, 5, 0], [7, 0, 0, 0, 0], [3, 1, 0, 0, 0]])
    h = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    np.testing.assert_allclose(perplexity(counts), [4, 1, math.exp(h)])
    np.testing.assert_allclose(entropy(counts[2]), h)


def test_nmi_by_hand() -> None:
    same, unrelated = np.diag([3.0, 3.0]), np.ones((2, 2))
    assert normalised_mutual_information(same) == pytest.approx(1)
    assert normalised_mutual_information(unrelated) == pytest.approx(0)
    # Half of b's uncertainty is in a: H(a) = ln 2, H(b) = ln 4, H(a, b) = ln 4.
    halves = np.array([[1.0, 1, 0, 0], [0, 0, 1, 1]])
    assert normalised_mutual_information(halves) == pytest.approx(2 * math.log(2) / math.log(8))
    assert np.isnan(normalised_mutual_information(np.array([[4.0, 0], [0, 0]])))


@given(arrays(np.float64, (3, 4), elements=st.integers(0, 20)), st.permutations(range(3)))
def test_nmi_does_not_depend_on_names_or_order(joint: Floats, order: list[int]) -> None:
    expected = normalised_mutual_information(joint)
    np.testing.assert_allclose(normalised_mutual_information(joint[order]), expected, atol=1e-9)
    np.testing.assert_allclose(normalised_mutual_information(joint.T), expected, atol=1e-9)
    assert np.isnan(expected) or 0 <= expected <= 1


def test_r2_and_normalised_error_by_hand() -> None:
    truth = np.array([[0.0, 0], [2, 10], [4, 20]])
    predicted = np.array([[0.0, 5], [2, 10], [4, 15]])
    sums = residual_sums(truth, predicted)
    np.testing.assert_allclose(r2(sums), [1, 1 - 50 / 200])
    np.testing.assert_allclose(normalised_mse(sums), 50 / 208)
    mean = residual_sums(truth, np.broadcast_to(truth.mean(axis=0), truth.shape))
    np.testing.assert_allclose(r2(mean), [0, 0], atol=1e-12)
    assert normalised_mse(mean) == pytest.approx(1)


def test_r2_is_undefined_where_the_truth_does_not_vary() -> None:
    truth = np.column_stack([np.full(5, 0.3), np.arange(5.0)])
    found = r2(residual_sums(truth, truth + 0.1))
    assert np.isnan(found[0])
    assert np.isfinite(found[1])


@given(st.integers(0, 100), st.integers(1, 19))
def test_sums_of_parts_are_sums_of_the_whole(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))
    parts = residual_sums(truth[:cut], predicted[:cut]) + residual_sums(truth[cut:], predicted[cut:])
    np.testing.assert_allclose(r2(parts), r2(residual_sums(truth, predicted)))
