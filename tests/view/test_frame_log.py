"""Frames in recordings: as they are stored where a viewer shows them so, else coded, and no larger than a film."""

from __future__ import annotations

from itertools import chain, islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

pytest.importorskip("rerun", reason="looking at recordings is an extra")

from genie_core.data import Episode, decode_image, encode_image, open_dataset
from genie_core.errors import DatasetError
from genie_view import frame_log, video_stream
from genie_view.clock import Clock
from genie_view.frame_log import ANY_VIEWER, Codecs, log_episode
from genie_view.recording import stream_to
from genie_view.video_stream import ahead, encoded
from tests.factories.data import make_aloha, make_frames
from tests.support.recordings import column

pytestmark = pytest.mark.usefixtures("strict")


def logged(path: Path, episode: Episode, codecs: Codecs = ANY_VIEWER) -> Path:
    with stream_to(path, "test", None, None) as recording:
        log_episode(recording, "camera", episode, Clock(10.0), codecs)
    return path


def picture_folder(path: Path, pictures: list[bytes]) -> Episode:
    path.mkdir()
    for number, data in enumerate(pictures):
        (path / f"{number:03}.jpg").write_bytes(data)
    (episode,) = open_dataset(path).episodes
    return episode


def turned(jpeg: bytes) -> bytes:
    """The same file with an EXIF that says: turn by 180 degrees."""
    exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0"
    return jpeg[:2] + b"\xff\xe1" + (2 + len(exif)).to_bytes(2, "big") + exif + jpeg[2:]


def test_pictures_are_shown_as_they_are_stored(tmp_path: Path) -> None:
    stored = [encode_image(frame, "jpeg") for frame in make_frames(70, 24, 32)]
    path = logged(tmp_path / "x.rrd", picture_folder(tmp_path / "p", stored))
    shown = column(path, "/camera", "EncodedImage:blob")
    assert [bytes(shown[at][0]) for at in range(70)] == stored
    assert column(path, "/camera", "EncodedImage:media_type")[69] == ["image/jpeg"]


def test_a_picture_that_lies_on_its_head_is_turned(tmp_path: Path) -> None:
    frame = make_frames(1, 24, 32)[0]
    stored = [encode_image(frame, "jpeg")] * 3
    episode = picture_folder(tmp_path / "p", [*stored, turned(stored[0])])
    shown = column(logged(tmp_path / "x.rrd", episode), "/camera", "EncodedImage:blob")
    last = decode_image(bytes(shown[3][0]))
    assert np.abs(last.astype(int) - frame[::-1, ::-1]).mean() < 6
    assert b"Exif" not in bytes(shown[3][0])


def test_a_picture_of_another_size_is_named(tmp_path: Path) -> None:
    stored = [encode_image(frame, "jpeg") for frame in (make_frames(1, 24, 32)[0], make_frames(1, 32, 24)[0])]
    episode = picture_folder(tmp_path / "p", stored)
    with pytest.raises(DatasetError, match=r"frame 1 is of \(32, 24\) pixels, expected \(24, 32\) like the first"):
        logged(tmp_path / "x.rrd", episode)
    with pytest.raises(DatasetError, match=r"frame 1 is of \(32, 24\) pixels"):
        list(encoded(episode, "av1"))


def test_more_than_a_viewer_holds_is_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_log, "_MOST_PICTURE_BYTES", 1000)
    stored = [encode_image(frame, "jpeg") for frame in make_frames(4, 64, 64)]
    episode = picture_folder(tmp_path / "p", stored)
    few = logged(tmp_path / "few.rrd", episode, Codecs(stored_bytes=sum(map(len, stored)) // 2))
    assert len(column(few, "/camera", "VideoStream:sample")) == 4
    all_of_it = logged(tmp_path / "all.rrd", episode, Codecs(stored_bytes=2 * sum(map(len, stored))))
    assert len(column(all_of_it, "/camera", "EncodedImage:blob")) == 4
    assert Codecs.here(1).stored_bytes > 100 * Codecs.here().stored_bytes


def test_a_stream_of_alohas_pictures_has_their_colours(tmp_path: Path) -> None:
    """They are stored with red and blue exchanged, and come to the encoder without a detour."""
    (episode,) = open_dataset(make_aloha(tmp_path / "episode_0.hdf5", frames=40, compressed=True)).episodes[:1]
    assert episode.convention.colour == "bgr"
    assert episode.pictures() is not None
    decoder = av.CodecContext.create("h264", "r")
    shown = [p for data in (*encoded(episode, "h264"), None) for p in decoder.decode(data and av.Packet(data))]
    frames = np.stack([picture.to_ndarray(format="rgb24") for picture in shown])
    wanted = episode.frames().astype(int)
    assert frames.shape == wanted.shape
    error = np.abs(frames - wanted).mean()
    assert error < 0.5 * np.abs(frames[..., ::-1] - wanted).mean()


@pytest.mark.parametrize("sharing", [cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444])
def test_a_stream_of_jpegs_has_the_range_of_video(tmp_path: Path, sharing: int) -> None:
    """Theirs is wider: viewers would show it with too much contrast."""
    black_and_white = np.repeat(np.array([[0, 255]], np.uint8), 32, axis=1).repeat(32, axis=0)
    picture = np.stack([black_and_white] * 3, axis=-1)
    coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sharing])[1].tobytes()
    decoder = av.CodecContext.create("h264", "r")
    samples = encoded(picture_folder(tmp_path / "p", [coded] * 3), "h264")
    shown = [p for data in (*samples, None) for p in decoder.decode(data and av.Packet(data))]
    luma = shown[0].to_ndarray()[:32]
    assert abs(int(luma.min()) - 16) < 4
    assert abs(int(luma.max()) - 235) < 4


def test_a_stream_stays_below_50_mb_in_ten_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here each picture differs everywhere from the one before."""
    monkeypatch.setattr(video_stream, "_PIECE", 24)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (4, 24, 32, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    episode = picture_folder(tmp_path / "p", [encode_image(noise[at % 4], "jpeg") for at in range(192)])
    quick, shown_anywhere = ([len(sample) for sample in encoded(episode, codec)] for codec in ("h264", "av1"))
    assert len(quick) == len(shown_anywhere) == 192
    assert sum(quick[-48:]) / 48 * 18_000 < 50e6 < sum(quick[:48]) / 48 * 18_000
    assert sum(shown_anywhere[-24:]) < 0.5 * sum(shown_anywhere[:24])  # as bad as it gets: there is no worse quality


def test_the_quality_of_av1_follows_the_rate() -> None:
    assert video_stream._next_crf(45, 500) == 45
    assert 45 < video_stream._next_crf(45, 700) < video_stream._next_crf(45, 2000) < 63
    assert video_stream._next_crf(60, 9000) == 63
    assert video_stream._next_crf(51, 100) == 45


def test_what_is_made_ahead_keeps_its_order_and_its_errors() -> None:
    assert list(islice(ahead(lambda n: n * n, chain(range(20))), 15)) == [n * n for n in range(15)]
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda n: 1 // n, [2, 1, 0, 3]))
