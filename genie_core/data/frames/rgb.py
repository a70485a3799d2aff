"""Conversion of FFmpeg's pictures to RGB, the same bit for bit on every machine."""

from __future__ import annotations

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

_BILINEAR = 0x2
_ACCURATE_ROUNDING = 0x40000
_BIT_EXACT = 0x80000
"""FFmpeg's ``SWS_BILINEAR``, ``SWS_ACCURATE_RND`` and ``SWS_BITEXACT``: PyAV names the last two from 18 on."""

_SAME_EVERYWHERE = _BILINEAR | _ACCURATE_ROUNDING | _BIT_EXACT
"""Without the shortcuts that FFmpeg otherwise takes on some processors."""

# PyAV before 17 always converts in one thread, and has no name for it.
_ONE_THREAD: dict[str, int] = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}


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
        converted = self._reformatter.reformat(
            picture, format=pixel_format, interpolation=_SAME_EVERYWHERE, **_ONE_THREAD
        )
        return converted.to_ndarray().astype(np.uint8, copy=False)


__all__ = ["RgbConverter"]
