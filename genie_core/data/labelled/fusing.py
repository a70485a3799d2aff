"""Labels of several cameras' views of the same moments, fused: one label a transition, and each view's kept beside it.

The fused latent is the mean of the views' latents; its code is the nearest, by the rule of the model's own quantizer.
Computed in double precision without a model, so it is the same wherever it is computed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from genie_core.data.labelled.labels import Labels
from genie_core.data.labelled.provenance import LabelModel

_AT_A_TIME = 256


def fuse(views: Mapping[str, Labels], model: LabelModel, radius: float | None) -> Labels:
    """Fuse the labels of a whole episode.

    A transition is valid where it is in every view; the first view that left it out says why.

    Args:
        views: labels of the same frames by camera, at least two, without decoded actions.
        model: the model that made all of them.
        radius: see `nearest`.

    Returns:
        Labels of all frames, with `Labels.views`.

    Raises:
        ValueError: the views have different numbers of frames, or actions.

    """
    parts = list(views.values())
    if len(parts) < 2 or len({len(part) for part in parts}) != 1 or any(part.action is not None for part in parts):
        raise ValueError(f"views: got {[len(part) for part in parts]} labels, expected as many of two or more cameras")
    valid = np.logical_and.reduce([part.valid for part in parts])
    latent = _mean([part.latent for part in parts])
    if radius is None:
        latent /= np.maximum(np.linalg.norm(latent, axis=1, keepdims=True), 1e-12)
    latent_TD = np.where(valid[:, None], latent, 0).astype(np.float32)
    code, confidence = nearest(latent_TD, model.codebook, radius)
    fine = None if model.fine_codebook is None else nearest(latent_TD, model.fine_codebook, radius)[0]
    features = [part.feature for part in parts if part.feature is not None]
    return Labels(
        parts[0].start,
        np.where(valid, code, 0).astype(np.uint16),
        latent_TD,
        np.where(valid, confidence, 0).astype(np.float32),
        valid,
        reason=_reasons(parts, valid),
        fine_code=None if fine is None else np.where(valid, fine, 0).astype(np.uint16),
        feature=np.where(valid[:, None], _mean(features), 0).astype(np.float32) if features else None,
        views=dict(views),
    )


def nearest(
    latent_TD: NDArray[np.float32], codebook_KD: NDArray[np.float32], radius: float | None
) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """Return the nearest code of each latent, (T,), and the confidence, (T,), as the model's quantizer defines them.

    Args:
        latent_TD: latents.
        codebook_KD: at least two codes.
        radius: of the ball in which distances are taken, r: between x / sqrt(1 + |x|^2 / r^2), near zero those of
            latents themselves, far out those of their directions. None: the latents have unit length.

    """
    short_KD = _shortened(codebook_KD.astype(np.float64), radius)
    codes, margins = [np.zeros(0, np.uint16)], [np.zeros(0, np.float32)]
    for start in range(0, len(latent_TD), _AT_A_TIME):
        short_TD = _shortened(latent_TD[start : start + _AT_A_TIME].astype(np.float64), radius)
        distance_TK = np.sqrt(np.square(short_TD[:, None] - short_KD).sum(axis=-1))
        nearest_T2 = np.sort(distance_TK, axis=1)[:, :2]
        codes.append(distance_TK.argmin(axis=1).astype(np.uint16))
        margin_T = (nearest_T2[:, 1] - nearest_T2[:, 0]) / np.maximum(nearest_T2.sum(axis=1), 1e-12)
        margins.append(margin_T.astype(np.float32))
    return np.concatenate(codes), np.concatenate(margins)


def _shortened(latent: NDArray[np.float64], radius: float | None) -> NDArray[np.float64]:
    if radius is None:
        return latent
    short: NDArray[np.float64] = latent / np.sqrt(1 + np.square(latent).sum(axis=-1, keepdims=True) / radius**2)
    return short


def _mean(arrays: list[NDArray[np.float32]]) -> NDArray[np.float64]:
    total = np.zeros(arrays[0].shape)
    for array in arrays:  # in the cameras' order: sums of numbers are not the same in every order
        total += array
    return total / len(arrays)


def _reasons(parts: list[Labels], valid: NDArray[np.bool_]) -> NDArray[np.uint8] | None:
    reason = np.zeros(len(valid), np.uint8)
    for part in parts:
        if part.reason is not None:
            reason = np.where(reason == 0, part.reason, reason)
    reason = np.where(valid, 0, reason).astype(np.uint8)
    return reason if reason.any() else None


__all__ = ["fuse", "nearest"]
