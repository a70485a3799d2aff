"""Labels the episodes of one `bulk` run, several at a time, restarting those that a busy or lost server interrupted.

A whole episode is retried, which gives the same labels bit for bit; nothing of a failed try is kept.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

from genie_client.client import Client
from genie_client.errors import ServerBusyError, ServerError, ServerTimeoutError, ServerUnavailableError
from genie_client.patience import MOST_LOST, Patience, Tries, Waiting
from genie_client.records import HostedAlignment, ModelInfo, Timing
from genie_client.streams import LabelStream
from genie_core.data import (
    Density,
    Episode,
    EpisodePart,
    Frames,
    Labels,
    Step,
    Transport,
    resize_frames,
)
from genie_core.data.findings import Finding, note_findings, picture_findings, time_findings
from genie_core.data.frames.content import PictureWatch
from genie_core.data.labelled.exclusion import exclusions, without
from genie_core.data.labelled.fusing import fuse
from genie_core.errors import DatasetError, ModelError

_LEAST_FRAMES = 2

_QUIET_S = 1.0
"""Seconds since the run last advanced within which it does not count as waiting, whatever single episodes do."""

_T = TypeVar("_T")

_PASSING = (ServerBusyError, ServerUnavailableError, ServerTimeoutError)
"""No deadline is set here: a timeout means that the server has not heard from us for long."""


class BadEpisodeError(DatasetError):
    """An episode cannot be labelled, through no fault of the server or the output."""


@dataclass(frozen=True)
class Done:
    """A finished episode."""

    labels: Labels
    timing: Timing
    findings: tuple[Finding, ...] = ()


Outcome = tuple[Episode, Done | Exception]


class EpisodeWriter(Protocol):
    """Where finished episodes go: `LabelWriter`, or of one worker of many `PartWriter`."""

    def step(self, episode: Episode) -> Step:
        """Transition length for an episode."""

    def episode(self, episode: Episode) -> AbstractContextManager[EpisodePart]:
        """Write one episode, whole or not at all."""


@dataclass
class _Try:
    """Progress of one try: whether the server accepted the episode, and the fraction labelled."""

    accepted: bool = False
    done: float = 0.0


class BulkRun:
    """State shared by the episodes of one run. The writer is not thread-safe, so it is used under a lock."""

    def __init__(
        self,
        client: Client,
        writer: EpisodeWriter,
        info: ModelInfo,
        alignment: HostedAlignment | None,
        *,
        density: Density,
        feature: bool,
        transport: Transport,
        keep_frozen: bool,
        patience_s: float,
        advance: Callable[[float], None],
        wait: Callable[[Waiting | None], None],
    ) -> None:
        """`advance` is called with the episodes done since, `wait` with what the run waits for (None: it continues)."""
        self.writer = writer
        self.advance = advance
        self._client, self._info, self._alignment = client, info, alignment
        self._density: Density = density
        self._feature = feature
        self._transport: Transport = transport
        self._keep_frozen = keep_frozen
        self._patience = Patience(patience_s, _PASSING)
        self._tell = wait
        self._lock = threading.Lock()
        self._streams: set[LabelStream] = set()
        self._stopped = threading.Event()
        self._went_on = time.monotonic()
        self._waits = False

    def stop(self) -> None:
        """Cancel the episodes under way; they stay unfinished."""
        self._stopped.set()
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.close()

    def work(self, todo: SimpleQueue[Episode], done: SimpleQueue[Outcome]) -> None:
        """Label pending episodes until none are left, or `stop`; run it in its own thread."""
        while not self._stopped.is_set():
            try:
                episode = todo.get_nowait()
            except Empty:
                return
            try:
                outcome: Done | Exception = self.label(episode)
            except Exception as error:
                outcome = error
            done.put((episode, outcome))

    def label(self, episode: Episode) -> Done:
        """Label one episode and finish it in the output, restarting it as often as needed."""
        failures = lost = 0
        while True:
            this = _Try()
            try:
                return self._label(episode, this)
            except ServerError as error:
                self.advance(-this.done)
                lost += this.accepted
                failures = 1 if this.accepted else failures + 1
                if lost > MOST_LOST:
                    error.add_note(f"{episode.name} was lost {lost} times: it may be what crashes the server")
                    raise
                self._wait(error, failures)

    def _label(self, episode: Episode, this: _Try) -> Done:
        """Try once."""
        count = _count_frames(episode)
        for view in episode.views:
            if _count_frames(view) != count:
                raise BadEpisodeError(
                    f"{view.source}: {view.name}: camera {view.camera} has {view.num_frames} frames, "
                    f"expected {count} as of camera {episode.camera}"
                )
        _check_step(self.writer, episode, self._alignment)
        with _entered_under(self._lock, self.writer.episode(episode)) as part:
            seen = [self._label_view(view, count, part, this, episode) for view in (episode, *episode.views)]
            whole = seen[0].labels
            if episode.views:
                views = {view.camera: of.labels for view, of in zip((episode, *episode.views), seen, strict=True)}
                whole = fuse(views, self._info.label_model, self._info.usual_norm)
            with self._lock:
                part.add_labels(whole)
        timing = sum((of.timing for of in seen[1:]), seen[0].timing)
        return Done(whole, timing, tuple(finding for of in seen for finding in of.findings))

    def _label_view(self, view: Episode, count: int, part: EpisodePart, this: _Try, episode: Episode) -> Done:
        """Label the frames of one camera, `count` of them, of an episode that is being written to `part`."""
        watch, step = PictureWatch(), self.writer.step(episode).step
        with self._stream(view, step, part if view is episode else None, watch) as stream:
            self._check(stream)
            this.accepted = True
            parts = []
            for labels in stream:
                parts.append(labels)
                done = len(labels) / count / (1 + len(episode.views))
                this.done += done
                self.advance(done)
                self._go_on()
            whole = self._without_excluded(view, step, Labels.concatenate(parts), watch)
            with self._lock:
                part.computed_as(stream.provenance.computation)
        findings = (*note_findings(view), *picture_findings(watch.seen, view.fps), *time_findings(view))
        return Done(whole, stream.summary.timing, findings)

    def _without_excluded(self, episode: Episode, step: int, labels: Labels, watch: PictureWatch) -> Labels:
        reasons = exclusions(watch.seen, step, episode.fps, episode.moments, keep_frozen=self._keep_frozen)
        return without(labels, reasons)

    def _check(self, stream: LabelStream) -> None:
        """Raise ModelError if the server's model is not the one the run began with, as after a restart."""
        name, there, ours = self._info.name, stream.provenance, self._info
        if there.bundle_id != ours.bundle_id:
            raise ModelError(
                f"{name}: the server replaced the model during this run: bundle: got {there.bundle_id[:12]}, "
                f"expected {ours.bundle_id[:12]}; finish with that one, or overwrite what is there"
            )
        computes, wanted = there.computation.precision, ours.computation.precision
        if computes != wanted:
            raise ModelError(
                f"{name}: the server replaced the model during this run: precision: got {computes}, expected {wanted}"
            )
        if there.alignment != self._alignment:
            alignment = self._alignment.name if self._alignment else "none"
            raise ModelError(f"{name}: alignment {alignment} was replaced during this run")

    def _wait(self, error: ServerError, failures: int) -> None:
        """Wait for the next try. Raises `error` if patience has run out or the run is stopped."""
        wait_s = self._patience.next_wait_s(error, failures, self._quiet_s, random.random())
        if wait_s is None:
            if self._patience.seconds and isinstance(error, _PASSING):
                error.add_note(f"waited {self._quiet_s:.0f} s for it (--patience {self._patience.seconds:g})")
            raise error
        until, is_gone = time.monotonic() + wait_s, isinstance(error, ServerUnavailableError)
        while (left := until - time.monotonic()) > 0:
            if self._quiet_s >= _QUIET_S:
                self._waits = True
                self._tell(Waiting(error, self._quiet_s, self._patience.seconds))
            pause_until = time.monotonic() + min(left, _QUIET_S)
            is_gone = is_gone and not self._client.answers_within(min(left, _QUIET_S))
            if self._stopped.wait(max(0.0, pause_until - time.monotonic())):
                raise error

    @property
    def _quiet_s(self) -> float:
        """Seconds since any episode went on."""
        return time.monotonic() - self._went_on

    def _go_on(self) -> None:
        self._went_on = time.monotonic()
        if self._waits:
            self._waits = False
            self._tell(None)

    @contextmanager
    def _stream(
        self, episode: Episode, step: int, part: EpisodePart | None, watch: PictureWatch
    ) -> Iterator[LabelStream]:
        """Yield the labels of an episode as they arrive, until `stop`; `part` takes frames, None: nobody does."""
        with self._client.label_stream(
            self._chunks(episode, part, watch),
            model=self._info.name,
            resize=False,  # done by `_chunks`
            about=episode.name,
            fps=episode.fps,
            step=step,
            density=self._density,
            feature=self._feature,
            transport=self._transport,
            alignment=self._alignment.name if self._alignment else None,
            patience_s=0,  # ours
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

    def _chunks(self, episode: Episode, part: EpisodePart | None, watch: PictureWatch) -> Iterator[Frames]:
        """Yield frames at the model's size, storing them if the output keeps frames; runs in the sender's thread."""
        for chunk in _read(episode):
            watch.add(chunk)
            frames_THWC = resize_frames(chunk, *self._info.frame_size)
            # Otherwise there is nothing to wait for another episode's disk for.
            if part is not None and part.keeps_frames:
                with self._lock:
                    part.add_frames(frames_THWC)
            yield frames_THWC


def meet(client: Client, model: str | None, patience_s: float, wait: Callable[[Waiting | None], None]) -> ModelInfo:
    """Ask for the model, waiting up to `patience_s` seconds for a server that has not been started or is not ready.

    Raises what `Client.model` raises. `wait` is called with what is waited for, as in `BulkRun`.
    """
    tries = Tries(Patience(patience_s, _PASSING))
    while True:
        try:
            info = client.model(model)
        except ServerError as error:
            wait_s = tries.wait_s(error)
            if wait_s is None:
                if patience_s and isinstance(error, _PASSING):
                    error.add_note(f"waited {tries.waited_s:.0f} s for it (--patience {patience_s:g})")
                raise
            wait(Waiting(error, tries.waited_s, patience_s))
            time.sleep(wait_s)
            continue
        if tries.failures:
            wait(None)
        return info


def _count_frames(episode: Episode) -> int:
    """Return the number of frames. Raises BadEpisodeError if there are fewer than two, or the file is damaged."""
    try:
        count = episode.num_frames
    except DatasetError as error:
        raise BadEpisodeError(str(error)) from error
    if count < _LEAST_FRAMES:
        frames = "1 frame" if count == 1 else f"{count} frames"
        raise BadEpisodeError(f"{episode.source}: {episode.name}: got {frames}, expected at least 2")
    return count


def _check_step(writer: EpisodeWriter, episode: Episode, alignment: HostedAlignment | None) -> None:
    """Raise BadEpisodeError if the transition length is unknown, the stated frame rate is impossible, or the alignment
    is for another transition length.
    """
    try:
        step = writer.step(episode).step
    except DatasetError as error:
        for _ in _read(episode):  # frames that cannot be read are why no step was found in them, and told first
            pass
        raise BadEpisodeError(str(error)) from error
    if alignment is not None and alignment.step != step:
        raise BadEpisodeError(
            f"{episode.source}: {episode.name}: step: got {step} frames, "
            f"expected {alignment.step}, as alignment {alignment.name} decodes"
        )


def _read(episode: Episode) -> Iterator[Frames]:
    try:
        yield from episode.chunks()
    except DatasetError as error:
        raise BadEpisodeError(str(error)) from error


@contextmanager
def _entered_under(lock: threading.Lock, context: AbstractContextManager[_T]) -> Iterator[_T]:
    """Enter and leave `context` holding `lock`, which is released in between."""
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


__all__ = ["BadEpisodeError", "BulkRun", "Done", "EpisodeWriter", "Outcome", "meet"]
