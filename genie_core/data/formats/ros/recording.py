"""The interface of a ROS recording to its reader, whatever the file format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError, reason_of

MAX_CHUNK_BYTES = 512 * 1024 * 1024
"""Largest piece of a recording that is unpacked at a time. Recorders write pieces of about 1 MB."""


@dataclass(frozen=True)
class Topic:
    """One topic of a recording.

    Attributes:
        name: ``/camera/image_raw``.
        kind: type of its messages, as ROS 2 names it: ``sensor_msgs/msg/Image``.
        problem: why its messages cannot be read; None if they can.

    """

    name: str
    kind: str
    problem: str | None = None


@dataclass(frozen=True)
class Received:
    """One message: when it was recorded, nanoseconds, and its content, with ROS's own names as attributes."""

    log_ns: int
    message: Any


class OpenRecording(Protocol):
    """A recording, open. Its members raise DatasetError, naming the file, where it is damaged."""

    @property
    def topics(self) -> tuple[Topic, ...]:
        """All topics, in order of their names."""

    def messages(self, topic: Topic, start_ns: int | None = None, stop_ns: int | None = None) -> Iterator[Received]:
        """Yield the messages of one topic in the order in which they lie, at constant memory.

        Those recorded before `start_ns`, or at `stop_ns` or later, are left out.
        """


class Recording(Protocol):
    """A recording on disk, picklable."""

    @property
    def path(self) -> SourcePath:
        """The file, or the folder."""

    def open(self) -> AbstractContextManager[OpenRecording]:
        """Open it. Raises DatasetError if it cannot be."""


@contextmanager
def damage_reported(path: SourcePath, kind: str) -> Iterator[None]:
    """Turn whatever a library raises in the block into a DatasetError that names `path`, which is not `kind` then.

    Each library, and each compression and store that it uses, has exceptions of its own.
    """
    try:
        yield
    except DatasetError:
        raise
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    except Exception as error:
        raise DatasetError(f"{path}: not {kind}, or truncated or damaged: {reason_of(error)}") from error


__all__ = ["MAX_CHUNK_BYTES", "OpenRecording", "Received", "Recording", "Topic", "damage_reported"]
