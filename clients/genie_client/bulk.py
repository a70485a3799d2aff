"""Labels a whole dataset into a file: several episodes in flight, each finished one safe, a stopped run resumable."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from genie_client.client import Client
from genie_client.records import Alignment, ModelInfo, Timing
from genie_client.streams import LabelStream
from genie_core.data import (
    Dataset,
    Density,
    Episode,
    EpisodePart,
    Existing,
    Frames,
    FramesMode,
    LabelAlignment,
    LabelModel,
    Labels,
    LabelWriter,
    Step,
    Transport,
    resize_frames,
)
from genie_core.errors import DatasetError, GenieError, ModelError

_LEAST_FRAMES = 2

_T = TypeVar("_T")


@dataclass(frozen=True)
class LabelPlan:
    """How a dataset is labelled.

    Attributes:
        output: file to write; the dataset's own with ``frames="in_place"``.
        model: name of a model on the server; its default model where None.
        step: transition length in frames; from each episode's frame rate where None.
        density: which frames are labelled.
        frames: where the frames of the output are; see `FramesMode`, None for the format's default.
        existing: what to do where the output exists.
        transport: how frames are sent; see `Client.label`.
        alignment: name of the model's alignment whose actions are written beside the labels; None: none are.
        jobs: episodes in flight, 1 or more: the server labels that many at once, each in order.
        skip_bad: leave out episodes that cannot be labelled, and say so, instead of stopping.

    """

    output: Path
    model: str | None = None
    step: int | None = None
    density: Density = "dense"
    frames: FramesMode | None = None
    existing: Existing = "refuse"
    transport: Transport = "raw"
    alignment: str | None = None
    jobs: int = 16
    skip_bad: bool = False


@dataclass
class LabelReport:
    """What a run has done; filled as it goes.

    Attributes:
        model: what labelled.
        output: the file.
        episodes: episodes of the dataset.
        found: of these, finished by an earlier run.
        labelled: of these, finished by this run.
        frames: frames labelled by this run.
        transitions: valid labels of this run.
        histogram: (codes,) int64, how often this run gave each code.
        confidence_sum: (codes,) float64, sum of the confidences with which it did.
        steps: each transition length that this run used, with the effective frame rate.
        skipped: name and reason of each episode that was left out.
        timing: where the server's time for each episode went, summed over the episodes of this run.
        seconds: wall time of this run.
        alignment: what decoded the robot's actions; None: nothing did.

    """

    model: ModelInfo
    output: Path
    episodes: int
    found: int
    labelled: int = 0
    frames: int = 0
    transitions: int = 0
    histogram: NDArray[np.int64] = field(init=False)
    confidence_sum: NDArray[np.float64] = field(init=False)
    steps: set[Step] = field(default_factory=set)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    timing: Timing = field(default_factory=Timing)
    seconds: float = 0.0
    alignment: Alignment | None = None

    @property
    def confidence(self) -> NDArray[np.float64]:
        """(codes,) mean confidence of each code, 0 where it was not used."""
        return self.confidence_sum / np.maximum(self.histogram, 1)

    def __post_init__(self) -> None:
        self.histogram = np.zeros(self.model.num_codes, np.int64)
        self.confidence_sum = np.zeros(self.model.num_codes)

    def add(self, labels: Labels, step: Step, timing: Timing) -> None:
        """Count one more episode."""
        self.timing += timing
        codes, confidence = labels.code[labels.valid], labels.confidence[labels.valid]
        self.labelled += 1
        self.frames += len(labels)
        self.transitions += int(labels.valid.sum())
        self.histogram += np.bincount(codes, minlength=self.model.num_codes)
        self.confidence_sum += np.bincount(codes, confidence, minlength=self.model.num_codes)
        self.steps.add(step)


@dataclass(frozen=True)
class _Done:
    """A finished episode."""

    labels: Labels
    timing: Timing


_Outcome = tuple[Episode, _Done | Exception]


class BadEpisodeError(DatasetError):
    """An episode that cannot be labelled, through no fault of the server or the output."""


def label_dataset(
    client: Client, dataset: Dataset, plan: LabelPlan, advance: Callable[[float], None] = lambda episodes: None
) -> LabelReport:
    """Label every episode of `dataset` that the output does not hold yet, and write the output when all are done.

    `advance` is told, from any thread, of how many more episodes are done, in fractions.

    Whatever stops a run, its finished episodes stand, and the same call goes on from there. Raises a `GenieError` (or
    KeyboardInterrupt) with a note that says how far the run came: BadEpisodeError for an episode of fewer than two
    frames or whose file is damaged, unless ``skip_bad``; otherwise what `Client.label_stream` and `LabelWriter` raise.
    """
    info = client.model(plan.model)
    alignment = None if plan.alignment is None else find_alignment(info, plan.alignment)
    model = LabelModel(info.bundle_id, info.name, info.fps, info.codebook, info.precision)
    with LabelWriter(
        plan.output,
        dataset,
        model,
        step=plan.step,
        density=plan.density,
        frames=plan.frames,
        transport=plan.transport,
        alignment=_label_alignment(alignment),
        existing=plan.existing,
    ) as writer:
        return _label_into(writer, client, dataset, plan, info, alignment, advance)


def _label_into(
    writer: LabelWriter,
    client: Client,
    dataset: Dataset,
    plan: LabelPlan,
    info: ModelInfo,
    alignment: Alignment | None,
    advance: Callable[[float], None],
) -> LabelReport:
    pending = writer.pending()
    found = len(dataset.episodes) - len(pending)
    report = LabelReport(info, plan.output, len(dataset.episodes), found, alignment=alignment)
    run = _Run(client, writer, info, alignment, plan, advance)
    advance(report.found)
    began = time.monotonic()
    try:
        _label_all(run, pending, report)
        _refuse_nothing(report)
        writer.finish(allow_missing=plan.skip_bad)
    except (GenieError, KeyboardInterrupt) as error:
        done = report.episodes - len(writer.pending())
        error.add_note(f"{done} of {report.episodes} episodes are finished; the same command goes on from there")
        raise
    finally:
        report.seconds = time.monotonic() - began
    return report


def _refuse_nothing(report: LabelReport) -> None:
    """Raise DatasetError where every episode was left out: a file of no episodes is not what anybody asked for."""
    if report.skipped and not report.found and not report.labelled:
        name, reason = report.skipped[0]
        raise DatasetError(f"none of {report.episodes} episodes can be labelled; {name}: {reason}")


def _label_all(run: _Run, pending: list[Episode], report: LabelReport) -> None:
    """Label the episodes, `jobs` at a time, begun in the order of the dataset."""
    todo: SimpleQueue[Episode] = SimpleQueue()
    done: SimpleQueue[_Outcome] = SimpleQueue()
    for episode in pending:
        todo.put(episode)
    workers = [threading.Thread(target=run.work, args=(todo, done), name="genie-label") for _ in range(run.plan.jobs)]
    try:
        for worker in workers:
            worker.start()
        for _ in pending:  # Ctrl-C strikes this thread, which holds no lock while it waits here
            episode, outcome = done.get()
            _count(run, report, episode, outcome)
    finally:
        run.stop()
        for worker in filter(threading.Thread.is_alive, workers):
            worker.join()


def _count(run: _Run, report: LabelReport, episode: Episode, outcome: _Done | Exception) -> None:
    if isinstance(outcome, _Done):
        report.add(outcome.labels, run.writer.step(episode), outcome.timing)
    elif isinstance(outcome, BadEpisodeError) and run.plan.skip_bad:
        report.skipped.append((episode.name, str(outcome)))
        run.advance(1.0)
    else:
        raise outcome


class _Run:
    """What the episodes of one run share. The writer takes one thread at a time, so it is used under a lock."""

    def __init__(
        self,
        client: Client,
        writer: LabelWriter,
        info: ModelInfo,
        alignment: Alignment | None,
        plan: LabelPlan,
        advance: Callable[[float], None],
    ) -> None:
        self.client = client
        self.writer = writer
        self.info = info
        self.alignment = alignment
        self.plan = plan
        self.advance = advance
        self._lock = threading.Lock()
        self._streams: set[LabelStream] = set()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the episodes under way; they are not finished."""
        self._stopped.set()
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.close()

    def work(self, todo: SimpleQueue[Episode], done: SimpleQueue[_Outcome]) -> None:
        """Label what is to be done until there is no more, or `stop`; for a thread of its own."""
        while not self._stopped.is_set():
            try:
                episode = todo.get_nowait()
            except Empty:
                return
            try:
                outcome: _Done | Exception = self.label(episode)
            except Exception as error:
                outcome = error
            done.put((episode, outcome))

    def label(self, episode: Episode) -> _Done:
        """Label one episode and finish it in the output."""
        count = _count_frames(episode)
        _check_step(self.writer, episode, self.alignment)
        with _entered_under(self._lock, self.writer.episode(episode)) as part, self._stream(episode, part) as stream:
            if (stream.provenance.bundle_id, stream.provenance.precision) != (self.info.bundle_id, self.info.precision):
                raise ModelError(f"{self.info.name}: the server has replaced the model during this run")
            if stream.provenance.alignment != self.alignment:
                raise ModelError(f"{self.info.name}: alignment {self.plan.alignment} was replaced during this run")
            parts = []
            for labels in stream:
                parts.append(labels)
                self.advance(len(labels) / count)
            whole = Labels.concatenate(parts)
            with self._lock:
                part.add_labels(whole)
        return _Done(whole, stream.summary.timing)

    @contextmanager
    def _stream(self, episode: Episode, part: EpisodePart) -> Iterator[LabelStream]:
        """The labels of an episode as they come, until `stop`."""
        step = self.writer.step(episode).step
        with self.client.label_stream(
            self._chunks(episode, part),
            model=self.info.name,
            resize=False,  # done by `_chunks`
            about=episode.name,
            fps=episode.fps,
            step=step,
            density=self.plan.density,
            transport=self.plan.transport,
            alignment=self.plan.alignment,
        ) as stream:
            with self._lock:
                self._streams.add(stream)
            if self._stopped.is_set():
                stream.close()
            try:
                yield stream
            finally:
                with self._lock:
                    self._streams.discard(stream)

    def _chunks(self, episode: Episode, part: EpisodePart) -> Iterator[Frames]:
        """The frames at the model's size, kept on the way where the output wants them; read in the sender's thread."""
        for chunk in _read(episode):
            frames_THWC = resize_frames(chunk, *self.info.frame_size)
            if part.keeps_frames:  # otherwise there is nothing to wait for another episode's disk for
                with self._lock:
                    part.add_frames(frames_THWC)
            yield frames_THWC


def _count_frames(episode: Episode) -> int:
    """How many frames there are; raises BadEpisodeError where they are too few, or the file is damaged."""
    try:
        count = episode.num_frames
    except DatasetError as error:
        raise BadEpisodeError(str(error)) from error
    if count < _LEAST_FRAMES:
        frames = "1 frame" if count == 1 else f"{count} frames"
        raise BadEpisodeError(f"{episode.source}: {episode.name} has {frames}, wanted 2 or more")
    return count


def find_alignment(info: ModelInfo, name: str) -> Alignment:
    """The model's alignment of that name. Raises ModelError, naming those there are, where it cannot be used."""
    for alignment in info.alignments:
        if alignment.name == name and alignment.problem:
            raise ModelError(f"alignment {name} cannot be used: {alignment.problem}")
        if alignment.name == name:
            return alignment
    there = ", ".join(alignment.name for alignment in info.alignments) or "none; `genie align` makes them"
    raise ModelError(f"{info.name} has no alignment {name}; there are: {there}")


def _label_alignment(alignment: Alignment | None) -> LabelAlignment | None:
    if alignment is None:
        return None
    return LabelAlignment(alignment.name, alignment.alignment_id, alignment.action_names)


def _check_step(writer: LabelWriter, episode: Episode, alignment: Alignment | None) -> None:
    """Raise BadEpisodeError where nothing says how long a transition is, the data state a rate that can be none, or
    the alignment is for transitions of another length.
    """
    try:
        step = writer.step(episode).step
    except DatasetError as error:
        raise BadEpisodeError(str(error)) from error
    if alignment is not None and alignment.step != step:
        raise BadEpisodeError(
            f"{episode.source}: transitions of {episode.name} are {step} frames long, "
            f"those that alignment {alignment.name} decodes {alignment.step}"
        )


def _read(episode: Episode) -> Iterator[Frames]:
    try:
        yield from episode.chunks()
    except DatasetError as error:
        raise BadEpisodeError(str(error)) from error


@contextmanager
def _entered_under(lock: threading.Lock, context: AbstractContextManager[_T]) -> Iterator[_T]:
    """Enter and leave `context` while holding `lock`, which is free in between."""
    with lock:
        value = context.__enter__()
    try:
        yield value
    except BaseException:
        with lock:
            context.__exit__(*sys.exc_info())
        raise
    with lock:
        context.__exit__(None, None, None)


__all__ = ["BadEpisodeError", "LabelPlan", "LabelReport", "find_alignment", "label_dataset"]
