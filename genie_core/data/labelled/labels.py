"""Labels in memory: arrays of the latent actions of consecutive frames. For storage, see the rest of the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from genie_core.errors import RequestError

Density = Literal["dense", "strided"]
"""``dense``: every frame t that has a frame t + step. ``strided``: every step-th frame only."""


@dataclass(frozen=True)
class Labels:
    """Latent actions of the consecutive frames start .. start + T - 1; the label at t describes x_t -> x_{t+step}.

    Where `valid` is False (the last `step` frames of an episode; with ``strided`` also those in between; transitions
    left out, as `reason` says) the other arrays are zero: a transition that does not exist gets no label.

    Attributes:
        start: index in the episode of the first frame described.
        code: (T,) uint16, index into the codebook.
        latent: (T, D) float32, the encoder's vector before quantization.
        confidence: (T,) float32 in [0, 1]: (d2 - d1) / (d2 + d1) of the distances to the nearest two codes.
        valid: (T,) bool.
        action: (T, A) float32, the robot's action over each transition; None unless an alignment has decoded it.
        reason: (T,) uint8, why a transition that there is got no label; 0: it did, or there is none. None: none was
            left out. See `genie_core.data.labelled.exclusion`.
        fine_code: (T,) uint16, index into the codebook of the second level; None of a model that has none.
        feature: (T, F) float32, the wide vector that each latent is made of; None unless it was asked for.
        views: labels of the same frames by camera, of which these are fused; None: they are of one camera.

    """

    start: int
    code: NDArray[np.uint16]
    latent: NDArray[np.float32]
    confidence: NDArray[np.float32]
    valid: NDArray[np.bool_]
    action: NDArray[np.float32] | None = field(default=None, kw_only=True)
    reason: NDArray[np.uint8] | None = field(default=None, kw_only=True)
    fine_code: NDArray[np.uint16] | None = field(default=None, kw_only=True)
    feature: NDArray[np.float32] | None = field(default=None, kw_only=True)
    views: Mapping[str, Labels] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        n = len(self.code)
        shapes = (self.latent.ndim, len(self.latent), len(self.confidence), len(self.valid))
        if shapes != (2, n, n, n):
            raise ValueError(
                f"labels disagree: code {self.code.shape}, latent {self.latent.shape}, "
                f"confidence {self.confidence.shape}, valid {self.valid.shape}"
            )
        for name, ndim in _OPTIONAL.items():
            array = getattr(self, name)
            if array is not None and (array.ndim, len(array)) != (ndim, n):
                raise ValueError(f"labels disagree: code {self.code.shape}, {name} {array.shape}")

    def __len__(self) -> int:
        return len(self.code)

    @staticmethod
    def invalid(
        start: int, count: int, latent_dim: int, *, fine: bool = False, feature_dim: int | None = None
    ) -> Labels:
        """Return `count` labels for frames without a transition, with fine codes and features as asked."""
        return Labels(
            start,
            np.zeros(count, np.uint16),
            np.zeros((count, latent_dim), np.float32),
            np.zeros(count, np.float32),
            np.zeros(count, np.bool_),
            fine_code=np.zeros(count, np.uint16) if fine else None,
            feature=None if feature_dim is None else np.zeros((count, feature_dim), np.float32),
        )

    def part(self, start: int, stop: int) -> Labels:
        """Return the labels of rows start .. stop - 1, those of frames from `self.start` + `start` on."""
        rows = slice(start, stop)
        optional = {name: getattr(self, name) for name in _OPTIONAL}
        return Labels(
            self.start + start,
            self.code[rows],
            self.latent[rows],
            self.confidence[rows],
            self.valid[rows],
            **{name: None if array is None else array[rows] for name, array in optional.items()},
            views=self.views and {camera: view.part(start, stop) for camera, view in self.views.items()},
        )

    @staticmethod
    def concatenate(parts: list[Labels]) -> Labels:
        """Join consecutive parts (at least one).

        Raises ValueError if one does not start where the previous one ends, or only some have actions, fine codes or
        features.
        """
        for before, after in pairwise(parts):
            if after.start != before.start + len(before):
                raise ValueError(f"labels start at {after.start}, expected {before.start + len(before)}")
        reasons = [np.zeros(len(p), np.uint8) if p.reason is None else p.reason for p in parts]
        return Labels(
            parts[0].start,
            np.concatenate([p.code for p in parts]),
            np.concatenate([p.latent for p in parts]),
            np.concatenate([p.confidence for p in parts]),
            np.concatenate([p.valid for p in parts]),
            reason=np.concatenate(reasons) if any(p.reason is not None for p in parts) else None,
            **{name: _joined(name, parts) for name in _OPTIONAL if name != "reason"},
            views=_joined_views(parts),
        )


_OPTIONAL = {"action": 2, "reason": 1, "fine_code": 1, "feature": 2}
"""Arrays that not all labels have, and their dimensions."""


def _joined(name: str, parts: list[Labels]) -> Any:
    arrays = [array for array in (getattr(p, name) for p in parts) if array is not None]
    if arrays and len(arrays) != len(parts):
        raise ValueError(f"{len(arrays)} of {len(parts)} parts have {name}, expected all or none")
    return np.concatenate(arrays) if arrays else None


def _joined_views(parts: list[Labels]) -> Mapping[str, Labels] | None:
    views = [part.views for part in parts if part.views is not None]
    if not views:
        return None
    return {camera: Labels.concatenate([of[camera] for of in views]) for camera in views[0]}


def check_code(code: int, num_codes: int, field: str) -> None:
    """Raise RequestError about `field` unless `code` is one of `num_codes` latent actions."""
    if not 0 <= code < num_codes:
        raise RequestError(field, f"latent action {code} is out of range, expected 0 to {num_codes - 1}")


__all__ = ["Density", "Labels", "check_code"]
