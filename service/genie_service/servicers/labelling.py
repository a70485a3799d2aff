"""LabellingService: episodes and clips of frames in, latent-action labels out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import numpy as np
from numpy.typing import NDArray

from genie_api.v1 import frames_pb2, labelling_pb2, labelling_pb2_grpc
from genie_core.data.labels import Labels
from genie_core.data.resize import resize_frames
from genie_core.errors import RequestError
from genie_core.inference import Labeller, LabelStream
from genie_service.calls import current_call
from genie_service.engine import Engine, Job
from genie_service.frames import FrameLimits, decode_frames
from genie_service.interceptors.wrapping import Context
from genie_service.loaded_model import LoadedModel
from genie_service.registry import ModelRegistry
from genie_service.servicers.label_requests import (
    count_transitions,
    labels_message,
    plan_labels,
    provenance_message,
)
from genie_service.servicers.names import model_name
from genie_service.servicers.timing import Clock
from genie_service.streams import next_or_none, part_of, read_ahead

LEAST_FRAMES = 2

Chunk = NDArray[np.uint8]
"""(T, H, W, 3) consecutive frames of an episode."""


class LabellingServicer(labelling_pb2_grpc.LabellingServiceServicer):
    """Labels with the registry's models on the engine."""

    def __init__(self, registry: ModelRegistry, engine: Engine, limits: FrameLimits, idle_seconds: float) -> None:
        self._registry = registry
        self._engine = engine
        self._limits = limits
        self._idle_seconds = idle_seconds

    async def LabelClip(
        self, request: labelling_pb2.LabelClipRequest, context: Context
    ) -> labelling_pb2.LabelClipResponse:
        """Label one clip."""
        async with self._registry.lease(model_name(request.options.model, "options.model")) as model:
            plan = plan_labels(request.options, model.bundle.config.fps, "options")
            if request.frames.count < LEAST_FRAMES:
                raise RequestError("frames.count", f"a clip needs at least 2 frames, got {request.frames.count}")
            frames = await self._read_frames(request.frames, model.labeller)
            current_call().frames = len(frames)
            job, stream = self._engine.job(current_call().peer), model.labeller.stream(plan.step, plan.density)
            stream.feed(frames)
            stream.end()
            parts = [part async for part in _labels(stream, job, model)]
            return labelling_pb2.LabelClipResponse(
                provenance=provenance_message(model, plan),
                labels=labels_message(Labels.concatenate([*parts, stream.rest()])),
                timing=Clock(job).lap(),
            )

    async def LabelEpisode(
        self, request_iterator: AsyncIterator[labelling_pb2.LabelEpisodeRequest], context: Context
    ) -> AsyncIterator[labelling_pb2.LabelEpisodeResponse]:
        """Label one episode of any length while it arrives.

        Fewer than 2 frames are an error. An episode of 2 frames or more but no longer than the step has no transition:
        all its labels are invalid.
        """
        options = await self._read_header(request_iterator)
        async with self._registry.lease(model_name(options.model, "header.model")) as model:
            plan = plan_labels(options, model.bundle.config.fps, "header")
            yield labelling_pb2.LabelEpisodeResponse(header=provenance_message(model, plan))
            job, stream = self._engine.job(current_call().peer), model.labeller.stream(plan.step, plan.density)
            transitions = 0
            chunks = self._chunks(request_iterator, model.labeller)
            async with aclosing(self._label(chunks, stream, job, model)) as parts:
                async for labels in parts:
                    transitions += count_transitions(labels)
                    if len(labels):
                        yield labelling_pb2.LabelEpisodeResponse(labels=labels_message(labels))
            summary = labelling_pb2.LabelSummary(
                frames=current_call().frames, transitions=transitions, timing=Clock(job).lap()
            )
            yield labelling_pb2.LabelEpisodeResponse(summary=summary)

    async def _read_header(
        self, requests: AsyncIterator[labelling_pb2.LabelEpisodeRequest]
    ) -> labelling_pb2.LabelOptions:
        first = await next_or_none(requests, self._idle_seconds)
        if first is None:
            raise RequestError("header", "the stream ended without one")
        if not first.HasField("header"):
            raise RequestError("header", f"the first message holds {part_of(first)}, wanted the header")
        return first.header

    async def _label(
        self, chunks: AsyncGenerator[Chunk], stream: LabelStream, job: Job, model: LoadedModel
    ) -> AsyncGenerator[Labels]:
        """Labels as they become final, to the last; the next chunk is read and made ready meanwhile."""
        call = current_call()
        async with aclosing(read_ahead(chunks, self._idle_seconds)) as chunks_ahead:
            async for frames in chunks_ahead:
                call.frames += len(frames)
                stream.feed(frames)
                async for labels in _labels(stream, job, model):
                    yield labels
        if call.frames < LEAST_FRAMES:
            raise RequestError("frames", f"an episode needs at least 2 frames, got {call.frames}")
        stream.end()
        async for labels in _labels(stream, job, model):
            yield labels
        yield stream.rest()

    async def _chunks(
        self, requests: AsyncIterator[labelling_pb2.LabelEpisodeRequest], labeller: Labeller
    ) -> AsyncGenerator[Chunk]:
        """Frames of each message after the header, which must all be of one size."""
        size: tuple[int, int] | None = None
        async for request in requests:
            if not request.HasField("frames"):
                raise RequestError("frames", f"a message after the first holds {part_of(request)}, wanted frames")
            came = (request.frames.height, request.frames.width)
            if size is not None and came != size:
                raise _size_changed(size, came)
            size = came
            yield await self._read_frames(request.frames, labeller)

    async def _read_frames(self, message: frames_pb2.Frames, labeller: Labeller) -> Chunk:
        """Frames at the model's size. Resizing is exact, so doing it here, off the device, changes no label."""
        frames = await decode_frames(message, "frames", self._limits)
        return await asyncio.to_thread(resize_frames, frames, labeller.height, labeller.width)


def _size_changed(size: tuple[int, int], came: tuple[int, int]) -> RequestError:
    field = "frames.height" if came[0] != size[0] else "frames.width"
    wanted = f"wanted {size[0]} x {size[1]} as in the stream's first frames"
    return RequestError(field, f"got frames of {came[0]} x {came[1]}, {wanted}")


async def _labels(stream: LabelStream, job: Job, model: LoadedModel) -> AsyncIterator[Labels]:
    """What has become final with the frames so far; in between others get their turn, and a cancelled call stops."""
    while blocks := stream.work():
        yield stream.take(await job.run_all(model.encode, blocks))


__all__ = ["LabellingServicer"]
