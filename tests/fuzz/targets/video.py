"""Video files: containers and codecs, in FFmpeg."""

from __future__ import annotations

from pathlib import Path

from genie_core.data.formats.video.reader import VideoReader
from tests.factories.data import make_video
from tests.fuzz.target import Target
from tests.fuzz.targets.rlds import may_fail

_KINDS = (("mp4", "libx264"), ("mkv", "libx264"), ("webm", "libvpx-vp9"), ("avi", "mjpeg"), ("gif", "gif"))


def _read(data: bytes, folder: Path) -> None:
    path = folder / "v.mp4"
    path.write_bytes(data)
    reader = VideoReader(path)
    _ = reader.frame_size
    for ask in (
        lambda: reader.fps,
        lambda: reader.read(0, 1),
        lambda: reader.read(2, 3),
        lambda: [len(chunk) for chunk in reader.chunks(2)],
    ):
        may_fail(ask)


def _videos(folder: Path) -> list[bytes]:
    return [make_video(folder / f"v.{ends}", 4, (16, 16), codec=codec).read_bytes() for ends, codec in _KINDS]


TARGETS = (Target("video", _read, _videos, inputs=5_000, largest=8_000, memory_mib=256),)
