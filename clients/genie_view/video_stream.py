"""Codes the frames of an episode as H.264 or AV1, a sample a frame, while the frames after them are read."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from itertools import chain, islice
from typing import Literal, TypeVar

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from genie_core.data import Episode, Frames
from genie_core.data.frames.images import shown_picture
from genie_core.data.frames.rgb import Shown
from genie_core.errors import DatasetError, GenieError, RequestError

Codec = Literal["h264", "av1"]

_A = TypeVar("_A")
_B = TypeVar("_B")

_THREADS = min(4, os.cpu_count() or 1)
_CHUNK_BYTES = 8 * 2**20
"""Pictures that a thread decodes at a time, as arrays."""
_KEY_FRAME_EVERY = 48
_USUAL_FPS = 30.0
"""Of an episode that does not say its rate."""
_AV1_CRF, _H264_CRF = 45, 26
"""Quality of the stream: 1 to 3 KB a frame of 480 x 640."""
_MOST_KBPS = 600
"""Most bits of the stream, in 1,000 a second: 45 MB in ten minutes."""
_WORST_CRF, _PIECE = 63, 5 * _KEY_FRAME_EVERY
"""Quality of AV1 where a stream would be larger, which is found anew for so many frames."""
_YUV = "yuv420p"


def encoded(episode: Episode, codec: Codec) -> Iterator[bytes]:
    """Yield a sample a frame, in order of presentation: no frame waits for a later one.

    Raises DatasetError if frames cannot be read, GenieError if this build of PyAV cannot write `codec`.
    """
    rate = Fraction(episode.fps or _USUAL_FPS).limit_denominator(1001)
    height, width = episode.height - episode.height % 2, episode.width - episode.width % 2
    pictures = chain.from_iterable(_pictures(episode, height, width))
    if codec == "h264":
        yield from _coded(pictures, _h264_encoder(), (height, width), rate)
        return
    crf = _AV1_CRF
    for first in pictures:  # encoders one after another: one alone cannot be bounded without waiting for later frames
        sizes = []
        piece = chain([first], islice(pictures, _PIECE - 1))
        for sample in _coded(piece, _av1_encoder(crf), (height, width), rate):
            sizes.append(len(sample))
            yield sample
        crf = _next_crf(crf, float(8 * sum(sizes) / len(sizes) * rate) / 1000)


def _coded(
    pictures: Iterable[VideoFrame], encoder: VideoCodecContext, size: tuple[int, int], rate: Fraction
) -> Iterator[bytes]:
    encoder.height, encoder.width = size
    encoder.pix_fmt, encoder.framerate, encoder.time_base = _YUV, rate, 1 / rate
    for number, picture in enumerate(pictures):
        picture.pts, picture.time_base = number, encoder.time_base
        yield from map(bytes, encoder.encode(picture))
    yield from map(bytes, encoder.encode(None))


def _next_crf(crf: int, kbps: float) -> int:
    """Return the quality of the next piece, by the rate of this one: six steps halve it."""
    if kbps > _MOST_KBPS:
        return min(_WORST_CRF, crf + 3 * round(1 + kbps / _MOST_KBPS))
    return max(_AV1_CRF, crf - 6) if kbps < _MOST_KBPS / 3 else crf


def ahead(function: Callable[[_A], _B], items: Iterable[_A]) -> Iterator[_B]:
    """Yield the function's results in order; some are computed in threads while those before them are used."""
    with ThreadPoolExecutor(_THREADS) as pool:
        coming: deque[Future[_B]] = deque()
        for item in items:
            coming.append(pool.submit(function, item))
            if len(coming) > _THREADS:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def _pictures(episode: Episode, height: int, width: int) -> Iterator[list[VideoFrame]]:
    """Yield all frames in `_YUV`, some at a time, cut to an even size."""
    stored = episode.pictures() if (height, width) == (episode.height, episode.width) else None
    if stored is None:
        yield from ahead(lambda chunk: _converted(chunk[:, :height, :width]), episode.chunks())
        return

    def decoded(batch: tuple[int, list[bytes]]) -> list[VideoFrame]:
        return _decoded(episode, *batch)

    rows = max(1, _CHUNK_BYTES // (height * width * 3))
    batches = iter(lambda: list(islice(stored, rows)), [])
    yield from ahead(decoded, ((number * rows, batch) for number, batch in enumerate(batches)))


def _converted(frames_THWC: Frames) -> list[VideoFrame]:
    converter = Shown(_YUV)
    return [converter.frame(frame_HWC) for frame_HWC in frames_THWC]


def _decoded(episode: Episode, first: int, stored: list[bytes]) -> list[VideoFrame]:
    converter, size, found = Shown(_YUV, episode.convention.colour), (episode.height, episode.width), []
    for number, data in enumerate(stored, first):
        where = f"{episode.source}: {episode.name}: frame {number}"
        try:
            picture = shown_picture(data, converter)
        except RequestError as error:
            raise DatasetError(f"{where}: {error}") from error
        if (picture.height, picture.width) != size:
            raise DatasetError(
                f"{where} is of {(picture.height, picture.width)} pixels, expected {size} like the first"
            )
        found.append(picture)
    return found


def _h264_encoder() -> VideoCodecContext:
    """An encoder whose key frames can be decoded by themselves: with their headers, as Rerun wants (Annex B)."""
    encoder = _encoder("libx264", "H.264")
    encoder.gop_size = _KEY_FRAME_EVERY
    encoder.thread_count = 1  # another reads; two a picture are no faster, and their bits would depend on the machine
    bound = {"maxrate": f"{_MOST_KBPS}k", "bufsize": f"{_MOST_KBPS}k"}
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": str(_H264_CRF), "bf": "0", **bound}
    return encoder


def _av1_encoder(crf: int) -> VideoCodecContext:
    os.environ.setdefault("SVT_LOG", "1")  # errors alone: it would describe its settings on the terminal
    encoder = _encoder("libsvtav1", "AV1")
    # With one core's worth of threads (lp) it takes half the computing that it takes with two, and no more time.
    settings = f"keyint={_KEY_FRAME_EVERY}:pred-struct=1:lookahead=0:lp=1"
    encoder.options = {"preset": "12", "crf": str(crf), "svtav1-params": settings}
    return encoder


def _encoder(name: str, codec: str) -> VideoCodecContext:
    try:
        encoder = av.CodecContext.create(name, "w")
    except (av.codec.codec.UnknownCodecError, ValueError) as error:
        raise GenieError(f"av: this build cannot write {codec}, expected one with {name} ({error})") from error
    assert isinstance(encoder, VideoCodecContext)
    return encoder


__all__ = ["Codec", "ahead", "encoded"]
