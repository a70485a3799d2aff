"""LeRobot exports whose video is copied as it is compressed: frame by frame the same, or encoded with a reason."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from genie_core.data import open_dataset
from genie_core.data.export.run import ExportPlan, ExportReport, export_labels
from genie_core.data.formats.lerobot import writer_copy
from genie_core.data.formats.lerobot.writer import FileLimits
from genie_core.data.frames.resize import Frames
from tests.factories.data import make_robomimic, make_turned_video, make_video
from tests.factories.labelled import label_file
from tests.factories.lerobot import TOP, make_lerobot_v21, make_lerobot_v30

B_FRAMES = {"bf": "3", "g": "8", "b-adapt": "0"}


def exported(source: Path, out: Path, **plan: Any) -> tuple[ExportReport, list[Frames]]:
    """Label and export a source; the report, and the frames of the export."""
    labelled = label_file(source)
    report = export_labels(labelled.path, out, ExportPlan("lerobot", **plan))
    return report, [episode.frames() for episode in open_dataset(out).episodes]


def frames_of(source: Path) -> list[Frames]:
    return [episode.frames() for episode in open_dataset(source).episodes]


def info_of(out: Path) -> dict[str, Any]:
    info: dict[str, Any] = json.loads((out / "meta/info.json").read_text())
    return info


@pytest.mark.parametrize("make", [make_lerobot_v21, make_lerobot_v30])
def test_the_video_of_a_lerobot_source_is_copied_packet_by_packet(tmp_path: Path, make: Callable[..., Path]) -> None:
    source = make(tmp_path / "src")
    report, frames = exported(source, tmp_path / "out")
    [video] = report.videos.values()
    assert video.encoded is None
    assert info_of(tmp_path / "out")["genie"]["video"] == "copied"
    for mine, theirs in zip(frames, frames_of(source), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert [episode.task for episode in open_dataset(tmp_path / "out").episodes] == ["Lift."] * 3
    again, copied = exported(tmp_path / "out", tmp_path / "again")  # an export of an export: still the first pixels
    assert [one.key_frames for one in again.videos.values()] == [video.key_frames]
    for mine, theirs in zip(copied, frames, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("codec", "name", "options"),
    [
        ("libx264", "h264", B_FRAMES),
        ("libx265", "hevc", {"x265-params": "log-level=none:keyint=6:open-gop=1"}),
        ("libsvtav1", "av1", {"g": "6", "preset": "12", "svtav1-params": "log=0"}),
    ],
)
def test_videos_with_frames_that_depend_on_later_ones_are_copied(
    tmp_path: Path, codec: str, name: str, options: dict[str, str]
) -> None:
    (tmp_path / "src").mkdir()
    for number, frames in enumerate((13, 9)):
        make_video(tmp_path / f"src/{number}.mp4", frames, (64, 96), codec=codec, options=options, seed=number)
    report, frames_ETHWC = exported(tmp_path / "src", tmp_path / "out")
    [video] = report.videos.values()
    assert video.encoded is None
    for mine, theirs in zip(frames_ETHWC, frames_of(tmp_path / "src"), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    picture = info_of(tmp_path / "out")["features"]["observation.images.video"]
    assert picture["info"]["video.codec"] == name
    files = sorted((tmp_path / "out/videos").rglob("*.mp4"))
    times = [round(float(frame.time) * 10, 3) for path in files for frame in av.open(str(path)).decode(video=0)]
    assert times in ([*range(22)], [*range(13), *range(9)])  # LeRobot asks for frames by their times, 1 / fps apart


def test_uneven_times_become_even_and_large_videos_begin_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    for number in range(3):
        path = tmp_path / f"src/{number}.mkv"
        make_video(path, 6, times_ms=[0, 100, 200, 950, 1050, 1150], seed=number)
    limit = 0.9 * (tmp_path / "src/0.mkv").stat().st_size / 2**20
    report, frames = exported(tmp_path / "src", tmp_path / "out", fps=10, limits=FileLimits(video_mb=limit))
    [video] = report.videos.values()
    assert video.encoded is None
    assert len(list((tmp_path / "out/videos").rglob("*.mp4"))) == 3
    for mine, theirs in zip(frames, frames_of(tmp_path / "src"), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def _mpeg4(folder: Path) -> Path:
    return make_video(folder / "v.mp4", codec="mpeg4")


def _in_the_packets(folder: Path) -> Path:
    return make_video(folder / "v.ts")


def _turned(folder: Path) -> Path:
    return make_turned_video(folder / "v.mp4", (48, 64), 90)


def _arrays(folder: Path) -> Path:
    return make_robomimic(folder / "v.hdf5", episodes=1, frames=12, size=16, fps=10)


def _other_size(folder: Path) -> Path:
    (folder / "v").mkdir()
    make_video(folder / "v/0.mp4")
    make_video(folder / "v/1.mp4", codec="libx265", options={"x265-params": "log-level=none"})
    return folder / "v"


def _no_key_frame(folder: Path) -> Path:
    """Two episodes in one video that has a key frame at its start alone."""
    source = make_lerobot_v30(folder / "v", lengths=(6, 6))
    path = next((source / "videos").rglob("*.mp4"))
    make_video(path, 12, options={"g": "250", "sc_threshold": "0", "bf": "0"})
    return source


@pytest.mark.parametrize(
    ("make", "plan", "why"),
    [
        (_mpeg4, {}, "demo_0: its codec is mpeg4"),
        (_in_the_packets, {}, "the decoder's parameters in the packets"),
        (_turned, {}, "turned"),
        (_arrays, {}, "its source is not a video"),
        (_other_size, {}, "demo_1: its codec, pixel format or size is another"),
        (_no_key_frame, {}, "demo_1: frame 6, with which the episode begins, is no key frame"),
        (lambda folder: make_video(folder / "v.mp4"), {"video": "encode"}, "as asked for"),
        (lambda folder: make_video(folder / "v.mp4"), {"frames": (24, 32)}, "of another size"),
    ],
)
def test_what_cannot_be_copied_is_encoded_and_the_reason_is_told(
    tmp_path: Path, make: Callable[[Path], Path], plan: dict[str, Any], why: str
) -> None:
    source = make(tmp_path)
    report, frames = exported(source, tmp_path / "out", **plan)
    [video] = report.videos.values()
    assert why in str(video.encoded)
    assert why in info_of(tmp_path / "out")["genie"]["video"]
    expected = frames_of(source)
    assert [len(part) for part in frames] == [len(part) for part in expected]
    if not plan:  # lossy, and still those pictures
        assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(frames, expected, strict=True)) < 12


def test_a_copy_that_decodes_to_other_frames_is_thrown_away_and_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, advanced = make_lerobot_v21(tmp_path / "src"), []
    labelled = label_file(source)
    mux = writer_copy.CopiedVideos._mux

    def of_the_first(self: writer_copy.CopiedVideos, part: Any, start: int) -> None:
        """What a decoder would make of a stream that only claims to begin with a key frame: other pictures."""
        first = self._begun_with
        mux(self, part if first is None or part.stop != first.stop or start == 0 else first, start)

    monkeypatch.setattr(writer_copy.CopiedVideos, "_mux", of_the_first)
    make_video(source / f"videos/chunk-000/{TOP}/episode_000002.mp4", 12, options={"g": "4"}, seed=9)
    del labelled
    labelled = label_file(make_lerobot_v21(tmp_path / "same", lengths=(8, 8)))
    report = export_labels(labelled.path, tmp_path / "out", ExportPlan("lerobot"), advanced.append)
    [video] = report.videos.values()
    assert "frame 8 of file-000.mp4 differs from its source" in str(video.encoded)
    assert sum(advanced) == 2
    assert sorted(path.name for path in tmp_path.iterdir() if "genie-new" in path.name) == []
    assert len(open_dataset(tmp_path / "out").episodes) == 2
