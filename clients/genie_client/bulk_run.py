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

import numpy as np

from genie_client import messages
from genie_client.arguments import Labelling
from genie_client.client import Client
from genie_client.clip_call import ClipCall
from genie_client.episode_reading import BadEpisodeError, check_step, count_frames, read_chunks
from genie_client.errors import (
    ServerBusyError,
    ServerError,
    ServerNotReadyError,
    ServerTimeoutError,
    ServerUnavailableError,
)
from genie_client.meeting import PASSING
from genie_client.patience import MOST_LOST, Patience, Waiting
from genie_client.records import HostedAlignment, LabelProvenance, ModelInfo, Timing
from genie_client.streams import LabelStream
from genie_core.data import (
    Computation,
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
from genie_core.errors import ModelError, RequestError

_QUIET_S = 1.0
"""Seconds since the run last advanced within which it does not count as waiting, whatever single episodes do."""

_T = TypeVar("_T")
_Call = TypeVar("_Call", LabelStream, ClipCall)


@dataclass(frozen=True)
class Done:
    """A finished episode."""

    labels: Labels
    timing: Timing
    findings: tuple[Finding, ...] = ()


Outcome = tuple[Episode, Done | Exception]


class EpisodeWriter(Protocol):
    """Where finished episodes go: `LabelWriter`, or of one worker of many `PartWriter`."""

    @property
    def keeps_frames(self) -> bool:
        """Whether an episode's frames go there with its labels."""

    def step(self, episode: Episode) -> Step:
        """Transition length for an episode."""

    def episode(self, episode: Episode) -> AbstractContextManager[EpisodePart]:
        """Write one episode, whole or not at all."""


@dataclass
class _Try:
    """Progress of one try: whether the server accepted the episode, the fraction labelled, and whether each camera's
    frames went in one message.
    """

    accepted: bool = False
    done: float = 0.0
    whole: bool = False


@dataclass(frozen=True)
class _Seen:
    """What came of one camera of an episode."""

    labels: Labels
    timing: Timing
    computation: Computation
    findings: tuple[Finding, ...]


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
        self._patience = Patience(patience_s, PASSING)
        self._tell = wait
        self._lock = threading.Lock()
        self._calls: set[LabelStream | ClipCall] = set()
        self._takes_whole = True
        self._stopped = threading.Event()
        self._went_on = time.monotonic()
        self._waits = False

    def stop(self) -> None:
        """Cancel the episodes under way; they stay unfinished."""
        self._stopped.set()
        with self._lock:
            calls = list(self._calls)
        for call in calls:
            call.close()

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
        whole = self._takes_whole
        while True:
            this = _Try()
            try:
                return self._label(episode, this, whole)
            except RequestError:
                if not this.whole:
                    raise
                self._takes_whole = False
                self.advance(-this.done)
            except ServerError as error:
                self.advance(-this.done)
                self._takes_whole &= not (this.whole and _may_be_too_large(error))
                lost += this.accepted
                failures = 1 if this.accepted else failures + 1
                if lost > MOST_LOST:
                    error.add_note(f"{episode.name} was lost {lost} times: it may be what crashes the server")
                    raise
                self._wait(error, failures)
            whole = False  # a stream is accepted before it has sent anything, which the count of what was lost needs

    def _label(self, episode: Episode, this: _Try, whole: bool) -> Done:
        """Try once; `whole`: in one message a camera, if the episode is short enough."""
        count, views = count_frames(episode), (episode, *episode.views)
        for view in episode.views:
            if count_frames(view) != count:
                raise BadEpisodeError(
                    f"{view.source}: {view.name}: camera {view.camera} has {view.num_frames} frames, "
                    f"expected {count} as of camera {episode.camera}"
                )
        check_step(lambda: self.writer.step(episode), episode, self._alignment)
        height, width = self._info.frame_size
        if whole and count * height * width * 3 <= messages.CLIP_BYTES:
            this.whole = True
            return self._label_whole(episode, this)
        with _entered_under(self._lock, self.writer.episode(episode)) as part:
            seen = [self._label_view(view, count, part, this, episode) for view in views]
            with self._lock:
                return self._finished(episode, seen, part)

    def _label_whole(self, episode: Episode, this: _Try) -> Done:
        """Label an episode that is opened in the output when its labels are there, so that no other waits for that."""
        step, views = self.writer.step(episode).step, (episode, *episode.views)
        kept_THWC: Frames | None = None
        seen = []
        for view in views:
            watch = PictureWatch()
            chunks = list(self._chunks(view, None, watch))
            frames_THWC = np.concatenate(chunks) if len(chunks) > 1 else chunks[0]
            del chunks
            if view is episode and self.writer.keeps_frames:
                kept_THWC = frames_THWC
            with self._under_way(self._client.begin_clip(frames_THWC, **self._labelling(view, step))) as call:
                del frames_THWC
                labels = call.labels()
            self._check(labels.provenance)
            this.accepted = True
            found, made = self._without_excluded(view, step, labels, watch), labels.provenance.computation
            seen.append(_Seen(found, labels.summary.timing, made, self._findings(view, watch)))
            this.done += 1 / len(views)
            self.advance(1 / len(views))
            self._go_on()
        with self._lock, self.writer.episode(episode) as part:
            if kept_THWC is not None:
                part.add_frames(kept_THWC)
            return self._finished(episode, seen, part)

    def _label_view(self, view: Episode, count: int, part: EpisodePart, this: _Try, episode: Episode) -> _Seen:
        """Label the frames of one camera, `count` of them, of an episode that is being written to `part`."""
        watch, step = PictureWatch(), self.writer.step(episode).step
        with self._stream(view, step, part if view is episode else None, watch) as stream:
            self._check(stream.provenance)
            this.accepted = True
            parts = []
            for labels in stream:
                parts.append(labels)
                done = len(labels) / count / (1 + len(episode.views))
                this.done += done
                self.advance(done)
                self._go_on()
            whole = self._without_excluded(view, step, Labels.concatenate(parts), watch)
            made = stream.provenance.computation
        return _Seen(whole, stream.summary.timing, made, self._findings(view, watch))

    def _finished(self, episode: Episode, seen: list[_Seen], part: EpisodePart) -> Done:
        """Write the labels of an episode, fused if there are several cameras, into its part; under the lock."""
        labels = seen[0].labels
        if episode.views:
            views = {view.camera: of.labels for view, of in zip((episode, *episode.views), seen, strict=True)}
            labels = fuse(views, self._info.label_model, self._info.latent_radius)
        for of in seen:
            part.computed_as(of.computation)
        part.add_labels(labels)
        timing = sum((of.timing for of in seen[1:]), seen[0].timing)
        return Done(labels, timing, tuple(finding for of in seen for finding in of.findings))

    def _findings(self, view: Episode, watch: PictureWatch) -> tuple[Finding, ...]:
        return (*note_findings(view), *picture_findings(watch.seen, view.fps), *time_findings(view))

    def _without_excluded(self, episode: Episode, step: int, labels: Labels, watch: PictureWatch) -> Labels:
        reasons = exclusions(watch.seen, step, episode.fps, episode.moments, keep_frozen=self._keep_frozen)
        return without(labels, reasons)

    def _check(self, there: LabelProvenance) -> None:
        """Raise ModelError if the server's model is not the one the run began with, as after a restart."""
        name, ours = self._info.name, self._info
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
            if self._patience.seconds and isinstance(error, PASSING):
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
        begun = self._client.label_stream(self._chunks(episode, part, watch), **self._labelling(episode, step))
        with self._under_way(begun) as stream:
            yield stream

    def _labelling(self, episode: Episode, step: int) -> Labelling:
        """Return the options of the calls that label an episode."""
        return Labelling(
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
        )

    @contextmanager
    def _under_way(self, call: _Call) -> Iterator[_Call]:
        """Let `stop` end a call until the block ends, which ends it too."""
        with call:
            with self._lock:
                self._calls.add(call)
            if self._stopped.is_set():
                call.close()
            try:
                yield call
            finally:
                with self._lock:
                    self._calls.discard(call)

    def _chunks(self, episode: Episode, part: EpisodePart | None, watch: PictureWatch) -> Iterator[Frames]:
        """Yield frames at the model's size, storing them if the output keeps frames; runs in the sender's thread."""
        for chunk in read_chunks(episode):
            watch.add(chunk)
            frames_THWC = resize_frames(chunk, *self._info.frame_size)
            # Otherwise there is nothing to wait for another episode's disk for.
            if part is not None and part.keeps_frames:
                with self._lock:
                    part.add_frames(frames_THWC)
            yield frames_THWC


def _may_be_too_large(error: ServerError) -> bool:
    """Return whether the size of a message may be why it failed: refused for good, or too long on its way."""
    refused = isinstance(error, ServerBusyError) and not isinstance(error, ServerNotReadyError)
    return isinstance(error, ServerTimeoutError) or (refused and error.retry_after_s is None)


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


__all__ = ["BulkRun", "Done", "EpisodeWriter", "Outcome"]
