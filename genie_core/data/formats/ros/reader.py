"""Reads one recording of ROS through one topic of pictures, with the robot's messages at the time of each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.data.formats.ros.messages import JOINTS, NUMBERS, names_of, numbers_of, picture_of, stamp_ns
from genie_core.data.formats.ros.recording import Received, Recording, Topic
from genie_core.data.frames.resize import Frames
from genie_core.data.frames.stacking import rate_of, stack_frames
from genie_core.data.robot import Proprioception
from genie_core.errors import DatasetError

_ACTION_WORDS = frozenset(["action", "actions", "cmd", "command", "commands", "leader", "target", "vel"])
_STATE_NAMES = ("/joint_states", "/joint_state")


@dataclass(frozen=True)
class Clock:
    """Times of the pictures of a topic, in the order of the recording.

    Attributes:
        log_ns: when each was recorded, (T,) nanoseconds.
        stamp_ns: times in the headers of the messages, (T,) nanoseconds; None if one is not set, or they do not
            increase.

    """

    log_ns: NDArray[np.int64]
    stamp_ns: NDArray[np.int64] | None

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Times of the frames, (T,) seconds from the first: of the headers, else of the recording."""
        times_ns = self.log_ns if self.stamp_ns is None else self.stamp_ns
        return (times_ns - times_ns[:1]) / 1e9


@dataclass(frozen=True)
class RosReader:
    """Reads one recording; the `FrameReader` of ROS.

    Attributes:
        recording: the file, or files.
        camera: topic of the pictures.
        topics: all topics of the first recording of the dataset.

    """

    recording: Recording
    camera: Topic

    @property
    def num_frames(self) -> int:
        """Number of pictures. The first use reads all messages of the topic."""
        return len(self._clock.log_ns)

    @cached_property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of the first picture in pixels."""
        first = next(self._pictures(0), None)
        return (0, 0) if first is None else (first.shape[0], first.shape[1])

    @property
    def fps(self) -> float | None:
        """Average rate of the pictures by their clock; None if they are fewer than 2."""
        return rate_of(self.times_s)

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Times of the frames, (T,) seconds from the first: see `Clock`."""
        return self._clock.seconds

    @property
    def is_uneven(self) -> bool:
        """Whether intervals between frames differ by more than half."""
        intervals = np.diff(self.times_s)
        return len(intervals) > 1 and bool(intervals.max() > 1.5 * np.median(intervals))

    def read(self, start: int, stop: int) -> Frames:
        """Return frames start .. stop - 1, (n, H, W, 3) uint8; reads only the pieces of the file around them."""
        if start >= stop:
            return np.empty((0, *self.frame_size, 3), np.uint8)
        pictures = islice(self._pictures(start, stop), stop - start)
        return next(stack_frames(pictures, stop - start, self.frame_size, self._where, start))

    def chunks(self, size: int) -> Iterator[Frames]:
        """Yield all frames, `size` at a time."""
        return stack_frames(self._pictures(0), size, self.frame_size, self._where)

    def array(self, key: str) -> NDArray[Any] | None:
        """Return the numbers of a topic at the time of each frame, (T, D) float64; None if there is no such topic.

        Of each frame those that were recorded last before or with it; of frames before the first message, those of the
        first. Time is that of the recording, which is one clock for all topics.

        Raises:
            DatasetError: its messages are of a type without numbers, or differ in length.

        """
        wanted = f"/{key.strip('/')}"
        topic = next((topic for topic in self._topics if topic.name == wanted), None)
        return None if topic is None else self._sampled(topic)[0]

    @property
    def actions(self) -> NDArray[Any] | None:
        """The only topic of numbers whose name says that it commands; None if there is none, or several."""
        found = command_topics(self._topics)
        return self._sampled(found[0])[0] if len(found) == 1 else None

    @property
    def proprioception(self) -> Proprioception | None:
        """Positions of ``/joint_states``, else of the only other topic of joints that does not command."""
        joints = [topic for topic in self._topics if topic.kind == JOINTS and topic not in command_topics(self._topics)]
        usual = [topic for topic in joints if topic.name in _STATE_NAMES]
        chosen = usual[:1] or (joints if len(joints) == 1 else [])
        if not chosen:
            return None
        state_TS, names = self._sampled(chosen[0])
        columns = names or tuple(f"{chosen[0].name.strip('/')}_{index}" for index in range(state_TS.shape[1]))
        return Proprioception(state_TS, columns)

    @property
    def task(self) -> None:
        """None: recordings have no place for it."""

    @property
    def group(self) -> None:
        """None."""

    @cached_property
    def _topics(self) -> tuple[Topic, ...]:
        with self.recording.open() as opened:
            return opened.topics

    @cached_property
    def _clock(self) -> Clock:
        if self.camera not in self._topics:
            raise DatasetError(f"{self._where}: has no topic {self.camera.name} of {self.camera.kind}")
        with self.recording.open() as opened:
            times = [(each.log_ns, stamp_ns(each.message)) for each in self._received(opened.messages(self.camera))]
        log_ns, stamps_ns = np.array(times, np.int64).reshape(-1, 2).T
        if len(log_ns) > 1 and np.diff(log_ns).min() < 0:
            raise DatasetError(f"{self._where}: messages of {self.camera.name} are not in the order of their recording")
        is_set = bool(len(stamps_ns) and stamps_ns.min() > 0 and np.all(np.diff(stamps_ns) > 0))
        return Clock(log_ns.copy(), stamps_ns.copy() if is_set else None)

    def _pictures(self, start: int, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        """Yield pictures from `start` on, at least up to `stop`."""
        log_ns = self._clock.log_ns if start or stop is not None else None
        begin_ns = end_ns = None
        first = skip = 0
        if log_ns is not None and len(log_ns):
            begin_ns = int(log_ns[start])
            first = int(np.searchsorted(log_ns, begin_ns))  # the first of those recorded at the same time
            skip = start - first
            end_ns = None if stop is None else int(log_ns[stop - 1]) + 1
        with self.recording.open() as opened:
            messages = self._received(opened.messages(self.camera, begin_ns, end_ns))
            for at, received in enumerate(islice(messages, skip, None), first + skip):
                try:
                    yield picture_of(received.message, self.camera.kind)
                except DatasetError as error:
                    raise DatasetError(f"{self._where}: {self.camera.name}: message {at}: {error}") from error

    def _sampled(self, topic: Topic) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        """Return the numbers of `topic` at each frame, and their names where its messages say them."""
        if topic.kind not in NUMBERS or topic.problem is not None:
            kinds = ", ".join(sorted(NUMBERS))
            raise DatasetError(
                f"{self._where}: {topic.name}: got {topic.problem or topic.kind}, expected one of {kinds}"
            )
        rows: list[NDArray[np.float64]] = []
        wanted_ns = self._clock.log_ns
        last: tuple[NDArray[np.float64], tuple[str, ...]] | None = None
        names: tuple[str, ...] = ()
        with self.recording.open() as opened:
            for received in self._received(opened.messages(topic)):
                numbers = numbers_of(received.message, topic.kind)
                now = names_of(received.message, topic.kind)
                if last is not None and (numbers.shape != last[0].shape or now != last[1]):
                    raise DatasetError(f"{self._where}: {topic.name}: messages differ in length or names of joints")
                held = numbers if last is None else last[0]
                while len(rows) < len(wanted_ns) and wanted_ns[len(rows)] < received.log_ns:
                    rows.append(held)
                last, names = (numbers, now), now
        if last is None:
            raise DatasetError(f"{self._where}: {topic.name}: holds no message")
        rows += [last[0]] * (len(wanted_ns) - len(rows))
        return np.array(rows).reshape(len(wanted_ns), last[0].size), names

    def _received(self, messages: Iterator[Received]) -> Iterator[Received]:
        """Name the recording in errors of its messages."""
        number = 0
        while True:
            try:
                received = next(messages, None)
            except DatasetError as error:
                if str(error).startswith(str(self.recording.path.parent)):
                    raise
                raise DatasetError(f"{self._where}: message {number}: {error}") from error
            if received is None:
                return
            yield received
            number += 1

    @property
    def _where(self) -> str:
        return str(self.recording.path)


def command_topics(topics: tuple[Topic, ...]) -> list[Topic]:
    """Return the topics of numbers whose names say that they command the robot."""
    return [
        topic
        for topic in topics
        if topic.kind in NUMBERS and _ACTION_WORDS & set(re.split(r"[^a-z]+", topic.name.lower()))
    ]


__all__ = ["Clock", "RosReader", "command_topics"]
