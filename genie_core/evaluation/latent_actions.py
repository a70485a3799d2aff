"""Evaluates the latent action model alone: reconstruction, codebook usage, and robustness of labels.

`ground_truth` evaluates whether codes mean motions, `consistency` whether the dynamics model obeys them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genie_core.data import Frames, resize_frames
from genie_core.evaluation.disturbances import DISTURBANCES as NEVER_TRAINED
from genie_core.evaluation.material import Study, read_codes, read_film
from genie_core.evaluation.metrics import Findings, Measured, Missing, Statistic, estimate, mean_of, ratio
from genie_core.models.bundle import Bundle
from genie_core.models.patches import to_pixels
from genie_core.statistics.metrics import Array, entropy, perplexity, psnr_db

BRIGHTNESS = 0.05
"""Added to every colour, of a range of 1."""
NOISE = 0.02
"""Standard deviation of pixel noise, of a range of 1."""
SHIFT = 2
"""Pixels by which the whole image is shifted."""
CROP = 2
"""Pixels cropped from each side before resizing to the old size."""
DISTURBED_EPISODES, DISTURBED_FRAMES, FROZEN_FRAMES = 6, 32, 4
"""Most episodes that are disturbed beyond training, most frames of each, and most that are shown beside themselves."""

Codes = NDArray[np.int64]

Disturbance = Callable[[Frames, np.random.Generator], Frames]
"""Applies the same small change to all frames (T, H, W, 3) of an episode."""


def latent_action_findings(study: Study, rng: np.random.Generator) -> Findings:
    """Return metrics ``lam.*``."""
    bundle, takes = study.bundle, study.takes
    codes = bundle.config.lam.quantizer.codes
    errors = []
    for done, take in enumerate(takes):
        study.progress("latent actions", done, len(takes))
        random_S = rng.integers(codes, size=len(take.code_S))
        every_S = np.arange(len(take.code_S))
        errors.append(prediction_errors(bundle, take.film.frames_THWC, every_S, take.code_S, random_S))
    count_EK = np.stack([np.bincount(t.code_S, minlength=codes).astype(np.float64) for t in takes])
    transitions = int(count_EK.sum())

    def metric(statistic: Statistic) -> Measured:
        return estimate(np.stack(errors), statistic, transitions, rng)

    pixels = bundle.config.lam.source == "pixels"
    return Findings(
        {
            "lam.psnr_db": metric(_psnr_of(0)) if pixels else Missing("this model predicts tokens, not pixels"),
            "lam.psnr_over_copy_db": metric(lambda sums: _psnr_of(0)(sums) - _psnr_of(1)(sums)),
            "lam.psnr_over_random_db": metric(lambda sums: _psnr_of(0)(sums) - _psnr_of(2)(sums)),
            "lam.code_perplexity": estimate(count_EK, perplexity, transitions, rng),
            "lam.temporal_stability": mean_of([t.code_S[1:] == t.code_S[:-1] for t in takes], rng),
            **_robustness(study, rng),
            "lam.code_entropy_bits": estimate(
                count_EK, lambda count_RK: entropy(count_RK) / np.log(2), transitions, rng
            ),
            **_beyond_training(study, rng),
        },
        {"lam.code_share": [estimate(count_EK, _share_of(code), transitions, rng) for code in range(codes)]},
    )


@torch.inference_mode()
def prediction_errors(bundle: Bundle, frames_THWC: Frames, start_S: Codes, code_S: Codes, other_S: Codes) -> Array:
    """Return the sum of squared errors and count of transitions, for their codes, copying, and the other codes, (3, 2).

    Args:
        bundle: whose latent action model predicts.
        frames_THWC: (T, H, W, 3) uint8 at the model's size, a transition apart.
        start_S: (S,) the frame at which each transition starts; S at least 1.
        code_S: (S,) their codes.
        other_S: (S,) codes to compare with.

    """
    lam = bundle.genie.lam
    frames = torch.from_numpy(np.ascontiguousarray(frames_THWC)).to(bundle.device)[None]
    view_1TCHW = bundle.genie.lam_view(to_pixels(frames))
    at_S = torch.from_numpy(start_S).to(bundle.device)
    before_1SCHW, after_1SCHW = view_1TCHW[:, at_S], view_1TCHW[:, at_S + 1]

    def predict(code_S: Codes) -> Tensor:
        predicted = lam.predict(before_1SCHW, lam.quantizer.lookup(torch.from_numpy(code_S).to(bundle.device)[None]))
        return predicted.clamp(-0.5, 0.5) if lam.from_pixels else predicted

    predictions = (predict(code_S), before_1SCHW, predict(other_S))
    means = [float((p - after_1SCHW).double().square().mean()) for p in predictions]
    return np.array([(mean * len(code_S), len(code_S)) for mean in means])


def _psnr_of(row: int) -> Statistic:
    return lambda sums_R32: psnr_db(ratio(sums_R32[:, row]))


def _share_of(code: int) -> Statistic:
    return lambda count_RK: count_RK[:, code] / count_RK.sum(axis=1)


def brighten(frames_THWC: Frames, rng: np.random.Generator) -> Frames:
    """Lighter or darker by `BRIGHTNESS`."""
    return _rounded(frames_THWC + rng.choice((-1, 1)) * BRIGHTNESS * 255)


def add_noise(frames_THWC: Frames, rng: np.random.Generator) -> Frames:
    """Add Gaussian noise of `NOISE`, drawn anew for every pixel of every frame."""
    return _rounded(frames_THWC + rng.normal(0, NOISE * 255, frames_THWC.shape))


def shift(frames_THWC: Frames, rng: np.random.Generator) -> Frames:
    """Shift everything by `SHIFT` pixels up, down, left or right, with repeated edges."""
    axis, amount = int(rng.integers(1, 3)), int(rng.choice((-SHIFT, SHIFT)))
    length = frames_THWC.shape[axis]
    return np.take(frames_THWC, np.clip(np.arange(length) - amount, 0, length - 1), axis=axis)


def crop(frames_THWC: Frames, _rng: np.random.Generator) -> Frames:
    """Crop `CROP` pixels from each side and resize, as another lens or preprocessing step would."""
    inner_THWC = np.ascontiguousarray(frames_THWC[:, CROP:-CROP, CROP:-CROP])
    return resize_frames(inner_THWC, *frames_THWC.shape[1:3])


DISTURBANCES: dict[str, Disturbance] = {"brightness": brighten, "noise": add_noise, "shift": shift, "crop": crop}


def _robustness(study: Study, rng: np.random.Generator) -> dict[str, Measured]:
    """Return the share of labels that a small disturbance of the whole episode leaves unchanged."""
    metrics = {}
    for done, (name, disturb) in enumerate(DISTURBANCES.items()):
        study.progress("labels under disturbances", done, len(DISTURBANCES))
        same = [
            read_film(study.labeller, t.film, partial(_disturbed, disturb, rng))[0] == t.code_S for t in study.takes
        ]
        metrics[f"lam.unchanged_{name}"] = mean_of(same, rng)
    return metrics


def _beyond_training(study: Study, rng: np.random.Generator) -> dict[str, Measured]:
    """Return the share of labels that stay under what no recipe augments with, and labels of frozen frames."""
    labeller, films = study.labeller, [t.film.frames_THWC[:DISTURBED_FRAMES] for t in study.takes[:DISTURBED_EPISODES]]
    plain, metrics = [read_codes(labeller, film) for film in films], {}
    for done, (name, disturb) in enumerate(NEVER_TRAINED.items()):
        study.progress("labels under disturbances beyond training", done, len(NEVER_TRAINED))
        same = [read_codes(labeller, disturb(f, rng))[0] == code_S for f, (code_S, _) in zip(films, plain, strict=True)]
        metrics[f"lam.unchanged_{name}"] = mean_of(same, rng)
    frozen = [
        [read_codes(labeller, np.stack((frame, frame))) for frame in film[:: -(-len(film) // FROZEN_FRAMES)]]
        for film in films
    ]
    usual = float(np.median(np.concatenate([np.linalg.norm(latent_SD, axis=1) for _, latent_SD in plain])))
    still = np.bincount([int(code[0]) for of_film in frozen for code, _ in of_film]).argmax()
    metrics["lam.frozen_still_share"] = mean_of(
        [np.array([code[0] == still for code, _ in of_film]) for of_film in frozen], rng
    )
    metrics["lam.frozen_length"] = mean_of(
        [np.array([np.linalg.norm(latent) / max(usual, 1e-12) for _, latent in of_film]) for of_film in frozen], rng
    )
    return metrics


def _disturbed(disturb: Disturbance, rng: np.random.Generator, frames_THWC: Frames) -> Frames:
    return disturb(frames_THWC, rng)


def _rounded(values: Array) -> Frames:
    return values.round().clip(0, 255).astype(np.uint8)


__all__ = [
    "DISTURBANCES",
    "Disturbance",
    "add_noise",
    "brighten",
    "crop",
    "latent_action_findings",
    "prediction_errors",
    "shift",
]
