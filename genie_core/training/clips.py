"""Training frames: decoded and resized once into one memory-mapped file, or as they are drawn, in random clips.

Every clip depends only on (seed, stage, step), so that a resumed run draws the same clips as an uninterrupted one.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from genie_core.data import AutoSteps, Episode, resize_frames, resolve_step
from genie_core.data.storage.atomic import new_file, write_text
from genie_core.data.storage.lock import waiting_lock
from genie_core.errors import DatasetError
from genie_core.training.streaming import StreamedFrames

_CHUNK = 64
_MOST_THREADS = 16
"""Threads that decode, each an episode at a time."""


@dataclass(frozen=True)
class Span:
    """One episode in the store: frames first .. first + count - 1, `step` frames per model step, `fps` per second.

    `fps` of a video whose rate is unknown is what it were if a transition lasted as long as the model's.
    `source` names the file that it shares with others, or the folder of the files of which each holds one.
    """

    name: str
    source: str
    first: int
    count: int
    step: int
    fps: float


class Frames(Protocol):
    """Frames by number: an array, or `StreamedFrames`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(total, H, W, 3)."""

    def __getitem__(self, rows: Any, /) -> NDArray[np.uint8]:
        """Return the frames of these numbers."""


@dataclass(frozen=True)
class ClipStore:
    """All frames of a set of episodes at the model's size, (total, H, W, 3) uint8, every frame kept at its own rate."""

    frames: Frames
    spans: tuple[Span, ...]

    def sample(self, rng: np.random.Generator, batch: int, length: int) -> NDArray[np.uint8]:
        """Draw (batch, length, H, W, 3) clips at the model's rate, uniformly over all positions where one fits."""
        starts = np.array([max(0, s.count - (length - 1) * s.step) for s in self.spans])
        ends = np.cumsum(starts)
        if ends[-1] == 0:
            raise DatasetError(f"no episode is long enough for a clip of {length} frames at the model's rate")
        picks = rng.integers(ends[-1], size=batch)
        rows = []
        for pick in picks:
            i = int(np.searchsorted(ends, pick, side="right"))
            first = self.spans[i].first + int(pick - (ends[i] - starts[i]))
            rows.append(first + self.spans[i].step * np.arange(length))
        return np.asarray(self.frames[np.stack(rows)])

    def sample_apart(
        self, rng: np.random.Generator, batch: int, length: int, gap_s: tuple[float, float]
    ) -> NDArray[np.uint8]:
        """Draw (batch, length, H, W, 3) clips whose frames are `gap_s` seconds apart, but at least one frame.

        Sources are weighted by the square root of their number of frames, so that a large one does not drown the small;
        within a source, frames count alike. In episodes too short for that frames are as far apart as fits.
        """
        places = self._places_apart(rng, batch, length, gap_s)
        return np.asarray(self.frames[np.array([first + gap * np.arange(length) for first, gap in places])])

    def sample_runs(
        self, rng: np.random.Generator, batch: int, gap_s: tuple[float, float]
    ) -> Iterator[NDArray[np.uint8]]:
        """Draw pairs of frames as `sample_apart` does; yield each with all frames between them, (T, H, W, 3)."""
        for first, gap in self._places_apart(rng, batch, 2, gap_s):
            yield np.asarray(self.frames[first + np.arange(gap + 1)])

    def _places_apart(
        self, rng: np.random.Generator, batch: int, length: int, gap_s: tuple[float, float]
    ) -> list[tuple[int, int]]:
        """Return the first frame of each clip, and how many frames its frames are apart."""
        places = []
        for i in rng.choice(len(self.spans), size=batch, p=self.shares(length)):
            span = self.spans[i]
            gap = min(max(1, round(rng.uniform(*gap_s) * span.fps)), (span.count - 1) // (length - 1))
            places.append((span.first + int(rng.integers(span.count - (length - 1) * gap)), gap))
        return places

    def shares(self, length: int, *, at_rate: bool = False) -> NDArray[np.float64]:
        """Return each span's share of clips of `length` frames: a source counts by the square root of its frames.

        Args:
            length: frames.
            at_rate: at the model's rate, instead of one after another.

        Raises:
            DatasetError: no episode is long enough.

        """
        count = np.array([s.count for s in self.spans], np.float64)
        of_source: dict[str, float] = {}
        for span in self.spans:
            of_source[span.source] = of_source.get(span.source, 0.0) + span.count
        weight: NDArray[np.float64] = count / np.sqrt([of_source[s.source] for s in self.spans])
        reach = np.array([(length - 1) * (s.step if at_rate else 1) for s in self.spans])
        weight[count <= reach] = 0
        if not weight.any():
            raise DatasetError(f"no episode is long enough for a clip of {length} frames")
        share: NDArray[np.float64] = weight / weight.sum()
        return share

    def episode(self, span: Span) -> NDArray[np.uint8]:
        """One episode's frames at the model's rate, (T, H, W, 3)."""
        return np.array(self.frames[span.first : span.first + span.count : span.step])


def build_store(
    episodes: Iterable[Episode],
    folder: Path,
    *,
    height: int,
    width: int,
    fps: float,
    steps: AutoSteps | None = None,
    progress: Callable[[int], None] = lambda frames: None,
) -> ClipStore:
    """Decode and resize every episode into `folder`, or reuse the complete store of an earlier run.

    Args:
        episodes: what to store; those with fewer than 2 frames at the model's rate are rejected.
        folder: receives frames.bin and, written last, index.json.
        height: of stored frames, pixels.
        width: of stored frames, pixels.
        fps: the model's frame rate, frames a second.
        steps: transition lengths, for the rates that they are known of; of others and by default those of the rates.
        progress: receives the number of frames stored so far.

    Raises:
        DatasetError: an episode has no frame rate, is too short or unreadable, or there are no episodes.

    """
    folder.mkdir(parents=True, exist_ok=True)
    with waiting_lock(folder / "lock"):  # stages may be trained by processes started at the same time
        chosen = list(episodes)
        return _build(chosen, _plan(chosen, fps, steps), folder, height, width, fps, progress)


def stream_store(episodes: Iterable[Episode], *, height: int, width: int, fps: float) -> ClipStore:
    """Return the store that `build_store` would write, of frames that are decoded whenever they are drawn.

    Raises:
        DatasetError: as `build_store`, but for frames that cannot be read: that is found when they are drawn.

    """
    chosen = list(episodes)
    return ClipStore(StreamedFrames(chosen, height, width), _plan(chosen, fps))


def _build(
    chosen: list[Episode],
    spans: tuple[Span, ...],
    folder: Path,
    height: int,
    width: int,
    fps: float,
    progress: Callable[[int], None],
) -> ClipStore:
    wanted = {"height": height, "width": width, "fps": fps, "spans": [asdict(s) for s in spans]}
    index, data = folder / "index.json", folder / "frames.bin"
    if not (index.exists() and json.loads(index.read_text()) == wanted):
        index.unlink(missing_ok=True)
        with new_file(data) as temporary:
            _decode(chosen, spans, temporary, (height, width), progress)
        write_text(index, json.dumps(wanted))
    total = sum(s.count for s in spans)
    if data.stat().st_size != total * height * width * 3:
        raise DatasetError(
            f"{data} has {data.stat().st_size} bytes, expected {total * height * width * 3}: delete it and run again"
        )
    return ClipStore(np.memmap(data, np.uint8, "r", shape=(total, height, width, 3)), spans)


def _decode(
    episodes: list[Episode], spans: tuple[Span, ...], path: Path, size: tuple[int, int], progress: Callable[[int], None]
) -> None:
    """Write the frames of all episodes, each in its place, several episodes at a time, a chunk of each in memory."""
    done, writing = 0, Lock()
    with path.open("wb") as file, ThreadPoolExecutor(_threads(), "genie-decode") as pool:

        def decode(episode: Episode, span: Span) -> None:
            nonlocal done
            at, stop = span.first, span.first + span.count
            for chunk in episode.chunks(_CHUNK):
                frames = np.ascontiguousarray(resize_frames(chunk, *size))
                if at + len(frames) > stop:
                    break
                with writing:
                    file.seek(at * frames[0].nbytes)
                    file.write(frames.data)
                    done += len(frames)
                    progress(done)
                at += len(frames)
            if at != stop:
                raise DatasetError(
                    f"episode {episode.name} of {episode.source} has other than its {span.count} frames: it may have "
                    "changed or be damaged; leave it out"
                )

        tasks = [pool.submit(decode, *one) for one in zip(episodes, spans, strict=True)]
        try:
            for task in tasks:
                task.result()
        finally:
            for task in tasks:
                task.cancel()


def _threads() -> int:
    return min(_MOST_THREADS, os.cpu_count() or 1)


def _plan(episodes: list[Episode], fps: float, steps: AutoSteps | None = None) -> tuple[Span, ...]:
    if not episodes:
        raise DatasetError("there is no episode to train on")
    spans, first = [], 0
    for e, source in zip(episodes, _sources([Path(str(e.source)) for e in episodes]), strict=True):
        found = None if steps is None else steps.step(e.fps)
        if found is None and e.fps is None:
            raise DatasetError(f"fps: got none of episode {e.name} of {e.source}, expected its frames a second (--fps)")
        step = (found or resolve_step(e.fps, fps, None)).step
        least = step + 1 if found is None else 2  # no clip is drawn of those too short for a step that was found
        if e.num_frames < least:
            raise DatasetError(
                f"episode {e.name} of {e.source} has {e.num_frames} frames: training needs {least} at least"
            )
        spans.append(Span(e.name, source, first, e.num_frames, step, float(e.fps or fps * step)))
        first += e.num_frames
    return tuple(spans)


def _sources(files: list[Path]) -> list[str]:
    """Return each episode's origin: the file that holds several, or the folder where each has a file of its own.

    Names are the last parts of the paths, as many as make them unique.
    """
    episodes = Counter(files)
    folders = Counter(file.parent for file in episodes)
    places = [f if episodes[f] > 1 or folders[f.parent] == 1 else f.parent for f in files]
    different = set(places)
    parts = 1
    while len({place.parts[-parts:] for place in different}) < len(different):
        parts += 1
    return ["/".join(place.parts[-parts:]) for place in places]


__all__ = ["ClipStore", "Frames", "Span", "build_store", "stream_store"]
