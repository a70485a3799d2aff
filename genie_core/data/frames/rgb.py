"""Converts FFmpeg's pictures to RGB, the same bit for bit on every machine and with every PyAV from 15 on."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from genie_core.data.frames.convention import Colour
from genie_core.errors import DatasetError

_FAST_BILINEAR = 0x1
_BILINEAR = 0x2
_ACCURATE_ROUNDING = 0x40000
_BIT_EXACT = 0x80000
"""FFmpeg's ``SWS_FAST_BILINEAR``, ``SWS_BILINEAR``, ``SWS_ACCURATE_RND`` and ``SWS_BITEXACT``.

PyAV names the last two from 18 on.
"""

_SAME_EVERYWHERE = _BILINEAR | _ACCURATE_ROUNDING | _BIT_EXACT
"""Without the shortcuts that FFmpeg otherwise takes on some processors."""

# From 17 on PyAV tells FFmpeg where a picture's colour samples lie and how they were made. Before, it does not, and
# always converts in one thread.
_KNOWS_COLOURS = int(av.__version__.split(".")[0]) >= 17

_OF_VIDEO = 1
"""FFmpeg's ``AVCOL_RANGE_MPEG``."""
_UNSPECIFIED = 2
"""FFmpeg's ``AVCOL_SPC_UNSPECIFIED``."""


COLOURS_AT_THE_LEFT = frozenset({"h264", "hevc", "mpeg2video", "mpeg4"})
"""Codecs that have the colour of four pixels between the left two, where a stream does not say otherwise."""


class RgbConverter:
    """Converts pictures of one size and kind; keeps FFmpeg's tables from one to the next. One thread at a time.

    Args:
        centred: whether a colour that pixels share lies in their middle, as in JPEG; else it lies at the left, see
            `COLOURS_AT_THE_LEFT`. Only an older PyAV needs this.

    """

    def __init__(self, *, centred: bool = False) -> None:
        self._centred = centred
        self._reformatter = VideoReformatter()
        self._siting: _Siting | None = None

    def rgb(self, picture: VideoFrame) -> NDArray[np.uint8]:
        """Return (H, W, 3) uint8; transparency is dropped."""
        return self._convert(picture, "rgb24")

    def rgba(self, picture: VideoFrame) -> NDArray[np.uint8]:
        """Return (H, W, 4) uint8."""
        return self._convert(picture, "rgba")

    def _convert(self, picture: VideoFrame, pixel_format: str) -> NDArray[np.uint8]:
        if _KNOWS_COLOURS:
            converted = self._reformatter.reformat(
                picture, format=pixel_format, interpolation=_SAME_EVERYWHERE, threads=1
            )
        else:
            converted = self._reformatter.reformat(
                self._with_sites(picture),
                format=pixel_format,
                interpolation=_SAME_EVERYWHERE,
                src_colorspace=picture.colorspace,
                src_color_range=picture.color_range,
                dst_colorspace=_UNSPECIFIED,
            )
        return converted.to_ndarray().astype(np.uint8, copy=False)

    def _with_sites(self, picture: VideoFrame) -> VideoFrame:
        """`picture` for an older PyAV to convert. Raises DatasetError where a newer one would give other bits."""
        kind = picture.format.name
        if not kind.startswith("yuv"):
            return picture
        if not self._is_exact(kind, picture.width):
            raise DatasetError(
                f"pictures of kind {kind}, {picture.width} pixels wide: PyAV {av.__version__} would give other colours "
                "than newer ones, and labels would differ: pip install 'av>=17'"
            )
        if "420" not in kind:
            return picture
        if self._siting is None or not self._siting.fits(picture):
            self._siting = _Siting(picture, self._centred)
        return self._siting.spread(picture)

    def _is_exact(self, kind: str, width: int) -> bool:
        """Return whether pictures of that kind come out of an older PyAV to the bit; tried with every one allowed."""
        if kind in ("yuv444p", "yuvj444p"):
            return True
        shared = ("yuv420p", "yuvj420p", *(("yuv422p", "yuvj422p") if self._centred else ()))
        return kind in shared and width % 2 == 0


def picture_of(frame_HWC: NDArray[np.uint8], pixel_format: str) -> VideoFrame:
    """Return one frame, (H, W, 3) uint8, as a picture to encode.

    As when reading, without FFmpeg's shortcuts, which depend on the processor and on where in memory a frame lies, and
    in one thread: several are slower for frames of this size.
    """
    picture = VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="rgb24")
    if pixel_format == "rgb24":
        return picture
    if _KNOWS_COLOURS:
        return picture.reformat(format=pixel_format, interpolation=_SAME_EVERYWHERE, threads=1)
    return picture.reformat(format=pixel_format, interpolation=_SAME_EVERYWHERE)


class Shown:
    """Converts pictures of one size and kind for viewers: quicker, with FFmpeg's shortcuts. One thread at a time.

    Args:
        pixel_format: what to convert to.
        colour: order of the channels as they are stored; of ``bgr``, red and blue are exchanged.

    """

    def __init__(self, pixel_format: str, colour: Colour = "rgb") -> None:
        self._pixel_format = pixel_format
        self._swapped = colour == "bgr"
        self._reformatter, self._swapper = VideoReformatter(), VideoReformatter()

    def picture(self, picture: VideoFrame) -> VideoFrame:
        """Return a decoded picture, converted."""
        if self._swapped:
            picture = VideoFrame.from_ndarray(_quickly(self._swapper, picture, "bgr24").to_ndarray(), format="rgb24")
        return _quickly(self._reformatter, picture, self._pixel_format)

    def frame(self, frame_HWC: NDArray[np.uint8]) -> VideoFrame:
        """Return one frame, (H, W, 3) uint8, converted."""
        stored = VideoFrame.from_ndarray(np.ascontiguousarray(frame_HWC), format="bgr24" if self._swapped else "rgb24")
        return _quickly(self._reformatter, stored, self._pixel_format)


def _quickly(reformatter: VideoReformatter, picture: VideoFrame, pixel_format: str) -> VideoFrame:
    """Convert; a JPEG's colours, which use the whole range, to that of video, which is what viewers expect."""
    ranged = _OF_VIDEO if pixel_format.startswith("yuv") else None
    if _KNOWS_COLOURS:
        return reformatter.reformat(
            picture, format=pixel_format, interpolation=_FAST_BILINEAR, dst_color_range=ranged, threads=1
        )
    return reformatter.reformat(picture, format=pixel_format, interpolation=_FAST_BILINEAR, dst_color_range=ranged)


class _Siting:
    """Gives every row of a picture colours of its own, from where they lie: what an older PyAV leaves out."""

    def __init__(self, like: VideoFrame, centred: bool) -> None:
        self._like = _kind(like)
        self._graph = Graph()
        self._source = self._graph.add_buffer(
            width=like.width, height=like.height, format=like.format, time_base=like.time_base or Fraction(1)
        )
        site = "" if centred else ":in_h_chr_pos=0:in_v_chr_pos=128"
        rows = like.format.name.replace("420", "422")
        self._sink: FilterContext = self._source
        for name, arguments in (
            ("scale", f"flags=bilinear+accurate_rnd+bitexact{site}"),
            ("format", f"pix_fmts={rows}"),
            ("buffersink", None),
        ):
            following = self._graph.add(name, arguments)
            self._sink.link_to(following)
            self._sink = following
        self._graph.configure()

    def fits(self, picture: VideoFrame) -> bool:
        return _kind(picture) == self._like

    def spread(self, picture: VideoFrame) -> VideoFrame:
        self._source.push(picture)
        spread = self._sink.pull()
        assert isinstance(spread, VideoFrame)
        return spread


def _kind(picture: VideoFrame) -> tuple[object, ...]:
    return picture.width, picture.height, picture.format.name, picture.colorspace, picture.color_range


__all__ = ["COLOURS_AT_THE_LEFT", "RgbConverter", "Shown", "picture_of"]
