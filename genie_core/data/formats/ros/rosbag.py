"""Reads bags through `rosbags`: files of ROS 1 (.bag), and folders of ROS 2 with SQLite files (.db3)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from genie_core.data.formats.ros.messages import DEFINITIONS, modern_name
from genie_core.data.formats.ros.recording import MAX_CHUNK_BYTES, Received, Topic, damage_reported
from genie_core.data.storage.extras import library
from genie_core.data.storage.location import SourcePath, local_file
from genie_core.errors import DatasetError

EXTRA = "rosbag"
_KIND = "a bag"
METADATA = "metadata.yaml"
"""Name of the file by which a folder is a bag of ROS 2."""

_MAX_METADATA = 16 * 1024 * 1024
_COMPRESSED = re.compile(rb"compression_mode:\s*['\"]?(file|message)", re.IGNORECASE)


@dataclass(frozen=True)
class BagRecording:
    """One bag.

    Attributes:
        path: a file of ROS 1, or a folder of ROS 2.

    """

    path: SourcePath

    @contextmanager
    def open(self) -> Iterator[_Open]:
        """Open it and read its index."""
        library("rosbags", EXTRA, self.path, "bags of ROS")
        if not isinstance(self.path, Path) and self.path.suffix != ".bag":
            raise DatasetError(f"{self.path}: a bag that is a folder behind a URL is not read: copy it here first")
        with ExitStack() as stack:
            with damage_reported(self.path, _KIND):
                reader = stack.enter_context(_reader(local_file(self.path)))
            yield _Open(self.path, reader)


class _Open:
    """A bag, open; the `OpenRecording` of `rosbags`."""

    def __init__(self, path: SourcePath, reader: Any) -> None:
        self._path = path
        self._reader = reader
        self._deserialize = _deserializer(path.suffix == ".bag")

    @property
    def topics(self) -> tuple[Topic, ...]:
        """All topics."""
        found = {each.topic: Topic(each.topic, modern_name(each.msgtype)) for each in self._reader.connections}
        return tuple(found[name] for name in sorted(found))

    def messages(self, topic: Topic, start_ns: int | None = None, stop_ns: int | None = None) -> Iterator[Received]:
        """Yield the messages of one topic by the time of recording."""
        connections = [each for each in self._reader.connections if each.topic == topic.name]
        assert topic.kind in DEFINITIONS
        found = self._reader.messages(connections, start=start_ns, stop=stop_ns)
        while True:
            with damage_reported(self._path, _KIND):
                connection, log_ns, data = next(found, (None, 0, b""))
                if connection is None:
                    return
                message = self._deserialize(data, topic.kind)
            yield Received(log_ns, message)


@cache
def _deserializer(is_old: bool) -> Any:
    """Return the function that parses messages; the library takes a second to prepare its own definitions."""
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC if is_old else Stores.ROS2_HUMBLE)
    return store.deserialize_ros1 if is_old else store.deserialize_cdr


@contextmanager
def _reader(path: Path) -> Iterator[Any]:
    if path.suffix == ".bag":
        from rosbags.rosbag1 import Reader as OldReader

        with OldReader(path) as reader:
            for at, chunk in list(reader.chunks.items()):
                reader.chunks[at] = chunk._replace(decompressor=_Bounded(chunk.decompressor))
            yield reader
        return
    from rosbags.rosbag2 import Reader

    metadata = path / METADATA
    if not metadata.is_file():
        raise DatasetError(f"{path}: has no {METADATA} beside its .db3 files: `ros2 bag reindex` writes one")
    with metadata.open("rb") as file:
        text = file.read(_MAX_METADATA + 1)
    if len(text) > _MAX_METADATA or _COMPRESSED.search(text):
        raise DatasetError(f"{path}: a compressed bag is not read: unpack it first (`ros2 bag convert`)")
    with Reader(path) as reader:
        yield reader


class _Bounded:
    """Unpacks a chunk of a ROS 1 bag, at most MAX_CHUNK_BYTES of it, as the library's own function would."""

    def __init__(self, unpack: Any) -> None:
        self._unpack = unpack

    def __call__(self, data: bytes) -> bytes:
        from bz2 import BZ2Decompressor

        from lz4.frame import LZ4FrameDecompressor

        unpack = BZ2Decompressor() if data[:3] == b"BZh" else None
        if unpack is None and data[:4] == b"\x04\x22\x4d\x18":
            unpack = LZ4FrameDecompressor()
        if unpack is None:  # not packed
            plain: bytes = self._unpack(data)
            return plain
        plain = unpack.decompress(data, max_length=MAX_CHUNK_BYTES)
        if not unpack.eof:
            raise ValueError(f"a chunk that unpacks to more than {MAX_CHUNK_BYTES} bytes, or is cut off")
        return plain


__all__ = ["EXTRA", "METADATA", "BagRecording"]
