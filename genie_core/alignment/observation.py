"""Observation of the regressor: PCA of a frame's thumbnail.

A thumbnail depends only on the frame, is exact on every machine and needs no network, so that it is available wherever
labels are decoded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genie_core.alignment.regressor import Array
from genie_core.data import Frames, resize_frames

SIDE = 8
"""Side of a thumbnail in pixels."""
AXES = 64
"""Largest number of principal components kept."""
_LEAST_SHARE = 1e-6


@dataclass(frozen=True)
class Observation:
    """PCA of thumbnails, fitted on frames that need no labels; scaled so that the total variance of these frames is 1.

    Attributes:
        height, width: the model's frame size, to which every frame is resized first.
        mean_F: (192,) the mean thumbnail, values in [0, 1].
        axes_FP: (192, P) from thumbnail to features; P <= `AXES`, 0 if all frames are the same.

    """

    height: int
    width: int
    mean_F: Array
    axes_FP: Array

    @staticmethod
    def find(thumbnail_TF: Array, height: int, width: int) -> Observation:
        """Fit the PCA on the thumbnails of T >= 1 frames of that size."""
        mean_F = thumbnail_TF.mean(axis=0)
        centred_TF = thumbnail_TF - mean_F
        values, vectors_FF = np.linalg.eigh(centred_TF.T @ centred_TF / len(thumbnail_TF))
        values, vectors_FF = values[::-1][:AXES], vectors_FF[:, ::-1][:, :AXES]
        kept = values > max(_LEAST_SHARE * float(values[0]), 1e-12)
        spread = np.sqrt(values[kept].sum()) if kept.any() else 1.0
        return Observation(height, width, mean_F, vectors_FF[:, kept] / spread)

    def of(self, frames_THWC: Frames) -> Array:
        """Return features (T, P) of frames of any size. Raises RequestError unless they are (T, H, W, 3) uint8."""
        return self.project(thumbnails(frames_THWC, self.height, self.width))

    def project(self, thumbnail_TF: Array) -> Array:
        """Return features (T, P) of thumbnails."""
        features: Array = (thumbnail_TF - self.mean_F) @ self.axes_FP
        return features


def thumbnails(frames_THWC: Frames, height: int, width: int) -> Array:
    """Return thumbnails (T, 192) in [0, 1] of (T, H, W, 3) uint8 frames, resized to the model's frame size first."""
    small = resize_frames(resize_frames(frames_THWC, height, width), SIDE, SIDE)
    thumbnail_TF: Array = small.reshape(len(small), SIDE * SIDE * 3).astype(np.float64) / 255
    return thumbnail_TF


__all__ = ["Observation", "thumbnails"]
