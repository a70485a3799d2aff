"""LabellingService: from episodes and clips to latent-action labels, with robot actions if requested."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractContextManager, aclosing, closing
from functools import partial

import numpy as np
from numpy.typing import NDArray

from genie_api.v1 import labelling_pb2, labelling_pb2_grpc
from genie_core.alignment import ActionStream
from genie_core.data.labelled.labels import Labels
from genie_core.errors import RequestError
from genie_core.inference import Labeller
from genie_core.inference.labeller import Encoded
from genie_service.acceptance import Announcement
from genie_service.alignments import Alignments, LoadedAlignment
from genie_service.calls import current_call
from genie_service.counting import Counts
from genie_service.engine import Engine
from genie_service.interceptors.wrapping import Context
from genie_service.job import Job
from genie_service.loaded_model import LoadedModel
from genie_service.registry import ModelRegistry
from genie_service.servicers.frame_reading import FrameReading
from genie_service.servicers.label_requests import (
    LabelRun,
    check_feature,
    count_transitions,
    label_messages,
    labels_message,
    plan_labels,
    provenance_message,
)
from genie_service.servicers.names import model_name
from genie_service.servicers.timing import Clock
from genie_service.shares import Share
from genie_service.streams import next_or_none, part_of, read_ahead
from genie_service.workers import Workers

LEAST_FRAMES = 2

Chunk = NDArray[np.uint8]
"""(T, H, W, 3) consecutive frames of an episode."""

HeldChunk = tuple[Chunk, Share]
"""Frames, and the memory that they take."""


class LabellingServicer(labelling_pb2_grpc.LabellingServiceServicer):
    """Labels with the registry's models on the engine."""

    def __init__(
        self,
        registry: ModelRegistry,
        alignments: Alignments,
        engine: Engine,
        reading: FrameReading,
        max_wait_s: float,
        idle_seconds: float,
        counts: Counts,
    ) -> None:
        self._registry = registry
        self._alignments = alignments
        self._engine = engine
        self._reading = reading
        self._max_wait_s = max_wait_s
        self._idle_seconds = idle_seconds
        self._counts = counts

    async def LabelClip(
        self, request: labelling_pb2.LabelClipRequest, context: Context
    ) -> labelling_pb2.LabelClipResponse:
        """Label one clip."""
        async with self._registry.lease(model_name(request.options.model, "options.model")) as model:
            plan = plan_labels(request.options, model.bundle.config, "options")
            check_feature(plan, model, "options")
            aligned = await self._alignment(request.options, model, plan, "options")
            if request.frames.count < LEAST_FRAMES:
                raise RequestError("frames.count", f"got {request.frames.count}, expected at least 2 frames in a clip")
            call = current_call()
            self._reading.check(request.frames, "frames")
            count, labeller = request.frames.count, model.labeller
            job = call.ending.enter_context(closing(self._engine.job(call.client)))
            work = {model.encode: plan.first_pieces(count)}
            rounds = plan.rounds(count)
            job.announce(Announcement(work, remaining_s=call.remaining_s, rounds=rounds), refusable=True)
            stream_bytes = labeller.stream_bytes(plan.step, plan.density, count, feature=plan.feature)
            with call.waiting(self._max_wait_s) as may_s:
                await call.memory.room_to_work(count * labeller.frame_bytes + stream_bytes, may_s)
            size = (labeller.height, labeller.width)
            frames = await self._reading.read(request.frames, "frames", size, refusable=True)
            call.frames = len(frames)
            episode = _Labelling(model, plan, aligned, job, self._reading.workers)
            episode.feed(frames)
            episode.end()
            parts = [part async for part in episode.final()]
            labels = Labels.concatenate([*parts, await episode.rest()])
            self._count(model, labels)
            return labelling_pb2.LabelClipResponse(
                provenance=provenance_message(model, plan, aligned),
                labels=labels_message(labels),
                timing=Clock(job, self._counts.calls).lap(),
            )

    async def LabelEpisode(
        self, request_iterator: AsyncIterator[labelling_pb2.LabelEpisodeRequest], context: Context
    ) -> AsyncIterator[labelling_pb2.LabelEpisodeResponse]:
        """Label one episode of any length while it arrives.

        Fewer than 2 frames are an error. An episode of at least 2 frames but no longer than the step has no transition:
        all its labels are invalid.
        """
        options = await self._read_header(request_iterator)
        async with self._registry.lease(model_name(options.model, "header.model")) as model:
            plan = plan_labels(options, model.bundle.config, "header")
            check_feature(plan, model, "header")
            aligned = await self._alignment(options, model, plan, "header")
            call, transitions = current_call(), 0
            job = call.ending.enter_context(closing(self._engine.job(call.client)))
            job.announce(Announcement({model.encode: plan.first_pieces()}, remaining_s=call.remaining_s))
            yield labelling_pb2.LabelEpisodeResponse(header=provenance_message(model, plan, aligned))
            chunks = self._chunks(request_iterator, model.labeller, plan)
            episode = _Labelling(model, plan, aligned, job, self._reading.workers)
            async with aclosing(self._label(chunks, episode)) as parts:
                async for labels in parts:
                    transitions += count_transitions(labels)
                    if len(labels):
                        self._count(model, labels)
                    for message in label_messages(labels):
                        yield labelling_pb2.LabelEpisodeResponse(labels=message)
            timing = Clock(job, self._counts.calls).lap()
            summary = labelling_pb2.LabelSummary(frames=call.frames, transitions=transitions, timing=timing)
            yield labelling_pb2.LabelEpisodeResponse(summary=summary)

    def _count(self, model: LoadedModel, labels: Labels) -> None:
        self._counts.labels.add(model.name, model.bundle.config.lam.quantizer.codes, labels)

    async def _read_header(
        self, requests: AsyncIterator[labelling_pb2.LabelEpisodeRequest]
    ) -> labelling_pb2.LabelOptions:
        first = await next_or_none(requests, current_call().silence, self._idle_seconds)
        if first is None:
            raise RequestError("header", "the stream ended without one")
        if not first.HasField("header"):
            raise RequestError("header", f"the first message holds {part_of(first)}, expected the header")
        return first.header

    async def _alignment(
        self, options: labelling_pb2.LabelOptions, model: LoadedModel, plan: LabelRun, field: str
    ) -> LoadedAlignment | None:
        """Return the alignment that the request asks for."""
        if not options.alignment:
            return None
        return await self._alignments.load(model.bundle.info, options.alignment, plan.step, f"{field}.alignment")

    async def _label(self, chunks: AsyncGenerator[HeldChunk], episode: _Labelling) -> AsyncGenerator[Labels]:
        """Yield labels as they become final; the next chunk is read and prepared meanwhile."""
        call = current_call()
        async with aclosing(read_ahead(chunks, call.silence, self._idle_seconds)) as chunks_ahead:
            async for frames, held in chunks_ahead:
                call.frames += len(frames)
                episode.feed(frames)
                del frames
                with episode.going_on():
                    async with aclosing(episode.final()) as parts:
                        async for labels in parts:
                            yield labels
                held.release()  # the rest, less than a block of each phase, is covered by the call's work memory
        if call.frames < LEAST_FRAMES:
            raise RequestError("frames", f"got {call.frames}, expected at least 2 frames in an episode")
        episode.end()
        async with aclosing(episode.final()) as parts:
            async for labels in parts:
                yield labels
        yield await episode.rest()

    async def _chunks(
        self, requests: AsyncIterator[labelling_pb2.LabelEpisodeRequest], labeller: Labeller, plan: LabelRun
    ) -> AsyncGenerator[HeldChunk]:
        """Yield the frames of each message after the header, which must all have the same size.

        Memory for the whole episode is reserved when its first frames have arrived: a call that has begun is never
        refused, and one that waits holds no more than that message.
        """
        memory = current_call().memory
        size: tuple[int, int] | None = None
        async for request in requests:
            if not request.HasField("frames"):
                raise RequestError("frames", f"a message after the first holds {part_of(request)}, expected frames")
            came = (request.frames.height, request.frames.width)
            if size is not None and came != size:
                raise _size_changed(size, came)
            size = came
            self._reading.check(request.frames, "frames")
            await memory.room_to_work(labeller.stream_bytes(plan.step, plan.density, feature=plan.feature))
            held = memory.scratch(request.frames.count * labeller.frame_bytes)
            yield await self._reading.read(request.frames, "frames", (labeller.height, labeller.width)), held


def _size_changed(size: tuple[int, int], came: tuple[int, int]) -> RequestError:
    field = "frames.height" if came[0] != size[0] else "frames.width"
    wanted = f"expected {size[0]} x {size[1]} as in the stream's first frames"
    return RequestError(field, f"got frames of {came[0]} x {came[1]}, {wanted}")


class _Labelling:
    """One episode: frames in, labels out, with robot actions if an alignment was requested."""

    def __init__(
        self, model: LoadedModel, plan: LabelRun, aligned: LoadedAlignment | None, job: Job, workers: Workers
    ) -> None:
        self._model = model
        self._job = job
        self._run = partial(workers.run, current_call().client)
        self._stream = model.labeller.stream(plan.step, plan.density, feature=plan.feature)
        self._actions = None if aligned is None else ActionStream(aligned.alignment)

    def feed(self, frames: Chunk) -> None:
        """Add the next frames, of the model's size."""
        self._stream.feed(frames)
        if self._actions is not None:
            self._actions.feed(frames)

    def going_on(self) -> AbstractContextManager[None]:
        """Expect more frames while the block lasts."""
        return self._job.going_on(self._model.encode)

    def end(self) -> None:
        """Mark the end of the frames."""
        self._stream.end()

    async def final(self) -> AsyncGenerator[Labels]:
        """Yield what has become final with the frames so far; others get a turn in between, and a cancelled call stops.

        The device receives the next blocks before the labels are sent, so that it need not wait for the sending.
        """
        coming = self._begin()
        try:
            while coming is not None:
                labels = self._stream.take(await coming)
                coming = self._begin()
                yield await self._decoded(labels)
        finally:
            if coming is not None:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
            del coming  # it may hold what was raised, which holds this frame: the episode would never be freed

    def _begin(self) -> asyncio.Task[list[Encoded]] | None:
        """Hand the next blocks to the device, if there are any."""
        blocks = self._stream.work()
        return asyncio.create_task(self._job.run_all(self._model.encode, blocks)) if blocks else None

    async def rest(self) -> Labels:
        """Return the labels of the last frames, which are invalid."""
        return await self._decoded(self._stream.rest())

    async def _decoded(self, labels: Labels) -> Labels:
        """Return labels with actions, computed off the event loop and off the device, a bounded part at a time."""
        return labels if self._actions is None else await self._run(partial(self._actions.decode, labels))


__all__ = ["LabellingServicer"]
