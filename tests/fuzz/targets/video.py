"""Video files: containers and codecs, in FFmpeg; and tar files of them."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np

from genie_core.data import open_dataset
from genie_core.data.formats.video.reader import VideoReader
from tests.factories.data import make_video
from tests.factories.folders import write_tar
from tests.fuzz.mutation import with_tar_checksums
from tests.fuzz.server import mutated
from tests.fuzz.target import Target
from tests.fuzz.targets.rlds import may_fail, use

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


def _read_tar(data: bytes, folder: Path) -> None:
    path = folder / "x.tar"
    path.write_bytes(data)
    use(open_dataset(path))


def _tars(folder: Path) -> list[bytes]:
    film, actions = make_video(folder / "v.mkv", 4, (16, 16), codec="ffv1").read_bytes(), io.BytesIO()
    np.save(actions, np.zeros((4, 7), np.float32))
    beside = {"a/0.action.npy": actions.getvalue(), "a/0.json": b'{"instruction": "lift"}', "a/0.txt": b"lift"}
    return [
        write_tar(folder / "one.tar", {"a/0.mkv": film, **beside}).read_bytes(),
        write_tar(
            folder / "two.tar", {"0.front.mkv": film, "0.wrist.mkv": film, "n" * 200 + ".mkv": film}
        ).read_bytes(),
    ]


def _mutate_tar(data: bytes, most: int, seed: int) -> bytes:
    """Some bytes, with the headers' checksums right."""
    return with_tar_checksums(mutated(data, random.Random(seed))[:most])


TARGETS = (
    Target("video", _read, _videos, inputs=5_000, largest=8_000, memory_mib=256),
    Target("webdataset", _read_tar, _tars, inputs=5_000, largest=40_000, mutate=_mutate_tar, memory_mib=256),
)
