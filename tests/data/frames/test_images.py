import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame

from genie_core.data import decode_image, encode_image, read_image
from genie_core.data.frames import images
from genie_core.errors import DatasetError, RequestError
from tests.factories.data import make_frames


def encode_as(pixel_format: str, array: np.ndarray, array_format: str) -> bytes:
    """A PNG of another kind than ours."""
    context = images._context("png", "w")
    context.height, context.width = array.shape[:2]
    context.pix_fmt, context.time_base = pixel_format, 1
    frame = VideoFrame.from_ndarray(array, format=array_format).reformat(format=pixel_format)
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


FRAME = make_frames(1, 33, 47)[0]


def test_png_is_lossless() -> None:
    np.testing.assert_array_equal(decode_image(encode_image(FRAME, "png")), FRAME)


def test_jpeg_is_close() -> None:
    data = encode_image(FRAME, "jpeg")
    assert data.startswith(b"\xff\xd8\xff")
    assert np.abs(decode_image(data).astype(int) - FRAME).mean() < 3


def test_reads_a_file_as_one_frame(tmp_path: Path) -> None:
    path = tmp_path / "prompt.png"
    path.write_bytes(encode_image(FRAME))
    assert read_image(path).shape == (1, 33, 47, 3)


def test_grey_becomes_rgb() -> None:
    grey = FRAME[..., 0]
    np.testing.assert_array_equal(decode_image(encode_as("gray", grey, "gray")), np.repeat(grey[..., None], 3, axis=-1))


def test_alpha_is_accepted_where_it_is_opaque_and_refused_where_not() -> None:
    rgba = np.dstack([FRAME, np.full(FRAME.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(decode_image(encode_as("rgba", rgba, "rgba")), FRAME)
    rgba[0, 0, 3] = 254
    with pytest.raises(RequestError, match="transparency"):
        decode_image(encode_as("rgba", rgba, "rgba"))


def test_refuses_sixteen_bits() -> None:
    with pytest.raises(RequestError, match="8 bits a channel"):
        decode_image(encode_as("rgb48be", FRAME, "rgb24"))


@pytest.mark.parametrize("data", [b"", b"GIF89a" + bytes(100), b"#EXTM3U\nfile:///etc/passwd\n"])
def test_tries_no_other_format(data: bytes) -> None:
    with pytest.raises(RequestError, match="no PNG or JPEG") as error:
        decode_image(data, "prompt.png")
    assert error.value.field == "prompt.png"


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_refuses_truncated_bytes(image_format: images.ImageFormat) -> None:
    with pytest.raises(RequestError, match="damaged"):
        decode_image(encode_image(FRAME, image_format)[:200])


def test_names_the_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.png: No such file"):
        read_image(tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(DatasetError, match=r"text\.png: .*no PNG or JPEG"):
        read_image(tmp_path / "text.png")


def test_encodes_only_frames() -> None:
    with pytest.raises(RequestError, match="frame: got float64"):
        encode_image(np.zeros((8, 8, 3)))


def exif(orientation: int, order: str = "<") -> bytes:
    """EXIF with a tag before the orientation, as cameras write it."""
    mark = {"<": b"II", ">": b"MM"}[order]
    tags = struct.pack(f"{order}HHII", 0x010F, 2, 4, 0) + struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)
    return mark + struct.pack(f"{order}HI", 42, 8) + struct.pack(f"{order}H", 2) + tags + bytes(4)


def with_exif(image: bytes, tiff: bytes) -> bytes:
    if image.startswith(b"\x89PNG"):
        chunk = b"eXIf" + tiff
        return image[:33] + struct.pack(">I", len(tiff)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + image[33:]
    body = b"Exif\0\0" + tiff
    return image[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + image[2:]


SHOWN = {
    1: lambda frame: frame,
    2: lambda frame: frame[:, ::-1],
    3: lambda frame: np.rot90(frame, 2),
    4: lambda frame: frame[::-1],
    5: lambda frame: frame.swapaxes(0, 1),
    6: lambda frame: np.rot90(frame, -1),
    7: lambda frame: np.rot90(frame, 2).swapaxes(0, 1),
    8: lambda frame: np.rot90(frame, 1),
}


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_images_are_turned_as_their_exif_asks(kind: images.ImageFormat, order: str, orientation: int) -> None:
    plain = encode_image(FRAME, kind)
    turned = decode_image(with_exif(plain, exif(orientation, order)))
    np.testing.assert_array_equal(turned, SHOWN[orientation](decode_image(plain)))
    assert images.image_size(with_exif(plain, exif(orientation, order))) == turned.shape[:2]


@pytest.mark.parametrize(
    "tiff",
    [
        b"",
        b"II",
        exif(9),
        exif(0),
        exif(6)[:20],
        b"XX" + exif(6)[2:],
        b"II*\0\xff\xff\xff\xff",
        exif(6)[:8] + b"\xff\xff",
    ],
)
def test_exif_without_sense_is_passed_over(tiff: bytes) -> None:
    plain = encode_image(FRAME, "jpeg")
    np.testing.assert_array_equal(decode_image(with_exif(plain, tiff)), decode_image(plain))
