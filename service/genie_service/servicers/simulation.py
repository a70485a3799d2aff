"""SimulationService: from a prompt and latent actions to the frames that follow."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, closing

import numpy as np

from genie_api.v1 import frames_pb2, simulation_pb2, simulation_pb2_grpc
from genie_core.data import Frames, resize_frames
from genie_core.errors import RequestError
from genie_core.inference import Rollout
from genie_core.inference.asked import Latent
from genie_core.inference.confidence import Calibration, ReadBack, read_calibration
from genie_core.inference.simulator import asked_for
from genie_core.models.config import ModelConfig
from genie_service.acceptance import Announcement
from genie_service.alignments import Alignments
from genie_service.calls import Call, current_call
from genie_service.counting import CallCounts
from genie_service.engine import Engine
from genie_service.fair_queue import Operation
from genie_service.frames import CHANNELS
from genie_service.interceptors.wrapping import Context
from genie_service.job import Job
from genie_service.loaded_model import LoadedModel
from genie_service.patience import Waiters
from genie_service.registry import ModelRegistry
from genie_service.servicers.frame_reading import FrameReading
from genie_service.servicers.names import model_name
from genie_service.servicers.robot_actions import RobotActions, Wanted
from genie_service.servicers.simulation_requests import (
    SimulationLimits,
    check_start,
    frame_size_of,
    read_action,
    read_actions,
    read_branches,
    response_encoding,
    sampling_of,
)
from genie_service.servicers.timing import Clock
from genie_service.shares import Share, Shares
from genie_service.streams import next_or_none, part_of, read_ahead

_COPIES = 3
"""Copies of a step's frames that are there at once: as drawn, side by side, and in the message."""


class SimulationServicer(simulation_pb2_grpc.SimulationServiceServicer):
    """Simulates with the registry's models on the engine."""

    def __init__(
        self,
        registry: ModelRegistry,
        alignments: Alignments,
        engine: Engine,
        reading: FrameReading,
        limits: SimulationLimits,
        plays: Shares,
        players: Waiters,
        max_wait_s: float,
        idle_seconds: float,
        counts: CallCounts,
    ) -> None:
        self._registry = registry
        self._alignments = alignments
        self._engine = engine
        self._reading = reading
        self._limits = limits
        self._plays = plays
        self._players = players
        self._max_wait_s = max_wait_s
        self._idle_seconds = idle_seconds
        self._counts = counts

    async def Rollout(
        self, request: simulation_pb2.RolloutRequest, context: Context
    ) -> AsyncIterator[simulation_pb2.RolloutResponse]:
        """Stream the frames of one action sequence."""
        async with self._registry.lease(model_name(request.start.model, "start.model")) as model:
            encoder = await self._encoder(request.start, model)
            actions = read_actions(request.actions, model.bundle.config, encoder, self._limits, "actions")
            simulation = await self._start(request.start, model, encoder, len(actions))
            for index, action in enumerate(actions):
                frame, outside = await simulation.step([action])
                yield simulation_pb2.RolloutResponse(
                    index=index,
                    frame=frame,
                    timing=simulation.lap(),
                    bundle_id=simulation.bundle_id(index),
                    out_of_range=outside[0],
                    confidence=next(iter(simulation.confidence), None),
                )

    async def Branch(
        self, request: simulation_pb2.BranchRequest, context: Context
    ) -> AsyncIterator[simulation_pb2.BranchResponse]:
        """Stream the frames of N action sequences from one prompt, step by step."""
        async with self._registry.lease(model_name(request.start.model, "start.model")) as model:
            encoder = await self._encoder(request.start, model)
            branches = read_branches(request.branches, model.bundle.config, encoder, self._limits)
            simulation = await self._start(request.start, model, encoder, len(branches[0]), branches=len(branches))
            for index, actions in enumerate(zip(*branches, strict=True)):
                frames, outside = await simulation.step(actions)
                yield simulation_pb2.BranchResponse(
                    index=index,
                    frames=frames,
                    timing=simulation.lap(),
                    bundle_id=simulation.bundle_id(index),
                    out_of_range=[branch for branch, components in enumerate(outside) if components],
                    confidence=simulation.confidence,
                )

    async def Play(
        self, request_iterator: AsyncIterator[simulation_pb2.PlayRequest], context: Context
    ) -> AsyncIterator[simulation_pb2.PlayResponse]:
        """Return one frame per action, for as long as the client continues."""
        call = current_call()
        with await self._play(call), self._players.watching(call.silence, call.client):
            start = await self._read_start(request_iterator)
            async with self._registry.lease(model_name(start.model, "start.model")) as model:
                encoder = await self._encoder(start, model)
                simulation = await self._start(start, model, encoder, 1)
                index = 0
                wanted = _actions(request_iterator, model.bundle.config, encoder)
                async with aclosing(read_ahead(wanted, call.silence, self._idle_seconds)) as actions:
                    async for action in actions:
                        simulation.skip()  # waiting for the player is not part of the frame's time
                        frame, outside = await simulation.step([action])
                        yield simulation_pb2.PlayResponse(
                            index=index,
                            frame=frame,
                            timing=simulation.lap(),
                            bundle_id=simulation.bundle_id(index),
                            out_of_range=outside[0],
                            confidence=next(iter(simulation.confidence), None),
                        )
                        index += 1

    async def _encoder(self, start: simulation_pb2.SimulationStart, model: LoadedModel) -> RobotActions:
        """Return what encodes robot actions, with the alignment that the start names."""
        if not start.alignment:
            return RobotActions(None)
        return RobotActions(await self._alignments.load(model.bundle.info, start.alignment, None, "start.alignment"))

    async def _start(
        self,
        start: simulation_pb2.SimulationStart,
        model: LoadedModel,
        encoder: RobotActions,
        frames: int,
        *,
        branches: int = 1,
    ) -> Simulation:
        """Start a simulation; `frames`: how many of each branch to expect."""
        call, config = current_call(), model.bundle.config
        check_start(start, config, "start")
        sampling = sampling_of(start.sampling, config, "start.sampling")
        self._reading.check(start.prompt, "start.prompt")
        encoding = response_encoding(start, "start")
        job = call.ending.enter_context(closing(self._engine.job(call.client)))
        size = frame_size_of(start, config, sampling, branches, self._limits, "start")
        draw = model.draw(model.simulator.maskgit_steps(sampling), size)
        first, total = Counter({model.start: 1, draw: branches}), Counter({model.start: 1, draw: branches * frames})
        calibration = await self._calibration(model) if start.confidence else None
        if calibration is not None:
            first[model.encode] += branches
            total[model.encode] += branches * frames
        job.announce(Announcement(first, total, call.remaining_s, rounds=frames))
        with call.waiting(self._max_wait_s) as may_s:
            shown = (start.prompt.count + _COPIES * branches) * size[0] * size[1] * CHANNELS
            await call.memory.room_to_work(model.simulator.rollout_bytes(branches, size) + shown, may_s)
        prompt = await self._reading.read(start.prompt, "start.prompt", size, refusable=True)
        rollout = await job.run(model.start, (prompt, branches, sampling, size))
        clock = Clock(job, self._counts)
        read = [(await _at_own_size(prompt[-1:], config))[0]] * branches
        trust = None if calibration is None else Trust(model, calibration, read)
        return Simulation(rollout, model, draw, job, encoding, self._reading, clock, encoder, read, trust)

    async def _calibration(self, model: LoadedModel) -> Calibration:
        """Return the calibration beside the model's bundle, as it is now. Raises RequestError if there is none."""
        found = await asyncio.to_thread(read_calibration, model.bundle.info)
        if found is None:
            raise RequestError(
                "start.confidence",
                f"model {model.name} was not calibrated: `genie evaluate BUNDLE DATA --calibrate` does that",
            )
        return found

    async def _read_start(self, requests: AsyncIterator[simulation_pb2.PlayRequest]) -> simulation_pb2.SimulationStart:
        first = await next_or_none(requests, current_call().silence, self._idle_seconds)
        if first is None:
            raise RequestError("start", "the stream ended without one")
        if not first.HasField("start"):
            raise RequestError("start", f"the first message holds {part_of(first)}, expected the start")
        return first.start

    async def _play(self, call: Call) -> Share:
        """Reserve a place for a stream that may last for hours."""
        with call.waiting(self._max_wait_s) as may_s:
            return await self._plays.take(call.client, 1, 0.0 if self._plays.is_greedy(call.client) else may_s)


class Simulation:
    """A rollout in progress: draws frames on the engine, as messages with their timing.

    What reads frames, an encoder of robot actions or a calibration, is given them at the model's size.
    """

    def __init__(
        self,
        rollout: Rollout,
        model: LoadedModel,
        draw: Operation,
        job: Job,
        encoding: frames_pb2.FrameEncoding.ValueType,
        reading: FrameReading,
        clock: Clock,
        encoder: RobotActions,
        read: Sequence[Frames],
        trust: Trust | None,
    ) -> None:
        self._rollout = rollout
        self._trust = trust
        self._encoder = encoder
        self._read = read
        self._config = model.bundle.config
        self._bundle_id = model.bundle.info.bundle_id
        self._draw = draw
        self._job = job
        self._encoding = encoding
        self._reading = reading
        self.lap, self.skip = clock.lap, clock.skip

    def bundle_id(self, index: int) -> str:
        """Return the bundle's identity for the response of that index: once per call, to detect a replaced model."""
        return "" if index else self._bundle_id

    async def step(self, wanted: Sequence[Wanted]) -> tuple[frames_pb2.Frames, list[list[int]]]:
        """Take one action in each branch: N -> N frames, and the components beyond the alignment's range of each."""
        encoded = [self._encoder.encode(of, frame) for of, frame in zip(wanted, self._read, strict=True)]
        actions = [action for action, _ in encoded]
        self._rollout.check(actions)
        moves = list(zip(self._rollout.branches, actions, strict=True))
        frames_NHWC = np.stack(await self._job.run_all(self._draw, moves))
        if self._trust is not None or self._encoder.reads_frames:
            self._read = list(await _at_own_size(frames_NHWC, self._config))
        if self._trust is not None:
            latents = list(map(asked_for, self._rollout.branches, actions))
            await self._trust.look(self._job, self._read, latents)
        current_call().frames += len(frames_NHWC)
        return await self._reading.message(frames_NHWC, self._encoding), [outside for _, outside in encoded]

    @property
    def confidence(self) -> list[float]:
        """Confidence of the newest frames, by branch; empty unless requested."""
        return [] if self._trust is None else self._trust.confidence


class Trust:
    """Reads drawn frames back with the labelling model, to say how far they can be trusted.

    Attributes:
        confidence: of the newest frames, by branch.

    """

    def __init__(self, model: LoadedModel, calibration: Calibration, start: Sequence[Frames]) -> None:
        self._encode = model.encode
        self._calibration = calibration
        self._branches = [ReadBack.of(model.labeller, frame_HWC) for frame_HWC in start]
        self.confidence: list[float] = []

    async def look(self, job: Job, frames: Sequence[Frames], wanted: Sequence[Latent]) -> None:
        """Take the next frame of each branch, and the latent that led to it."""
        blocks = [branch.block(frame_HWC) for branch, frame_HWC in zip(self._branches, frames, strict=True)]
        encoded = await job.run_all(self._encode, blocks)
        for branch, frame_HWC, wanted_D, found in zip(self._branches, frames, wanted, encoded, strict=True):
            branch.take(frame_HWC, wanted_D, found)
        self.confidence = [branch.probability(self._calibration) for branch in self._branches]


async def _at_own_size(frames_NHWC: Frames, config: ModelConfig) -> Frames:
    """Return frames at the size that the model reads."""
    size = (config.height, config.width)
    if frames_NHWC.shape[1:3] == size:
        return frames_NHWC
    return await asyncio.to_thread(resize_frames, frames_NHWC, *size)


async def _actions(
    requests: AsyncIterator[simulation_pb2.PlayRequest], config: ModelConfig, encoder: RobotActions
) -> AsyncGenerator[Wanted]:
    async for request in requests:
        yield read_action(request, config, encoder)


__all__ = ["SimulationServicer"]
