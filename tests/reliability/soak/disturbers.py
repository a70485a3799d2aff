"""Clients that misbehave, all at once, until told to stop. Runs in a process of its own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

import numpy as np
from grpc import aio

from genie_api.v1 import frames_pb2, labelling_pb2, labelling_pb2_grpc, simulation_pb2, simulation_pb2_grpc
from genie_core.data.frames.images import encode_image
from tests.reliability.soak.offered import status_of
from tests.support.service_messages import raw
from tests.support.tcp_proxy import TcpProxy

IDLE, PLAYERS, SLOW_READERS = 500, 100, 8

_MESSAGE_BYTES = 60 * 1024 * 1024
_GIANT_DEADLINE_S = 30.0
_PLAYER_CLIENTS = 10

Tally = Counter[str]


def disturb(address: str, told: Connection) -> None:
    """Misbehave until something is sent down `told`; then send back how often what happened."""
    asyncio.run(_disturb(address, told))


async def _disturb(address: str, told: Connection) -> None:
    tally: Tally = Counter()
    kinds: Sequence[Callable[[str, Tally], Awaitable[None]]] = (_idle, _players, _slow_readers, _vanishing, _giant)
    tasks = [asyncio.ensure_future(_on_and_on(kind, address, tally)) for kind in kinds]
    while not told.poll():
        await asyncio.sleep(0.1)
    told.recv()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    told.send(dict(tally))


async def _on_and_on(kind: Callable[[str, Tally], Awaitable[None]], address: str, tally: Tally) -> None:
    while True:
        with suppress(aio.AioRpcError, OSError):
            await kind(address, tally)
        await asyncio.sleep(0.5)


def _channel(address: str, *options: tuple[str, int]) -> aio.Channel:
    largest = ("grpc.max_send_message_length", 1 << 30)
    return aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1), largest, *options])


async def _idle(address: str, tally: Tally) -> None:
    """Connections without a call."""
    channels = [_channel(address) for _ in range(IDLE)]
    try:
        for channel in channels:
            await channel.channel_ready()
            tally["idle connections"] += 1
        await asyncio.Event().wait()
    finally:
        await asyncio.gather(*(channel.close() for channel in channels))


async def _players(address: str, tally: Tally) -> None:
    """Simulations begun, played once, and left open; those that are refused or ended come back at once."""
    channels = [_channel(address) for _ in range(_PLAYER_CLIENTS)]
    try:
        await asyncio.gather(*(_player(channels[number % len(channels)], tally) for number in range(PLAYERS)))
    finally:
        await asyncio.gather(*(channel.close() for channel in channels))


async def _player(channel: aio.Channel, tally: Tally) -> None:
    while True:
        call = simulation_pb2_grpc.SimulationServiceStub(channel).Play()
        try:
            await call.write(simulation_pb2.PlayRequest(start=_start()))
            await call.write(simulation_pb2.PlayRequest(action=1))
            if await call.read() is not aio.EOF:
                tally["players that have played"] += 1
                await call.read()  # in vain: it says nothing more
        except (aio.AioRpcError, asyncio.InvalidStateError):
            pass
        tally[f"players {status_of(await call.code(), await call.details())}"] += 1
        await asyncio.sleep(2)


async def _slow_readers(address: str, tally: Tally) -> None:
    """Rollouts that nobody reads, through a small window."""
    channel = _channel(address, ("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 4096))
    stub = simulation_pb2_grpc.SimulationServiceStub(channel)
    actions = simulation_pb2.ActionSequence(codes=[1] * 200)
    try:
        calls = [
            stub.Rollout(simulation_pb2.RolloutRequest(start=_start(), actions=actions)) for _ in range(SLOW_READERS)
        ]
        tally["slow readers"] += SLOW_READERS
        codes = await asyncio.gather(*(call.code() for call in calls))
        tally.update(f"slow readers {code.name}" for code in codes)
    finally:
        await channel.close()


async def _vanishing(address: str, tally: Tally) -> None:
    """Clients that are gone in the middle of their calls: their connection breaks, or nothing comes through."""
    for silent in (False, True):
        proxy = TcpProxy(address)
        channel = _channel(proxy.address)
        stub = labelling_pb2_grpc.LabellingServiceStub(channel)
        request = labelling_pb2.LabelClipRequest(options=labelling_pb2.LabelOptions(step=1), frames=raw(_SMALL))
        calls = [stub.LabelClip(request, timeout=60) for _ in range(6)]
        try:
            await asyncio.sleep(0.5)
            proxy.cut(silent=silent)
            tally["clients vanished"] += 1
            await asyncio.sleep(25 if silent else 1)  # keepalive finds the silent ones out
        finally:
            for call in calls:
                call.cancel()
            await channel.close()
            proxy.__exit__(None, None, None)


async def _giant(address: str, tally: Tally) -> None:
    """One client that sends the largest of everything, two of each at a time, over and over."""
    channel = _channel(address)
    simulate = simulation_pb2_grpc.SimulationServiceStub(channel)
    label: Callable[..., Awaitable[object]] = channel.unary_unary(
        "/genie_api.v1.LabellingService/LabelClip"
    )  # of bytes, which are made once
    clips = {"clip": _large_clip(), "images": _large_images(), "step 1024": _long_step()}
    branches = _branches()

    async def on_and_on(name: str, call: Callable[[], Awaitable[object]]) -> None:
        while True:
            try:
                await call()
                tally[f"giant {name} OK"] += 1
            except aio.AioRpcError as error:
                tally[f"giant {name} {error.code().name}"] += 1
            await asyncio.sleep(2)

    def clip(request: labelling_pb2.LabelClipRequest) -> Callable[[], Awaitable[object]]:
        data = request.SerializeToString()
        return lambda: label(data, timeout=_GIANT_DEADLINE_S)

    tasks = [on_and_on(name, clip(request)) for name, request in clips.items() for _ in range(2)]
    tasks.append(on_and_on("branches", lambda: _last(simulate.Branch(branches, timeout=_GIANT_DEADLINE_S))))
    try:
        await asyncio.gather(*tasks)
    finally:
        await channel.close()


async def _last(answers: AsyncIterable[object]) -> None:
    async for _ in answers:
        pass


def _start() -> simulation_pb2.SimulationStart:
    sampling = simulation_pb2.SamplingOptions(maskgit_steps=1)
    return simulation_pb2.SimulationStart(prompt=raw(_SMALL[:1]), sampling=sampling)


def _large_clip() -> labelling_pb2.LabelClipRequest:
    frames = np.zeros((4096, 70, 73, 3), np.uint8)
    return labelling_pb2.LabelClipRequest(options=labelling_pb2.LabelOptions(step=1), frames=raw(frames))


def _large_images() -> labelling_pb2.LabelClipRequest:
    image = encode_image(np.zeros((4096, 4096, 3), np.uint8), "png")
    frames = frames_pb2.Frames(
        encoding=frames_pb2.FRAME_ENCODING_PNG,
        data_type=frames_pb2.DATA_TYPE_UINT8,
        count=5,
        height=4096,
        width=4096,
        channels=3,
        images=[image] * 5,
    )
    return labelling_pb2.LabelClipRequest(options=labelling_pb2.LabelOptions(step=1), frames=frames)


def _long_step() -> labelling_pb2.LabelClipRequest:
    frames = np.zeros((4096, 8, 8, 3), np.uint8)
    return labelling_pb2.LabelClipRequest(options=labelling_pb2.LabelOptions(step=1024), frames=raw(frames))


def _branches() -> simulation_pb2.BranchRequest:
    branch = simulation_pb2.ActionSequence(codes=[1] * 1024)
    return simulation_pb2.BranchRequest(start=_start(), branches=[branch] * 64)


_SMALL = np.random.default_rng(1).integers(0, 256, (64, 32, 32, 3), np.uint8)

__all__ = ["IDLE", "PLAYERS", "SLOW_READERS", "disturb"]
