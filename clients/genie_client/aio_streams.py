"""The asyncio client's two streaming calls, as `streams` has the synchronous client's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeAlias, TypeVar

from grpc import aio
from numpy.typing import ArrayLike

from genie_api.v1 import labelling_pb2, simulation_pb2
from genie_client import messages
from genie_client.errors import Peer, ServerError
from genie_client.records import EpisodeLabels, ModelInfo
from genie_client.simulation_messages import Latents, ModelReplacedError
from genie_client.stream_states import LabelStreamState, PlayState
from genie_core.closing import AsyncClosing
from genie_core.data import Frames, Labels, Transport

_T = TypeVar("_T")
_LabelCall = aio.StreamStreamCall[labelling_pb2.LabelEpisodeRequest, labelling_pb2.LabelEpisodeResponse]
PlayCall: TypeAlias = aio.StreamStreamCall[simulation_pb2.PlayRequest, simulation_pb2.PlayResponse]


class AsyncFeed:
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


class AsyncLabelStream(LabelStreamState, AsyncClosing, AsyncIterator[Labels]):
    """Labels of one episode as they become final; an async context manager, which stops the call on exit."""

    def __init__(self, call: _LabelCall, gate: asyncio.Queue[AsyncFeed | None], peer: Peer, about: str) -> None:
        super().__init__(about)
        self._call = call
        self._gate = gate
        self._peer = peer
        self._feed: AsyncFeed | None = None

    async def begin(self) -> None:
        """Wait until the server has accepted the episode."""
        self._accepted(await self._receive())

    def feed(self, feed: AsyncFeed) -> None:
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


class AsyncPlaySession(PlayState, AsyncClosing):
    """An interactive simulation whose state is on the server; an async context manager. For one task only."""

    def __init__(
        self,
        call: PlayCall,
        info: ModelInfo,
        begin: Callable[[], Awaitable[tuple[PlayCall, ModelInfo]]],
        peer: Peer,
        alignment: str | None = None,
    ) -> None:
        """Take a call that has been begun; `begin` begins it again if its model is replaced before the first frame."""
        super().__init__(info, alignment)
        self._call = call
        self._begin = begin
        self._peer = peer

    async def send(self, code: int | Latents | None = None, *, robot_action: ArrayLike | None = None) -> None:
        """Take one action without waiting for its frame; `receive` returns the frames in order."""
        await self._write(self._request(code, robot_action))

    async def receive(self) -> Frames:
        """Return the (h, w, 3) uint8 frame of the oldest action that was sent and not yet answered."""
        while True:
            with self._peer.explaining("playing", self._call):
                answer = await self._call.read()
            try:
                return self._frame(answer)
            except ModelReplacedError as error:
                self._beginnings.replaced(error)
            self._call.cancel()
            self._call, info = await self._begin()
            for request in self._again(info):
                await self._write(request)

    async def step(self, code: int | Latents | None = None, *, robot_action: ArrayLike | None = None) -> Frames:
        """Take one action; return the (h, w, 3) uint8 frame that it leads to. See `PlaySession.step`."""
        await self.send(code, robot_action=robot_action)
        return await self.receive()

    async def close(self) -> None:
        """End the session; the server discards its state."""
        self._call.cancel()

    async def _write(self, request: simulation_pb2.PlayRequest) -> None:
        with self._peer.explaining("playing", self._call):
            try:
                await self._call.write(request)
            except asyncio.InvalidStateError:  # the call has ended, for a reason that reading gives
                await self._call.read()
                raise ServerError("the server ended the session") from None


async def gated_requests(
    header: labelling_pb2.LabelEpisodeRequest, gate: asyncio.Queue[AsyncFeed | None]
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


__all__ = ["AsyncFeed", "AsyncLabelStream", "AsyncPlaySession", "PlayCall", "gated_requests"]
