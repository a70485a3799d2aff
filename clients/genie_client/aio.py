"""The asyncio client: the names and arguments of `client.Client`, to be awaited. It never blocks the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar, Unpack

import numpy as np
from grpc import aio

from genie_api.v1 import (
    labelling_pb2,
    labelling_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    simulation_pb2,
    simulation_pb2_grpc,
)
from genie_client import messages
from genie_client.arguments import Labelling, Sampling
from genie_client.channel import CHANNEL_OPTIONS, RETRY_WAITS_S, check_address
from genie_client.errors import Peer, ServerBusyError, ServerError, ServerUnavailableError
from genie_client.records import EpisodeLabels, LabelSummary, ModelInfo, Provenance, ServerStatistics, Timing
from genie_core.data import Frames, Labels, Transport

_T = TypeVar("_T")
_Request = TypeVar("_Request")
_LabelCall = aio.StreamStreamCall[labelling_pb2.LabelEpisodeRequest, labelling_pb2.LabelEpisodeResponse]
_PlayCall = aio.StreamStreamCall[simulation_pb2.PlayRequest, simulation_pb2.PlayResponse]


class AsyncClient:
    """A connection to one Genie server for one event loop; see `Client` for arguments and errors.

    ``async with AsyncClient("host:port") as client: labels = await client.label(frames, fps=30)``
    """

    def __init__(self, address: str, *, timeout_s: float = 30.0, wait_for_ready: bool = False) -> None:
        """Connect to ``host:port``; arguments as for `Client`."""
        self._peer = Peer(check_address(address))
        self._timeout_s = timeout_s
        self._wait = wait_for_ready
        self._channel = aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._models = models_pb2_grpc.ModelServiceStub(self._channel)
        self._labelling = labelling_pb2_grpc.LabellingServiceStub(self._channel)
        self._simulation = simulation_pb2_grpc.SimulationServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End every call under way and the connection."""
        await self._channel.close()

    async def models(self) -> list[ModelInfo]:
        """Every model that the server hosts, ordered by name; `codebook` and `card` are left empty."""
        found: list[ModelInfo] = []
        token = ""
        while True:
            request = models_pb2.ListModelsRequest(page_token=token)
            with self._peer.explaining("listing models"):
                page = await self._models.ListModels(request, timeout=self._timeout_s, wait_for_ready=self._wait)
            found += map(messages.model_info, page.models)
            token = page.next_page_token
            if not token:
                return found

    async def model(self, name: str | None = None) -> ModelInfo:
        """Everything about one model; None for the server's default model."""
        request = models_pb2.GetModelRequest(name=messages.resource_name(name))
        with self._peer.explaining("asking for a model"):
            answer = await self._models.GetModel(request, timeout=self._timeout_s, wait_for_ready=self._wait)
        return messages.model_info(answer.model)

    async def load_model(self, name: str, *, timeout_s: float | None = None) -> ModelInfo:
        """Load a model and warm it up; returns when it is ready. Loading a loaded model does nothing."""
        request = models_pb2.LoadModelRequest(name=messages.resource_name(name))
        with self._peer.explaining(f"loading {name}"):
            answer = await self._models.LoadModel(request, timeout=timeout_s, wait_for_ready=self._wait)
        return messages.model_info(answer.model)

    async def unload_model(self, name: str, *, timeout_s: float | None = None) -> ModelInfo:
        """Unload a model; requests under way finish first."""
        request = models_pb2.UnloadModelRequest(name=messages.resource_name(name))
        with self._peer.explaining(f"unloading {name}"):
            answer = await self._models.UnloadModel(request, timeout=timeout_s, wait_for_ready=self._wait)
        return messages.model_info(answer.model)

    async def statistics(self) -> ServerStatistics:
        """What the server's device does, and has done."""
        with self._peer.explaining("asking for statistics"):
            answer = await self._models.GetStatistics(
                models_pb2.GetStatisticsRequest(), timeout=self._timeout_s, wait_for_ready=self._wait
            )
        return messages.server_statistics(answer)

    async def label(
        self,
        frames_THWC: Frames,
        *,
        model: str | None = None,
        resize: bool = True,
        transport: Transport = "raw",
        about: str = "the episode",
        timeout_s: float | None = None,
        **labelling: Unpack[Labelling],
    ) -> EpisodeLabels:
        """Label one episode, one label a frame; see `Client.label`."""
        stream = await self.label_stream(
            [frames_THWC],
            model=model,
            resize=resize,
            transport=transport,
            about=about,
            timeout_s=timeout_s,
            **labelling,
        )
        async with stream:
            return await stream.read_all()

    async def label_stream(
        self,
        chunks: Iterable[Frames] | AsyncIterable[Frames],
        *,
        model: str | None = None,
        resize: bool = True,
        transport: Transport = "raw",
        about: str = "the episode",
        timeout_s: float | None = None,
        **labelling: Unpack[Labelling],
    ) -> AsyncLabelStream:
        """Label an episode of any length; see `Client.label_stream`. A plain iterable is read in a thread."""
        header = messages.header_request(messages.label_options(model, **labelling))
        size = (await self.model(model)).frame_size if resize else None
        feed = _Feed(chunks, size, transport)
        for wait_s in RETRY_WAITS_S:
            try:
                return await self._begin_labelling(header, feed, about, timeout_s)
            except (ServerBusyError, ServerUnavailableError):
                await asyncio.sleep(wait_s)
        return await self._begin_labelling(header, feed, about, timeout_s)

    async def rollout(
        self,
        prompt: Frames,
        actions: Sequence[int],
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        **sampling: Unpack[Sampling],
    ) -> Frames:
        """The frames that `actions` would have produced from `prompt`: (T, h, w, 3) uint8; see `Client.rollout`."""
        frames = self.rollout_stream(prompt, actions, model=model, timeout_s=timeout_s, **sampling)
        return np.stack([frame async for frame in frames])

    async def rollout_stream(
        self,
        prompt: Frames,
        actions: Sequence[int],
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        **sampling: Unpack[Sampling],
    ) -> AsyncIterator[Frames]:
        """As `rollout`, but gives each (h, w, 3) frame as it is made."""
        info = await self.model(model)
        request = messages.rollout_request(info, prompt, actions, **sampling)
        call = self._simulation.Rollout(request, timeout=timeout_s, wait_for_ready=self._wait)
        reader = messages.StepReader()
        async for answer in self._answers(call):
            yield reader.read(answer.index, answer.frame).squeeze(0)

    async def branch(
        self,
        prompt: Frames,
        branches: Sequence[Sequence[int]],
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        **sampling: Unpack[Sampling],
    ) -> Frames:
        """What each of N action sequences of one length T would have produced: (N, T, h, w, 3) uint8."""
        frames = self.branch_stream(prompt, branches, model=model, timeout_s=timeout_s, **sampling)
        return np.stack([frames_NHWC async for frames_NHWC in frames], axis=1)

    async def branch_stream(
        self,
        prompt: Frames,
        branches: Sequence[Sequence[int]],
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        **sampling: Unpack[Sampling],
    ) -> AsyncIterator[Frames]:
        """As `branch`, but gives each step's (N, h, w, 3) frames as they are made."""
        info = await self.model(model)
        request = messages.branch_request(info, prompt, branches, **sampling)
        call = self._simulation.Branch(request, timeout=timeout_s, wait_for_ready=self._wait)
        reader = messages.StepReader(len(branches))
        async for answer in self._answers(call):
            yield reader.read(answer.index, answer.frames)

    async def play(
        self,
        prompt: Frames,
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        **sampling: Unpack[Sampling],
    ) -> AsyncPlaySession:
        """Start an interactive simulation: ``async with await client.play(prompt) as s: frame = await s.step(3)``."""
        info = await self.model(model)
        start = messages.simulation_start(info, prompt, **sampling)
        call = self._simulation.Play(timeout=timeout_s, wait_for_ready=self._wait)
        session = AsyncPlaySession(call, info, self._peer)
        await session.send(simulation_pb2.PlayRequest(start=start))
        return session

    async def _begin_labelling(
        self, header: labelling_pb2.LabelEpisodeRequest, feed: _Feed, about: str, timeout_s: float | None
    ) -> AsyncLabelStream:
        """A stream that the server has accepted; where it refuses, `feed` is untouched."""
        gate: asyncio.Queue[bool] = asyncio.Queue()
        requests = feed.requests(header, gate)
        call = self._labelling.LabelEpisode(requests, timeout=timeout_s, wait_for_ready=self._wait)
        stream = AsyncLabelStream(call, feed, self._peer, about)
        try:
            await stream.begin()
        except BaseException:
            call.cancel()
            gate.put_nowait(False)
            raise
        gate.put_nowait(True)
        return stream

    async def _answers(self, call: aio.UnaryStreamCall[_Request, _T]) -> AsyncIterator[_T]:
        """The answers of a simulation, which is cancelled where nobody reads on."""
        try:
            with self._peer.explaining("simulating"):
                async for answer in call:
                    yield answer
        finally:
            call.cancel()


class AsyncLabelStream(AsyncIterator[Labels]):
    """The labels of one episode as they become final; an async context manager, whose end stops the call.

    Attributes:
        provenance: what the labels are made with, known from the start.
        summary: the totals, known once the stream has ended.

    """

    provenance: Provenance
    summary: LabelSummary

    def __init__(self, call: _LabelCall, feed: _Feed, peer: Peer, about: str) -> None:
        self._call = call
        self._feed = feed
        self._peer = peer
        self._doing = f"labelling {about}"
        self._reader = messages.LabelReader()
        self._ended = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def begin(self) -> None:
        """Wait until the server has accepted the episode."""
        self.provenance = self._reader.begin(await self._receive())

    async def __anext__(self) -> Labels:
        """The next labels, consecutive to those before."""
        if self._ended:
            raise StopAsyncIteration
        labels = self._reader.read(await self._receive())
        if labels is not None:
            return labels
        self.summary = self._reader.summary
        self._ended = True
        raise StopAsyncIteration

    async def read_all(self) -> EpisodeLabels:
        """The whole episode's labels; for a stream of which nothing was read yet."""
        return self._reader.whole([labels async for labels in self])

    async def close(self) -> None:
        """Stop labelling; does nothing where the stream has ended."""
        self._call.cancel()

    async def _receive(self) -> labelling_pb2.LabelEpisodeResponse:
        try:
            with self._peer.explaining(self._doing):
                response = await self._call.read()
        except (asyncio.CancelledError, Exception):
            if self._feed.error is not None:
                raise self._feed.error from None
            raise
        if not isinstance(response, labelling_pb2.LabelEpisodeResponse):
            raise ServerError(f"the server ended the call early while {self._doing}")
        return response


class AsyncPlaySession:
    """An interactive simulation whose state the server keeps; an async context manager. Not for several tasks.

    Attributes:
        timing: where the time of the newest frame went, as the server saw it.

    """

    def __init__(self, call: _PlayCall, info: ModelInfo, peer: Peer) -> None:
        self._call = call
        self._info = info
        self._peer = peer
        self._reader = messages.StepReader()
        self.timing = Timing()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def send(self, request: simulation_pb2.PlayRequest) -> None:
        """Send one request without waiting for its answer."""
        with self._peer.explaining("playing"):
            await self._call.write(request)

    async def step(self, code: int) -> Frames:
        """Take one latent action; the (h, w, 3) uint8 frame that it leads to."""
        await self.send(simulation_pb2.PlayRequest(action=messages.check_action(code, self._info)))
        with self._peer.explaining("playing"):
            answer = await self._call.read()
        if not isinstance(answer, simulation_pb2.PlayResponse):
            raise ServerError("the server ended the session")
        self.timing = messages.read_timing(answer.timing)
        frames_NHWC = self._reader.read(answer.index, answer.frame)
        return frames_NHWC.squeeze(0)

    async def close(self) -> None:
        """End the session; the server forgets its state."""
        self._call.cancel()


class _Feed:
    """The requests of one labelling stream. gRPC only cancels the call where making one fails; `error` says why."""

    def __init__(
        self,
        chunks: Iterable[Frames] | AsyncIterable[Frames],
        size: messages.FrameSize | None,
        transport: Transport,
    ) -> None:
        self._chunks = chunks if isinstance(chunks, AsyncIterable) else _in_thread(chunks)
        self._packer = messages.FramePacker(size, transport)
        self.error: Exception | None = None

    async def requests(
        self, header: labelling_pb2.LabelEpisodeRequest, gate: asyncio.Queue[bool]
    ) -> AsyncIterator[labelling_pb2.LabelEpisodeRequest]:
        """The header and, once `gate` says that the server has accepted it, the frames, resized in a thread."""
        yield header
        if not await gate.get():
            return
        try:
            async for chunk in self._chunks:
                async for request in _in_thread(self._packer.pack(chunk)):
                    yield request
        except Exception as error:
            self.error = error
            raise


async def _in_thread(items: Iterable[_T]) -> AsyncIterator[_T]:
    """The items of a plain iterable, each made in a worker thread."""
    iterator = iter(items)
    while (item := await asyncio.to_thread(next, iterator, None)) is not None:
        yield item


__all__ = ["AsyncClient", "AsyncLabelStream", "AsyncPlaySession"]
