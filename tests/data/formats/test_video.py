import pickle
from pathlib import Path

import av
import numpy as np
import pytest

from genie_core.data import ReadOptions, inspect_dataset, open_dataset, resize_frames, write_video
from genie_core.data.formats.video.reader import VideoReader
from genie_core.data.frames.timing import uneven_words
from genie_core.data.frames.turning import Rotation
from genie_core.errors import DatasetError, RequestError
from tests.factories.data import make_frames, make_held_video, make_turned_video, make_video

KINDS = {
    "h264.mp4": {"codec": "libx264", "options": {"g": "8"}},
    "h264_open_gop.mkv": {"codec": "libx264", "options": {"x264-params": "open-gop=1:keyint=8"}},
    "h264_b_frames.avi": {"codec": "libx264", "options": {"g": "8"}},
    "mpeg4_b_frames.mp4": {"codec": "mpeg4", "options": {"bf": "2"}},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg4.mov": {"codec": "mpeg4"},
    "av1.mp4": {"codec": "libsvtav1"},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"g": "8"}},
    "vp8_hidden_frames.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16"}},
    "x.gif": {"codec": "gif"},
    "h264.m4v": {"codec": "libx264", "options": {"g": "8"}},
    "h264.ts": {"codec": "libx264", "options": {"g": "8"}},
    "uneven.mkv": {"codec": "libx264", "times_ms": [40 * t + 13 * (t % 3) for t in range(25)]},
}


def make_kind(folder: Path, name: str) -> Path:
    return make_video(folder / name, frames=25, **KINDS[name])  # type: ignore[arg-type]


@pytest.mark.parametrize("name", KINDS)
def test_any_access_gives_the_frames_of_one_decoding_pass(tmp_path: Path, name: str) -> None:
    path = make_kind(tmp_path, name)
    with av.open(str(path)) as container:
        decoded = sum(1 for _ in container.decode(video=0))
    episode = open_dataset(path).episodes[0]
    everything = np.concatenate(list(episode.chunks(7)))
    assert episode.num_frames == decoded == len(everything) == 25
    assert everything.shape == (25, episode.height, episode.width, 3) == (25, 48, 64, 3)
    for start, stop in [(0, 25), (0, 1), (1, 2), (7, 20), (8, 9), (16, 25), (24, 25), (5, 5), (20, 99), (9, 3)]:
        np.testing.assert_array_equal(episode.frames(start, stop), everything[start:stop])


@pytest.mark.parametrize("name", ["h264.mp4", "mpeg4.avi", "av1.mp4", "vp9.webm"])
def test_frames_look_like_what_was_filmed(tmp_path: Path, name: str) -> None:
    video = open_dataset(make_kind(tmp_path, name)).episodes[0].frames()
    filmed = make_frames(25, 48, 64)
    errors = np.abs(resize_frames(video, 12, 16).astype(int) - resize_frames(filmed, 12, 16)).mean(axis=(1, 2, 3))
    assert errors.max() < 16
    shifted = np.abs(resize_frames(video[:-1], 12, 16).astype(int) - resize_frames(filmed[1:], 12, 16))
    assert shifted.mean() > 1.5 * errors.mean()


@pytest.mark.parametrize("name", ["h264.mp4", "av1.mp4", "vp9.webm", "x.gif"])
def test_frames_within_a_file_are_found_by_key_frame(tmp_path: Path, name: str) -> None:
    reader = VideoReader(make_kind(tmp_path, name))
    assert len(list(reader._pictures_from_key_frame(20, 23))) == 3
    np.testing.assert_array_equal(reader.read(20, 23), np.concatenate(list(reader.chunks(25)))[20:23])


@pytest.mark.parametrize("name", KINDS)
def test_a_part_of_a_file_streams(tmp_path: Path, name: str) -> None:
    reader = VideoReader(make_kind(tmp_path, name))
    everything = np.concatenate(list(reader.chunks(25)))
    for start, stop in [(0, 25), (3, 20), (8, 24), (24, 25)]:
        chunks = list(reader.chunks_between(start, stop, 4))
        assert [len(chunk) for chunk in chunks[:-1]] == [4] * (len(chunks) - 1)
        np.testing.assert_array_equal(np.concatenate(chunks), everything[start:stop])
    assert list(reader.chunks_between(7, 7, 4)) == []


def test_frame_rate_is_what_the_file_says_unless_the_user_knows_better(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", fps=29.97)
    assert open_dataset(path).fps == pytest.approx(29.97, rel=1e-4)
    assert open_dataset(path, fps=15).fps == 15


def test_a_file_of_a_cut_stream_is_counted_by_decoding(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "whole.mp4", frames=25, options={"x264-params": "open-gop=1:keyint=8:bframes=3"})
    cut = tmp_path / "cut.mkv"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(source.streams.video[0]) if packet.size]
        for packet in packets[3:]:
            packet.stream = stream
            target.mux(packet)
    episode = open_dataset(cut).episodes[0]
    everything = np.concatenate(list(episode.chunks(4)))
    assert 0 < episode.num_frames == len(everything) < 22
    np.testing.assert_array_equal(episode.frames(2, 6), everything[2:6])


def test_uneven_frame_times_are_noticed(tmp_path: Path) -> None:
    times = [40 * t + (300 if t > 5 else 0) for t in range(12)]
    gap = VideoReader(make_video(tmp_path / "gap.mkv", times_ms=times))
    assert "1 gap, the longest of 0.34 s after frame 5" in str(uneven_words(gap.times_s))
    assert uneven_words(VideoReader(make_video(tmp_path / "even.mkv")).times_s) is None


def test_the_rate_of_a_video_with_a_pause_is_that_of_its_usual_interval(tmp_path: Path) -> None:
    times = [33 * t + (6000 if t > 5 else 0) for t in range(12)]
    assert VideoReader(make_video(tmp_path / "pause.mkv", times_ms=times)).fps == pytest.approx(1 / 0.033)


def test_the_rate_of_a_steady_video_is_the_one_it_states(tmp_path: Path) -> None:
    times = [round(t * 1000 / 30) for t in range(12)]  # 33, 33, 34 ms
    reader = VideoReader(make_video(tmp_path / "steady.mkv", fps=30, times_ms=times))
    assert reader.fps == 30


@pytest.mark.parametrize("name", ["hold.mp4", "hold.mkv"])
def test_a_last_frame_that_is_held_is_not_a_truncated_file(tmp_path: Path, name: str) -> None:
    reader = VideoReader(make_held_video(tmp_path / name, held_ms=4000))
    assert (reader.num_frames, reader.fps, len(np.concatenate(list(reader.chunks(8))))) == (12, 10, 12)


def test_a_gif_that_holds_its_end_is_read(tmp_path: Path) -> None:
    times = [100 * t for t in range(12)]
    path = make_video(tmp_path / "hold.gif", codec="gif", times_ms=times)
    data = bytearray(path.read_bytes())
    last = data.rindex(b"\x21\xf9\x04")  # the graphic control of the last picture; its delay in 1/100 s
    data[last + 4 : last + 6] = (300).to_bytes(2, "little")
    path.write_bytes(data)
    assert open_dataset(path).episodes[0].num_frames == 12


def test_readers_travel_between_processes(tmp_path: Path) -> None:
    episode = open_dataset(make_video(tmp_path / "a.mp4")).episodes[0]
    assert episode.num_frames == 12
    copy = pickle.loads(pickle.dumps(episode))
    np.testing.assert_array_equal(copy.frames(3, 5), episode.frames(3, 5))


@pytest.mark.parametrize("frames", [1, 2])
def test_a_video_of_hardly_any_frames_can_be_read(tmp_path: Path, frames: int) -> None:
    episode = open_dataset(make_video(tmp_path / "a.mp4", frames=frames)).episodes[0]
    assert episode.num_frames == frames
    assert episode.frames().shape == (frames, 48, 64, 3)


@pytest.mark.parametrize("name", ["h264.mp4", "h264_open_gop.mkv", "mpeg4.avi", "vp9.webm", "x.gif", "av1.mp4"])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    path = make_kind(tmp_path, name)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    episode = open_dataset(path).episodes[0]
    with pytest.raises(DatasetError, match=rf"{name}.*truncated"):
        _ = episode.num_frames
    with pytest.raises(DatasetError, match="truncated"):
        next(episode.chunks(4))


def test_a_truncated_file_with_its_index_first_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, make_frames(25, 48, 64), 10)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    with pytest.raises(DatasetError, match="truncated"):
        _ = open_dataset(path).episodes[0].num_frames


def test_damage_within_a_file_is_found_when_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, make_frames(25, 48, 64), 10)
    data = bytearray(path.read_bytes())
    for index in range(len(data) // 2, len(data) // 2 + 400):
        data[index] ^= 0x5A
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"a\.mp4: .*damaged"):
        list(open_dataset(path).episodes[0].chunks(8))


@pytest.mark.parametrize("content", [b"", b"hello" * 100])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.mp4: not a video"):
        _ = open_dataset(path).episodes[0].height


def test_programs_in_typescript_are_no_video(tmp_path: Path) -> None:
    make_kind(tmp_path, "h264.ts")
    (tmp_path / "player.ts").write_text("export const G = 1;\n" * 50)
    assert [episode.name for episode in open_dataset(tmp_path).episodes] == ["h264"]
    with pytest.raises(DatasetError, match=r"got a file that ends in `\.ts`"):
        open_dataset(tmp_path / "player.ts")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(DatasetError, match="holds no video stream"):
        _ = open_dataset(path).episodes[0].num_frames


def test_a_written_video_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    frames = make_frames(10, 32, 48)
    write_video(path, frames, fps=7.5)
    episode = open_dataset(path).episodes[0]
    assert (episode.num_frames, episode.fps) == (10, 7.5)
    assert np.abs(episode.frames().astype(int) - frames).mean() < 6
    assert list(tmp_path.iterdir()) == [path]


def test_an_odd_size_is_made_even_by_repeating_the_edge(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, make_frames(3, 31, 33), fps=10)
    assert open_dataset(path).episodes[0].frames().shape == (3, 32, 34, 3)


def test_a_video_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    frames = make_frames(2, 32, 32)
    with pytest.raises(DatasetError, match="cannot be written"):
        write_video(tmp_path / "gone" / "a.mp4", frames, fps=10)
    with pytest.raises(DatasetError, match="got 0 frames"):
        write_video(tmp_path / "a.mp4", frames[:0], fps=10)
    with pytest.raises(RequestError, match="float32"):
        write_video(tmp_path / "a.mp4", frames.astype(np.float32), fps=10)
    assert list(tmp_path.iterdir()) == []


QUARTERS = {"90": 3, "180": 2, "270": 1}
"""How often `np.rot90` turns what a display matrix of so many degrees turns back."""


@pytest.mark.parametrize("degrees", QUARTERS)
def test_video_is_turned_as_its_display_matrix_asks(tmp_path: Path, degrees: str) -> None:
    upright = make_video(tmp_path / "upright.mkv", size=(64, 48), codec="ffv1")
    path = make_turned_video(tmp_path / "turned.mp4", size=(64, 48), clockwise=int(degrees))
    episode = open_dataset(path).episodes[0]
    wanted = open_dataset(upright).episodes[0].frames()
    assert (episode.height, episode.width) == (64, 48)
    for frames in (episode.frames(), np.concatenate(list(episode.chunks(5))), episode.frames(4, 12)):
        assert np.abs(frames.astype(int) - wanted[-len(frames) :]).mean() < 4  # H.264 loses a little
    words = {"90": "90 degrees clockwise", "180": "180 degrees", "270": "90 degrees anticlockwise"}
    assert any(f"turned by {words[degrees]} when read" in fact for fact in inspect_dataset(path).facts)


def test_video_to_be_shown_at_a_slant_is_refused(tmp_path: Path) -> None:
    path = make_turned_video(tmp_path / "slant.mp4", size=(64, 48), clockwise=45)
    with pytest.raises(DatasetError, match=r"shown turned by .*45 degrees, expected a multiple of 90"):
        open_dataset(path).episodes[0].frames()


@pytest.mark.parametrize("degrees", QUARTERS)
def test_pictures_are_turned_as_the_user_says(tmp_path: Path, degrees: Rotation) -> None:
    path = make_video(tmp_path / "a.mkv", size=(48, 64), codec="ffv1")
    episode = open_dataset(path, options=ReadOptions(rotate=degrees)).episodes[0]
    wanted = np.rot90(open_dataset(path).episodes[0].frames(), QUARTERS[degrees], axes=(1, 2))
    np.testing.assert_array_equal(episode.frames(), wanted)
    assert (episode.height, episode.width) == wanted.shape[1:3]


@pytest.mark.parametrize(("kind", "bits"), [("gray16le", 16), ("gray12le", 12)])
def test_video_of_depth_is_refused(tmp_path: Path, kind: str, bits: int) -> None:
    path = tmp_path / "depth.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = 16, 16, kind
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((16, 16), np.uint16), format="gray16le")
            container.mux(stream.encode(frame.reformat(format=kind)))
        container.mux(stream.encode(None))
    with pytest.raises(DatasetError, match=f"one channel of {bits} bits .* which is depth"):
        _ = open_dataset(path).episodes[0].height
