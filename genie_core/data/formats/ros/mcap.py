"""Reads MCAP files with messages of ROS 2 or ROS 1; piece by piece, and none larger than MAX_CHUNK_BYTES."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import Any

from genie_core.data.formats.ros.messages import COMPRESSED, DEFINITIONS, modern_name
from genie_core.data.formats.ros.recording import MAX_CHUNK_BYTES, Received, Topic, damage_reported
from genie_core.data.frames.images import is_image
from genie_core.data.storage.extras import library
from genie_core.data.storage.location import SourcePath, local_file
from genie_core.errors import DatasetError, reason_of

EXTRA = "mcap"
_KIND = "an MCAP file"
_CHUNK_RECORD = 1 + 8
"""Bytes of a record before its content: operation code and length."""


@dataclass(frozen=True)
class McapRecording:
    """One recording in one MCAP file, or in several that follow each other.

    Attributes:
        path: the file, or the folder of the files.
        files: in order.

    """

    path: SourcePath
    files: tuple[SourcePath, ...]

    @contextmanager
    def open(self) -> Iterator[_Open]:
        """Open all files and read their indexes."""
        library("mcap", EXTRA, self.path, "MCAP")
        library("mcap_ros2", EXTRA, self.path, "MCAP")
        with ExitStack() as stack:
            yield _Open([stack.enter_context(_open_file(file)) for file in self.files])


class _Open:
    """Files of a recording, open; the `OpenRecording` of MCAP."""

    def __init__(self, files: list[_File]) -> None:
        self._files = files

    @property
    def topics(self) -> tuple[Topic, ...]:
        """All topics of all files."""
        found = {topic.name: topic for file in self._files for topic in file.topics()}
        return tuple(found[name] for name in sorted(found))

    def messages(self, topic: Topic, start_ns: int | None = None, stop_ns: int | None = None) -> Iterator[Received]:
        """Yield the messages of one topic, file by file."""
        for file in self._files:
            yield from file.messages(topic, start_ns, stop_ns)


class _File:
    """One file, open, with its index."""

    def __init__(self, path: SourcePath, stream: Any, summary: Any) -> None:
        self._path = path
        self._stream = stream
        self._summary = summary

    def topics(self) -> Iterator[Topic]:
        for channel in self._summary.channels.values():
            schema = self._summary.schemas.get(channel.schema_id)
            kind = modern_name(schema.name) if schema is not None else "unknown"
            problem = None
            if channel.message_encoding != "cdr":
                problem = f"its messages are {channel.message_encoding}, expected cdr, as ROS 2 writes them"
            yield Topic(channel.topic, kind, problem)

    def messages(self, topic: Topic, start_ns: int | None, stop_ns: int | None) -> Iterator[Received]:
        wanted = {number for number, channel in self._summary.channels.items() if channel.topic == topic.name}
        decode = partial(_decode, _decoder(topic.kind), topic.kind)
        for chunk in sorted(self._summary.chunk_indexes, key=lambda index: index.chunk_start_offset):
            if start_ns is not None and chunk.message_end_time < start_ns:
                continue
            if stop_ns is not None and chunk.message_start_time >= stop_ns:
                continue
            if chunk.message_index_offsets and not wanted & chunk.message_index_offsets.keys():
                continue
            for message in self._messages_of(chunk):
                is_within = (start_ns is None or message.log_time >= start_ns) and (
                    stop_ns is None or message.log_time < stop_ns
                )
                if message.channel_id in wanted and is_within:
                    yield Received(message.log_time, decode(message.data))

    def _messages_of(self, index: Any) -> Iterator[Any]:
        """Yield the messages of one piece, unpacked no further than it says."""
        from mcap.data_stream import ReadDataStream
        from mcap.records import Chunk, Message
        from mcap.stream_reader import breakup_chunk

        with damage_reported(self._path, _KIND):
            if max(index.uncompressed_size, index.chunk_length) > MAX_CHUNK_BYTES:
                size = max(index.uncompressed_size, index.chunk_length)
                raise DatasetError(f"{self._path}: got a chunk of {size} bytes, expected {MAX_CHUNK_BYTES} or fewer")
            self._stream.seek(index.chunk_start_offset + _CHUNK_RECORD)
            chunk = Chunk.read(ReadDataStream(self._stream))
            plain = replace(chunk, compression="", data=_unpacked(chunk, index.uncompressed_size))
            records = breakup_chunk(plain, validate_crc=True)
        for record in records:
            if isinstance(record, Message):
                yield record


@contextmanager
def _open_file(path: SourcePath) -> Iterator[_File]:
    from mcap.reader import SeekingReader

    with ExitStack() as stack:
        with damage_reported(path, _KIND):
            stream = stack.enter_context(local_file(path).open("rb"))
            summary = SeekingReader(stream, record_size_limit=MAX_CHUNK_BYTES).get_summary()
        if summary is None or (not summary.chunk_indexes and summary.channels):
            raise DatasetError(
                f"{path}: has no index of its messages: the recording was cut off, or made without; "
                "`mcap recover FILE --output NEW` (github.com/foxglove/mcap) writes one"
            )
        yield _File(path, stream, summary)


def _unpacked(chunk: Any, size: int) -> bytes:
    """Return the content of a chunk, at most `size` bytes."""
    if chunk.compression == "zstd":
        import zstandard

        with zstandard.ZstdDecompressor().stream_reader(chunk.data) as reader:
            data: bytes = reader.read(size)
            is_more = bool(reader.read(1))
    elif chunk.compression == "lz4":
        from lz4.frame import LZ4FrameDecompressor

        unpack = LZ4FrameDecompressor()
        data = unpack.decompress(chunk.data, max_length=size)
        is_more = not unpack.eof and bool(unpack.decompress(b"", max_length=1))
    elif chunk.compression == "":
        data, is_more = chunk.data, len(chunk.data) > size
    else:
        raise ValueError(f"packed by {chunk.compression!r}, expected zstd or lz4")
    if len(data) != size or is_more:
        raise ValueError(f"a chunk of {len(data)}{' or more' if is_more else ''} bytes, its index says {size}")
    return data


def _decoder(kind: str) -> Any:
    from mcap.records import Schema
    from mcap_ros2.decoder import DecoderFactory

    schema = Schema(id=1, name=kind, encoding="ros2msg", data=DEFINITIONS[kind].encode())
    return DecoderFactory().decoder_for("cdr", schema)


def _decode(decoder: Any, kind: str, data: bytes) -> Any:
    """Return a message. Of compressed pictures some recorders write the bare JPEG or PNG: that is taken as it is."""
    if kind == COMPRESSED and is_image(data):
        return SimpleNamespace(format="", data=data)
    try:
        return decoder(data)
    except Exception as error:  # of every kind, by where the data end
        raise DatasetError(f"{len(data)} bytes that are no {kind}: {reason_of(error)}") from error


__all__ = ["EXTRA", "McapRecording"]
