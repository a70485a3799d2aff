"""Metrics as pure functions of arrays. For intervals see `genie_core.evaluation.metrics`.

A metric of a whole dataset is a function of sums over episodes (`frame_mse` -> mean -> `psnr_db`; counts ->
`perplexity`; `residual_sums` -> `r2`), so that a bootstrap over episodes only weights the sums. Those functions
take any number of leading axes, written X.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Frames
from genie_core.statistics.gaussian import gaussian_kernel, smooth_valid

Array = NDArray[np.float64]

LEAST_MSE = 1e-10
"""Floor of mean squared errors, so that equal pictures have 100 dB instead of infinity."""

_SSIM_KERNEL = gaussian_kernel(11, 1.5)
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2


def frame_mse(a_THWC: Frames, b_THWC: Frames) -> Array:
    """Return the mean squared error of each pair of frames, (T, H, W, 3) uint8 -> (T,), for a range of 1."""
    difference = (a_THWC.astype(np.float64) - b_THWC) / 255
    mse: Array = np.square(difference).mean(axis=(1, 2, 3))
    return mse


def psnr_db(mse_X: Array) -> Array:
    """Return the peak signal-to-noise ratio in dB of mean squared errors over pixels in a range of 1; at most 100."""
    psnr: Array = -10 * np.log10(np.maximum(mse_X, LEAST_MSE))
    return psnr


def ssim(a_THWC: Frames, b_THWC: Frames) -> Array:
    """Return structural similarity of each pair of frames, (T, H, W, 3) uint8 -> (T,) in [-1, 1] (Wang et al. 2004).

    The standard form: an 11 x 11 Gaussian window of 1.5 pixels, K1 = 0.01, K2 = 0.03, averaged over the windows that
    lie fully in the frame and over the three colours. H and W must be at least 11.
    """
    return np.array([_frame_ssim(a_HWC, b_HWC) for a_HWC, b_HWC in zip(a_THWC, b_THWC, strict=True)])


def _frame_ssim(a_HWC: NDArray[np.uint8], b_HWC: NDArray[np.uint8]) -> float:
    a_CHW, b_CHW = (np.moveaxis(x.astype(np.float64) / 255, -1, 0) for x in (a_HWC, b_HWC))
    products = np.stack((a_CHW, b_CHW, a_CHW**2, b_CHW**2, a_CHW * b_CHW))
    a, b, aa, bb, ab = smooth_valid(products, _SSIM_KERNEL)
    luminance = (2 * a * b + _SSIM_C1) / (a**2 + b**2 + _SSIM_C1)
    structure = (2 * (ab - a * b) + _SSIM_C2) / ((aa - a**2) + (bb - b**2) + _SSIM_C2)
    return float((luminance * structure).mean())


def entropy(count_XK: Array) -> Array:
    """Return the entropy in nats of the distribution given by counts (..., K); 0 if all are zero."""
    share = count_XK / np.maximum(count_XK.sum(axis=-1, keepdims=True), 1e-300)
    bits: Array = -(share * np.log(np.where(share > 0, share, 1))).sum(axis=-1)
    return bits


def perplexity(count_XK: Array) -> Array:
    """Return the effective number of codes in use, 1 to K: the exponential of the entropy of counts (..., K)."""
    effective: Array = np.exp(entropy(count_XK))
    return effective


def normalised_mutual_information(joint_XAB: Array) -> Array:
    """Return 2 I(a; b) / (H(a) + H(b)), 0 to 1, of joint counts (..., A, B); NaN if neither a nor b varies."""
    h_a, h_b = entropy(joint_XAB.sum(axis=-1)), entropy(joint_XAB.sum(axis=-2))
    h_ab = entropy(joint_XAB.reshape(*joint_XAB.shape[:-2], -1))
    with np.errstate(invalid="ignore"):
        information: Array = np.where(h_a + h_b > 1e-12, 2 * (h_a + h_b - h_ab) / (h_a + h_b), np.nan)
    return np.clip(information, 0, 1)


def residual_sums(truth_NK: Array, predicted_NK: Array) -> Array:
    """Return the sums that `r2` and `normalised_mse` need: (4, K) count, sum, squares, squared errors."""
    count = np.full(truth_NK.shape[1], float(len(truth_NK)))
    errors = np.square(truth_NK - predicted_NK).sum(axis=0)
    return np.stack((count, truth_NK.sum(axis=0), np.square(truth_NK).sum(axis=0), errors))


def r2(sums_X4K: Array) -> Array:
    """Return the coefficient of determination of each number, (..., 4, K) -> (..., K); NaN if the truth does not vary.

    1 is perfect, 0 is as good as predicting the mean, below 0 is worse.
    """
    errors, spread = sums_X4K[..., 3, :], _spread(sums_X4K)
    with np.errstate(invalid="ignore", divide="ignore"):
        share: Array = np.where(spread > 1e-12 * np.maximum(sums_X4K[..., 2, :], 1e-300), 1 - errors / spread, np.nan)
    return share


def r2_mean(sums_X4K: Array) -> Array:
    """Return the mean of `r2` over the numbers that vary, (..., 4, K) -> (...); NaN if none does."""
    each = r2(sums_X4K)
    varies = np.isfinite(each)
    with np.errstate(invalid="ignore"):
        mean: Array = np.where(varies, each, 0).sum(axis=-1) / varies.sum(axis=-1)
    return mean


def error_over_variance(sums_X4K: Array) -> Array:
    """Return 1 - `r2_mean`: squared error over variance, averaged over numbers that vary: 0 perfect, 1 the mean."""
    error: Array = 1 - r2_mean(sums_X4K)
    return error


def normalised_mse(sums_X4K: Array) -> Array:
    """Return squared error over variance, each summed over K numbers: (..., 4, K) -> (...); 0 perfect, 1 the mean."""
    spread = _spread(sums_X4K).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: Array = np.where(spread > 0, sums_X4K[..., 3, :].sum(axis=-1) / spread, np.nan)
    return ratio


def _spread(sums_X4K: Array) -> Array:
    """Return the sum of squared deviations from the mean."""
    spread: Array = sums_X4K[..., 2, :] - sums_X4K[..., 1, :] ** 2 / np.maximum(sums_X4K[..., 0, :], 1)
    return spread


__all__ = [
    "Array",
    "entropy",
    "error_over_variance",
    "frame_mse",
    "normalised_mse",
    "normalised_mutual_information",
    "perplexity",
    "psnr_db",
    "r2",
    "r2_mean",
    "residual_sums",
    "ssim",
]
