"""Frames messages: what is taken arrives exactly; what is wrong is refused with the field's whole path."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from genie_api.v1 import frames_pb2
from genie_core.data.frames.images import encode_image
from genie_core.data.frames.resize import resize_frames
from genie_core.errors import RequestError
from genie_service import frames as frames_module
from genie_service.frames import FrameLimits, decode_frames, encode_frames
from tests.support.service_messages import Episode, raw, video

LIMITS = FrameLimits(min_side=8, max_side=64, max_frames=16, max_decoded_bytes=100_000)


def _images(count: int = 2, encoding: int = frames_pb2.FRAME_ENCODING_PNG, **changes: Any) -> frames_pb2.Frames:
    image_format = "png" if encoding == frames_pb2.FRAME_ENCODING_PNG else "jpeg"
    images = [encode_image(frame, image_format) for frame in video(count)]
    fields = {"raw": b"", "encoding": encoding, "data_type": frames_pb2.DATA_TYPE_UNSPECIFIED, "images": images}
    return raw(video(count), **{**fields, **changes})


def _decoded(message: frames_pb2.Frames, field: str = "frames", size: tuple[int, int] = (40, 48)) -> Episode:
    return asyncio.run(decode_frames(message, field, LIMITS, size, asyncio.to_thread))


def _grey_alpha_png() -> bytes:
    """An 8 x 8 PNG, half transparent."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([200, 100, 50, 128]) * 8 for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_raw_and_png_frames_arrive_as_they_were_sent() -> None:
    for message in (raw(video(2)), _images(2)):
        np.testing.assert_array_equal(_decoded(message), video(2))


@pytest.mark.parametrize("make", [lambda: raw(video(5)), lambda: _images(5)])
def test_frames_are_resized_a_few_at_a_time_as_if_all_at_once(
    make: Callable[[], frames_pb2.Frames], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames_module, "_AT_ONCE_BYTES", 2 * 40 * 48 * 3)
    np.testing.assert_array_equal(_decoded(make(), size=(16, 20)), resize_frames(video(5), 16, 20))


def test_jpeg_frames_arrive_nearly_so() -> None:
    smooth = np.broadcast_to(np.linspace(0, 255, 48, dtype=np.uint8)[None, None, :, None], (1, 40, 48, 3))
    image = encode_image(smooth[0], "jpeg")
    message = raw(smooth, raw=b"", encoding=frames_pb2.FRAME_ENCODING_JPEG, images=[image])
    came = _decoded(message)
    assert np.abs(came.astype(int) - smooth).mean() < 3


@pytest.mark.parametrize("encoding", [frames_pb2.FRAME_ENCODING_RAW, frames_pb2.FRAME_ENCODING_PNG])
def test_frames_go_out_and_come_back(encoding: frames_pb2.FrameEncoding.ValueType) -> None:
    async def main() -> None:
        message = await encode_frames(video(3), encoding, asyncio.to_thread)
        assert message.encoding == encoding
        np.testing.assert_array_equal(
            await decode_frames(message, "frames", LIMITS, (40, 48), asyncio.to_thread), video(3)
        )

    asyncio.run(main())


@pytest.mark.parametrize(
    ("message", "field", "words"),
    [
        (frames_pb2.Frames(), "encoding", ["FRAME_ENCODING_UNSPECIFIED", "_RAW"]),
        (raw(video(2), encoding=77), "encoding", ["77"]),
        (raw(video(2), channels=1), "channels", ["got 1", "expected 3"]),
        (raw(video(2), channels=4), "channels", ["got 4"]),
        (raw(video(2), count=0), "count", ["got 0", "1 to 16"]),
        (raw(video(2), count=17), "count", ["got 17"]),
        (raw(video(2), height=7), "height", ["got 7", "8 to 64"]),
        (raw(video(2), width=65), "width", ["got 65"]),
        (raw(video(16, 64, 64)), "count", ["16 frames of 64 x 64", "MiB"]),
        (raw(video(2), data_type=0), "data_type", ["DATA_TYPE_UNSPECIFIED", "DATA_TYPE_UINT8"]),
        (raw(video(2), data_type=9), "data_type", ["9"]),
        (raw(video(2), count=3), "raw", ["11520 bytes", "17280 = 3 x 40 x 48 x 3"]),
        (raw(video(2), raw=b""), "raw", ["0 bytes"]),
        (raw(video(2), images=[b"x"]), "images", ["got 1", "expected none"]),
        (_images(raw=b"x"), "raw", ["expected none"]),
        (_images(count=2, images=[b"x"]), "images", ["got 1", "expected 2"]),
        (_images(images=[encode_image(video(1)[0]), b"GIF89a"]), "images[1]", ["no PNG"]),
        (
            _images(encoding=frames_pb2.FRAME_ENCODING_JPEG, images=[encode_image(video(1)[0])] * 2),
            "images[0]",
            ["JPEG"],
        ),
        (_images(images=[encode_image(video(1)[0])[:200]] * 2), "images[0]", []),
        (
            _images(images=[encode_image(video(1)[0]), encode_image(video(1, 8, 8)[0])]),
            "images[1]",
            ["8 x 8", "40 x 48"],
        ),
        (_images(count=1, height=8, width=8, images=[_grey_alpha_png()]), "images[0]", ["transparency"]),
    ],
)
def test_a_wrong_message_is_refused_by_field(message: frames_pb2.Frames, field: str, words: list[str]) -> None:
    with pytest.raises(RequestError) as caught:
        _decoded(message, "start.prompt")
    assert caught.value.field == f"start.prompt.{field}"
    for word in words:
        assert word in str(caught.value)
