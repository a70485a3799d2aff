"""The asyncio client: the same methods and arguments as `client.Client`, to be awaited. Never blocks the event loop."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import numpy as np
from google.protobuf.message import Message
from grpc import aio
from numpy.typing import ArrayLike

from genie_api.v1 import labelling_pb2, simulation_pb2
from genie_client import messages
from genie_client import simulation_messages as simulations
from genie_client.arguments import LabelArguments, Labelling, Simulating, SimulationArguments
from genie_client.connection import Tls, open_aio_channel, security_for
from genie_client.errors import Peer, ServerError
from genie_client.flows import Conversation, Flow, Stubs
from genie_client.patience import CALL_PATIENCE_S, Patience
from genie_client.records import EpisodeLabels, ModelInfo, ServerStatistics, SimulatedFrame
from genie_client.simulation_messages import Actions, Latents
from genie_client.streams import LabelStreamState, PlayState
from genie_core.data import Frames, Labels, Transport

_T = TypeVar("_T")
_LabelCall = aio.StreamStreamCall[labelling_pb2.LabelEpisodeRequest, labelling_pb2.LabelEpisodeResponse]
_PlayCall = aio.StreamStreamCall[simulation_pb2.PlayRequest, simulation_pb2.PlayResponse]


class AsyncClient:
    """A connection to one Genie server for one event loop; see `Client` for arguments and errors.

    ``async with AsyncClient("host:port") as client: labels = await client.label(frames, fps=30)``
    """

    def __init__(
        self,
        address: str,
        *,
        tls: Tls | bool | None = None,
        token: str | None = None,
        timeout_s: float = 30.0,
        wait_for_ready: bool = False,
        patience_s: float = CALL_PATIENCE_S,
    ) -> None:
        """Connect to ``host:port``; arguments as for `Client`."""
        self._patience = Patience(patience_s)
        security = security_for(address, tls, token)
        self._peer = Peer(address)
        self._wait = wait_for_ready
        self._channel = open_aio_channel(address, security)
        self._stubs = Stubs(self._channel)
        self._conversation = Conversation(timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all calls in progress and close the connection."""
        await self._channel.close()

    async def models(self) -> list[ModelInfo]:
        """Return every model that the server hosts; see `Client.models`."""
        return await self._run(self._conversation.list_models())

    async def model(self, name: str | None = None) -> ModelInfo:
        """Return everything about one model; see `Client.model`."""
        return await self._run(self._conversation.get_model(name))

    async def load_model(self, name: str, *, timeout_s: float | None = None) -> ModelInfo:
        """Load a model; see `Client.load_model`."""
        return await self._run(self._conversation.load_model(name, timeout_s))

    async def unload_model(self, name: str, *, timeout_s: float | None = None) -> ModelInfo:
        """Unload a model; see `Client.unload_model`."""
        return await self._run(self._conversation.unload_model(name, timeout_s))

    async def statistics(self) -> ServerStatistics:
        """Return statistics of the server's device; see `Client.statistics`."""
        return await self._run(self._conversation.statistics())

    async def label(self, frames_THWC: Frames, **labelling: Unpack[Labelling]) -> EpisodeLabels:
        """Label one episode, one label per frame; see `Client.label`."""
        arguments = LabelArguments(**labelling)
        clip = await self._patiently(
            arguments.patience_s, lambda: self._run(self._conversation.label_clip(frames_THWC, arguments))
        )
        if clip is not None:
            return clip
        async with await self.label_stream([frames_THWC], **labelling) as stream:
            return await stream.read_all()

    async def label_stream(
        self, chunks: Iterable[Frames] | AsyncIterable[Frames], **labelling: Unpack[Labelling]
    ) -> AsyncLabelStream:
        """Label an episode of any length; see `Client.label_stream`. A plain iterable is read in a thread."""
        arguments = LabelArguments(**labelling)
        header = messages.header_request(messages.label_options(arguments))
        await self._run(
            self._conversation.frame_size(arguments, None)
        )  # before the call, which may take the last place on the server
        stream = await self._patiently(arguments.patience_s, lambda: self._begin_labelling(header, arguments))
        try:
            size = await self._run(self._conversation.frame_size(arguments, stream.provenance.bundle_id))
            stream.feed(_Feed(chunks, size, arguments.transport))
        except BaseException:
            await stream.close()
            raise
        return stream

    async def rollout(
        self,
        prompt: Frames,
        actions: Sequence[int] | None = None,
        *,
        latents: Latents | None = None,
        robot_actions: ArrayLike | None = None,
        **simulating: Unpack[Simulating],
    ) -> Frames:
        """Return the frames that `actions` would produce from `prompt`, (T, h, w, 3) uint8; see `Client.rollout`."""
        stream = self.rollout_stream(prompt, actions, latents=latents, robot_actions=robot_actions, **simulating)
        return np.stack([frame async for frame in stream])

    async def rollout_stream(
        self,
        prompt: Frames,
        actions: Sequence[int] | None = None,
        *,
        latents: Latents | None = None,
        robot_actions: ArrayLike | None = None,
        **simulating: Unpack[Simulating],
    ) -> AsyncIterator[Frames]:
        """Like `rollout`, but yields each (h, w, 3) frame as it is made."""
        steps = self.rollout_steps(prompt, actions, latents=latents, robot_actions=robot_actions, **simulating)
        async for step in steps:
            yield step.frame_HWC

    async def rollout_steps(
        self,
        prompt: Frames,
        actions: Sequence[int] | None = None,
        *,
        latents: Latents | None = None,
        robot_actions: ArrayLike | None = None,
        **simulating: Unpack[Simulating],
    ) -> AsyncIterator[SimulatedFrame]:
        """Like `rollout_stream`, with what is known of each frame; see `Client.rollout_steps`."""
        arguments = SimulationArguments(**simulating)
        chosen = simulations.chosen_actions(actions, latents, robot_actions)
        make = simulations.rollout_maker(prompt, chosen, arguments)
        async for step in self._simulate(self._stubs.simulation.Rollout, make, arguments):
            yield step.simulated

    async def branch(
        self,
        prompt: Frames,
        branches: Sequence[Actions] | None = None,
        *,
        robot_actions: Sequence[ArrayLike] | None = None,
        **simulating: Unpack[Simulating],
    ) -> Frames:
        """Return what each of N action sequences of the same length T would have produced: (N, T, h, w, 3) uint8."""
        frames = self.branch_stream(prompt, branches, robot_actions=robot_actions, **simulating)
        return np.stack([frames_NHWC async for frames_NHWC in frames], axis=1)

    async def branch_stream(
        self,
        prompt: Frames,
        branches: Sequence[Actions] | None = None,
        *,
        robot_actions: Sequence[ArrayLike] | None = None,
        **simulating: Unpack[Simulating],
    ) -> AsyncIterator[Frames]:
        """Like `branch`, but yields each step's (N, h, w, 3) frames as they are made."""
        arguments = SimulationArguments(**simulating)
        chosen = simulations.chosen_branches(branches, robot_actions)
        make = simulations.branch_maker(prompt, chosen, arguments)
        async for step in self._simulate(self._stubs.simulation.Branch, make, arguments, len(chosen)):
            yield step.frames_NHWC

    async def play(self, prompt: Frames, **simulating: Unpack[Simulating]) -> AsyncPlaySession:
        """Start an interactive simulation: ``async with await client.play(prompt) as s: frame = await s.step(3)``."""
        arguments = SimulationArguments(**simulating)
        make = simulations.play_maker(prompt, arguments)
        info, start = await self._run(self._conversation.request_of(arguments.model, make, again=True))
        call = self._stubs.simulation.Play(timeout=arguments.timeout_s, wait_for_ready=self._wait)
        try:
            with self._peer.explaining("playing", call):
                await call.write(start)
        except BaseException:
            call.cancel()  # a write that is cancelled early leaves its call open
            raise
        return AsyncPlaySession(call, info, self._peer, arguments.alignment)

    async def _run(self, flow: Flow[_T]) -> _T:
        """Make the calls of a flow and return its result."""
        answer: Any = None
        while True:
            try:
                ask = flow.send(answer)
            except StopIteration as done:
                result: _T = done.value
                return result
            call = ask.method(self._stubs)(ask.request, timeout=ask.timeout_s, wait_for_ready=self._wait)
            with self._peer.explaining(ask.doing, call):
                answer = await call

    async def _patiently(self, patience_s: float | None, begin: Callable[[], Awaitable[_T]]) -> _T:
        """Return the result of `begin`, retried for as long as the server has no room or is unavailable."""
        patience = self._patience if patience_s is None else Patience(patience_s)
        began, failures = time.monotonic(), 0
        while True:
            try:
                return await begin()
            except ServerError as error:
                failures += 1
                wait_s = patience.next_wait_s(error, failures, time.monotonic() - began, random.random())
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s)

    async def _begin_labelling(
        self, header: labelling_pb2.LabelEpisodeRequest, arguments: LabelArguments
    ) -> AsyncLabelStream:
        """Return a stream that the server has accepted, ready for its frames."""
        gate: asyncio.Queue[_Feed | None] = asyncio.Queue()
        call = self._stubs.labelling.LabelEpisode(
            _requests(header, gate), timeout=arguments.timeout_s, wait_for_ready=self._wait
        )
        stream = AsyncLabelStream(call, gate, self._peer, arguments.about)
        try:
            await stream.begin()
        except BaseException:
            await stream.close()
            raise
        return stream

    async def _simulate(
        self,
        method: Callable[..., Any],
        make: Callable[[ModelInfo], Message],
        arguments: SimulationArguments,
        branches: int = 1,
    ) -> AsyncIterator[simulations.Step]:
        """Yield each step; the call is cancelled if the reader stops."""
        for again in (False, True):
            info, request = await self._run(self._conversation.request_of(arguments.model, make, again=again))
            reader = simulations.StepReader(info, branches, arguments.alignment)
            call = method(request, timeout=arguments.timeout_s, wait_for_ready=self._wait)
            try:
                with self._peer.explaining("simulating", call):
                    async for answer in call:
                        yield reader.read(answer)
                return
            except simulations.ModelReplacedError:  # raised before the first frame, or never
                if again:
                    raise
            finally:
                call.cancel()


class AsyncLabelStream(LabelStreamState, AsyncIterator[Labels]):
    """Labels of one episode as they become final; an async context manager, which stops the call on exit."""

    def __init__(self, call: _LabelCall, gate: asyncio.Queue[_Feed | None], peer: Peer, about: str) -> None:
        super().__init__(about)
        self._call = call
        self._gate = gate
        self._peer = peer
        self._feed: _Feed | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def begin(self) -> None:
        """Wait until the server has accepted the episode."""
        self._accepted(await self._receive())

    def feed(self, feed: _Feed) -> None:
        """Send the episode's frames; call it once."""
        self._feed = feed
        self._gate.put_nowait(feed)

    async def __anext__(self) -> Labels:
        """Return the next labels, which follow the previous ones."""
        if self._ended:
            raise StopAsyncIteration
        labels = self._labels(await self._receive())
        if labels is None:
            await self._receive()  # its status: a call that is closed without reading it counts as cancelled
            raise StopAsyncIteration
        return labels

    async def read_all(self) -> EpisodeLabels:
        """Return the whole episode's labels; only before anything else was read."""
        return self._reader.whole([labels async for labels in self])

    async def close(self) -> None:
        """Stop labelling; no effect if the stream has ended."""
        self._call.cancel()
        self._gate.put_nowait(None)

    async def _receive(self) -> object:
        try:
            with self._peer.explaining(self._doing, self._call):
                return await self._call.read()
        except (asyncio.CancelledError, Exception):
            if self._feed is not None and self._feed.error is not None:
                raise self._feed.error from None
            raise


class AsyncPlaySession(PlayState):
    """An interactive simulation whose state is on the server; an async context manager. For one task only."""

    def __init__(self, call: _PlayCall, info: ModelInfo, peer: Peer, alignment: str | None = None) -> None:
        super().__init__(info, alignment)
        self._call = call
        self._peer = peer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def send(self, code: int | Latents | None = None, *, robot_action: ArrayLike | None = None) -> None:
        """Take one action without waiting for its frame; `receive` returns the frames in order."""
        request = self._request(code, robot_action)
        with self._peer.explaining("playing", self._call):
            try:
                await self._call.write(request)
            except asyncio.InvalidStateError:  # the call has ended, for a reason that reading gives
                await self._call.read()
                raise ServerError("the server ended the session") from None

    async def receive(self) -> Frames:
        """Return the (h, w, 3) uint8 frame of the oldest action that was sent and not yet answered."""
        with self._peer.explaining("playing", self._call):
            answer = await self._call.read()
        return self._frame(answer)

    async def step(self, code: int | Latents | None = None, *, robot_action: ArrayLike | None = None) -> Frames:
        """Take one action; return the (h, w, 3) uint8 frame that it leads to. See `PlaySession.step`."""
        await self.send(code, robot_action=robot_action)
        return await self.receive()

    async def close(self) -> None:
        """End the session; the server discards its state."""
        self._call.cancel()


class _Feed:
    """Frames of one labelling stream. If making a request fails, gRPC only cancels the call; `error` has the cause."""

    def __init__(
        self, chunks: Iterable[Frames] | AsyncIterable[Frames], size: messages.FrameSize | None, transport: Transport
    ) -> None:
        self._chunks = chunks if isinstance(chunks, AsyncIterable) else _in_thread(chunks)
        self._packer = messages.FramePacker(size, transport)
        self.error: Exception | None = None

    async def requests(self) -> AsyncIterator[labelling_pb2.LabelEpisodeRequest]:
        """Yield requests with the frames, resized in a thread."""
        try:
            async for chunk in self._chunks:
                async for request in _in_thread(self._packer.pack(chunk)):
                    yield request
        except Exception as error:
            self.error = error
            raise


async def _requests(
    header: labelling_pb2.LabelEpisodeRequest, gate: asyncio.Queue[_Feed | None]
) -> AsyncIterator[labelling_pb2.LabelEpisodeRequest]:
    """Yield the header and, once the server has accepted it, the requests that `gate` delivers."""
    yield header
    feed = await gate.get()
    if feed is not None:
        async for request in feed.requests():
            yield request


async def _in_thread(items: Iterable[_T]) -> AsyncIterator[_T]:
    """Yield the items of a plain iterable, each produced in a worker thread."""
    iterator = iter(items)
    while (item := await asyncio.to_thread(next, iterator, None)) is not None:
        yield item


__all__ = ["AsyncClient", "AsyncLabelStream", "AsyncPlaySession"]
