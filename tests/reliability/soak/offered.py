"""Work that is offered to a server, and what became of each call. Runs in a process of its own.

Open loop: calls arrive at random times at a given rate, whether or not earlier ones are done. Closed loop: each client
has one call under way, always. No call is retried: every refusal counts.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from grpc import aio

from genie_api.v1 import labelling_pb2, labelling_pb2_grpc
from tests.support.service_messages import raw

LENGTHS = (16, 32, 64, 160)
"""Frames of a call, drawn; at the tiny model's step of 1 a block has 16."""

_SIDE = 32
_CLIENTS = 16
_STREAMED = 0.25
"""Share of the calls that are streams."""

LOST = "LOST"

_DROPPED = "Internal error from Core"
"""grpc.aio's own INTERNAL for a call that the server ends while a message is being written: the status is lost."""


@dataclass(frozen=True)
class Outcome:
    """What became of a call; times in seconds, `began` of `time.monotonic`.

    Attributes:
        is_stream: whether it is a stream, whose length nobody is told.
        frames: number of frames.
        began: when it was sent.
        seconds: until it had ended.
        queue_s: of these waiting for the device, as the server says; 0 unless it is OK.
        code: its status, or LOST: the server ended it with one, which grpc.aio has dropped.
        hint_ms: the server's hint when to come back; None: there was none.

    """

    is_stream: bool
    frames: int
    began: float
    seconds: float
    queue_s: float
    code: str
    hint_ms: int | None

    @property
    def is_refused(self) -> bool:
        """Whether the server has not accepted it."""
        return self.code == "RESOURCE_EXHAUSTED"


def offer(address: str, seconds: float, frames_per_s: float, deadline_s: float, seed: int) -> list[Outcome]:
    """Offer so many frames a second, in calls of several lengths from several clients."""
    return asyncio.run(_offer(address, seconds, frames_per_s, deadline_s, seed))


def saturate(address: str, seconds: float, deadline_s: float) -> list[Outcome]:
    """Keep the server busy with as much as it can do: twice its usual lanes, one call each."""
    return asyncio.run(_saturate(address, seconds, deadline_s))


async def _offer(address: str, seconds: float, frames_per_s: float, deadline_s: float, seed: int) -> list[Outcome]:
    rng, calls = random.Random(seed), []
    mean_s = sum(LENGTHS) / len(LENGTHS) / frames_per_s
    async with AsyncExitStack() as stack:
        stubs = [await _client(stack, address) for _ in range(_CLIENTS)]
        at, end = time.monotonic(), time.monotonic() + seconds
        while (at := at + rng.expovariate(1 / mean_s)) < end:
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            begin = _stream if rng.random() < _STREAMED else _clip
            calls.append(asyncio.ensure_future(begin(rng.choice(stubs), rng.choice(LENGTHS), deadline_s)))
        return list(await asyncio.gather(*calls))


async def _saturate(address: str, seconds: float, deadline_s: float) -> list[Outcome]:
    end, outcomes = time.monotonic() + seconds, []

    async def work(stub: labelling_pb2_grpc.LabellingServiceAsyncStub) -> None:
        while time.monotonic() < end:
            outcomes.append(await _clip(stub, 64, deadline_s))
            if outcomes[-1].is_refused:
                await asyncio.sleep(min(1.0, (outcomes[-1].hint_ms or 0) / 1000))

    async with AsyncExitStack() as stack:
        await asyncio.gather(*[work(await _client(stack, address)) for _ in range(8)])
    return outcomes


async def _client(stack: AsyncExitStack, address: str) -> labelling_pb2_grpc.LabellingServiceAsyncStub:
    channel = aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
    await stack.enter_async_context(channel)
    return labelling_pb2_grpc.LabellingServiceStub(channel)


async def _clip(stub: labelling_pb2_grpc.LabellingServiceAsyncStub, frames: int, deadline_s: float) -> Outcome:
    options = labelling_pb2.LabelOptions(step=1)
    request = labelling_pb2.LabelClipRequest(options=options, frames=raw(_VIDEO[:frames]))

    async def call() -> float:
        answer = await stub.LabelClip(request, timeout=deadline_s)
        return answer.timing.queue_ms / 1000

    return await _outcome(False, frames, call())


async def _stream(stub: labelling_pb2_grpc.LabellingServiceAsyncStub, frames: int, deadline_s: float) -> Outcome:
    async def call() -> float:
        stream = stub.LabelEpisode(timeout=deadline_s)
        await stream.write(labelling_pb2.LabelEpisodeRequest(header=labelling_pb2.LabelOptions(step=1)))
        await stream.read()  # accepted
        for begin in range(0, frames, 32):
            part = raw(_VIDEO[begin : min(begin + 32, frames)])
            await stream.write(labelling_pb2.LabelEpisodeRequest(frames=part))
        await stream.done_writing()
        queue_ms = 0.0
        answer: Any
        while (answer := await stream.read()) is not aio.EOF:
            queue_ms = answer.summary.timing.queue_ms
        return queue_ms / 1000

    return await _outcome(True, frames, call())


async def _outcome(is_stream: bool, frames: int, call: Awaitable[float]) -> Outcome:
    began = time.monotonic()
    try:
        queue_s = await call
    except aio.AioRpcError as error:
        hints = [value for key, value in error.trailing_metadata() or () if key == "grpc-retry-pushback-ms"]
        hint_ms = int(hints[0]) if hints else None
        return Outcome(
            is_stream, frames, began, time.monotonic() - began, 0.0, status_of(error.code(), error.details()), hint_ms
        )
    return Outcome(is_stream, frames, began, time.monotonic() - began, queue_s, grpc.StatusCode.OK.name, None)


def status_of(code: grpc.StatusCode, details: str | None) -> str:
    """The status that the server has sent, or that it was lost on the way."""
    return LOST if code is grpc.StatusCode.INTERNAL and details == _DROPPED else code.name


_VIDEO = np.random.default_rng(0).integers(0, 256, (max(LENGTHS), _SIDE, _SIDE, 3), np.uint8)

__all__ = ["LENGTHS", "LOST", "Outcome", "offer", "saturate", "status_of"]
