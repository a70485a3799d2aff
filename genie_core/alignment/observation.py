"""What the regressor sees of a frame: its thumbnail, on a few axes along which the frames at hand differ most.

A thumbnail is a function of the frame alone, exact on every machine and needs no network, so that it is there wherever
labels are decoded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genie_core.alignment.regressor import Array
from genie_core.data import Frames, resize_frames

SIDE = 8
"""Pixels a side of a thumbnail."""
AXES = 64
"""Most axes that are kept."""
_LEAST_SHARE = 1e-6


@dataclass(frozen=True)
class Observation:
    """Axes found on frames that need no labels (principal components), scaled so that these frames spread by 1 in all.

    Attributes:
        height, width: the model's frame size, to which every frame is brought first.
        mean_F: (192,) the mean thumbnail, values in [0, 1].
        axes_FP: (192, P) from thumbnail to features; P <= `AXES`, 0 where all frames are the same.

    """

    height: int
    width: int
    mean_F: Array
    axes_FP: Array

    @staticmethod
    def find(thumbnail_TF: Array, height: int, width: int) -> Observation:
        """Find the axes on the thumbnails of T >= 1 frames of that size."""
        mean_F = thumbnail_TF.mean(axis=0)
        centred_TF = thumbnail_TF - mean_F
        values, vectors_FF = np.linalg.eigh(centred_TF.T @ centred_TF / len(thumbnail_TF))
        values, vectors_FF = values[::-1][:AXES], vectors_FF[:, ::-1][:, :AXES]
        kept = values > max(_LEAST_SHARE * float(values[0]), 1e-12)
        spread = np.sqrt(values[kept].sum()) if kept.any() else 1.0
        return Observation(height, width, mean_F, vectors_FF[:, kept] / spread)

    def of(self, frames_THWC: Frames) -> Array:
        """Features (T, P) of frames of any size. Raises RequestError where they are not (T, H, W, 3) uint8."""
        return self.project(thumbnails(frames_THWC, self.height, self.width))

    def project(self, thumbnail_TF: Array) -> Array:
        """Features (T, P) of thumbnails."""
        features: Array = (thumbnail_TF - self.mean_F) @ self.axes_FP
        return features


def thumbnails(frames_THWC: Frames, height: int, width: int) -> Array:
    """Thumbnails (T, 192) in [0, 1] of (T, H, W, 3) uint8 frames, by way of the model's own frame size."""
    small = resize_frames(resize_frames(frames_THWC, height, width), SIDE, SIDE)
    thumbnail_TF: Array = small.reshape(len(small), SIDE * SIDE * 3).astype(np.float64) / 255
    return thumbnail_TF


__all__ = ["Observation", "thumbnails"]
