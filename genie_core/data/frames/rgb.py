"""Conversion of FFmpeg's pictures to RGB, the same bit for bit on every machine."""

from __future__ import annotations

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

_SAME_EVERYWHERE = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
"""Without the shortcuts that FFmpeg otherwise takes on some processors."""


class RgbConverter:
    """Converts pictures of one size and kind; keeps FFmpeg's tables from one to the next. One thread at a time."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def rgb(self, picture: VideoFrame) -> NDArray[np.uint8]:
        """Return (H, W, 3) uint8; transparency is dropped."""
        return self._convert(picture, "rgb24")

    def rgba(self, picture: VideoFrame) -> NDArray[np.uint8]:
        """Return (H, W, 4) uint8."""
        return self._convert(picture, "rgba")

    def _convert(self, picture: VideoFrame, pixel_format: str) -> NDArray[np.uint8]:
        converted = self._reformatter.reformat(picture, format=pixel_format, interpolation=_SAME_EVERYWHERE, threads=1)
        return converted.to_ndarray().astype(np.uint8, copy=False)


__all__ = ["RgbConverter"]
