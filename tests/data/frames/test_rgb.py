"""Colours of stored video, the same bit for bit with every PyAV that is allowed (see `make check-lower-bounds`).

The clips are three frames of coloured noise each.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import av
import numpy as np
import pytest

from genie_core.data.formats.video.reader import VideoReader
from genie_core.data.frames import rgb
from genie_core.data.frames.rgb import RgbConverter
from genie_core.errors import DatasetError

CLIPS = Path(__file__).with_name("clips")
DIGESTS = {
    "av1.mp4": "7afbb381bf5a5912",
    "h264.mp4": "cbfce68124662cc7",
    "h264_709full.mp4": "af3a62388dfa5341",
    "mjpeg_422.avi": "45a2d4a846d0c52d",
    "mpeg4.mp4": "b851e4afe74a0b10",
    "vp9.mp4": "c761fab5f61da4cb",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_a_stored_clip_has_the_same_colours_everywhere(name: str) -> None:
    frames_THWC = np.concatenate(list(VideoReader(CLIPS / name).chunks(2)))
    assert len(frames_THWC) == 3
    assert hashlib.sha256(frames_THWC.tobytes()).hexdigest()[:16] == DIGESTS[name]


@pytest.mark.parametrize(("kind", "width"), [("yuv420p10le", 16), ("yuv422p", 16), ("yuv420p", 15)])
def test_an_older_pyav_refuses_what_it_would_colour_otherwise(
    monkeypatch: pytest.MonkeyPatch, kind: str, width: int
) -> None:
    monkeypatch.setattr(rgb, "_KNOWS_COLOURS", False)
    with pytest.raises(DatasetError, match="pip install 'av>=17'"):
        RgbConverter().rgb(av.VideoFrame(width, 16, kind))


def test_an_older_pyav_takes_what_has_no_shared_colours() -> None:
    noise_HWC = np.random.default_rng(0).integers(0, 256, (16, 15, 3), np.uint8)
    picture = av.VideoFrame.from_ndarray(noise_HWC, format="rgb24").reformat(format="gbrp")
    np.testing.assert_array_equal(RgbConverter().rgb(picture), noise_HWC)
