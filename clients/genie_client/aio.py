"""The asyncio client: the same methods and arguments as `client.Client`, to be awaited. Never blocks the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar, Unpack

import numpy as np
from google.protobuf.message import Message
from numpy.typing import ArrayLike

from genie_api.v1 import labelling_pb2
from genie_client import messages
from genie_client import simulation_messages as simulations
from genie_client.aio_streams import AsyncFeed, AsyncLabelStream, AsyncPlaySession, PlayCall, gated_requests
from genie_client.arguments import LabelArguments, Labelling, Simulating, SimulationArguments
from genie_client.connection import Tls, open_aio_channel, security_for
from genie_client.errors import Peer, ServerError
from genie_client.flows import Conversation, Flow, Stubs
from genie_client.patience import CALL_PATIENCE_S, Patience, Tries
from genie_client.records import EpisodeLabels, ModelInfo, ServerStatistics, SimulatedFrame
from genie_client.simulation_messages import Actions, Latents
from genie_core.closing import AsyncClosing
from genie_core.data import Frames

_T = TypeVar("_T")


class AsyncClient(AsyncClosing):
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
            stream.feed(AsyncFeed(chunks, size, arguments.transport))
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

        async def begin() -> tuple[PlayCall, ModelInfo]:
            info, start = await self._run(self._conversation.request_of(arguments.model, make, again=True))
            call: PlayCall = self._stubs.simulation.Play(timeout=arguments.timeout_s, wait_for_ready=self._wait)
            try:
                with self._peer.explaining("playing", call):
                    await call.write(start)
            except BaseException:
                call.cancel()  # a write that is cancelled early leaves its call open
                raise
            return call, info

        return AsyncPlaySession(*await begin(), begin, self._peer, arguments.alignment)

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
        tries = Tries(self._patience if patience_s is None else Patience(patience_s))
        while True:
            try:
                return await begin()
            except ServerError as error:
                wait_s = tries.wait_s(error)
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s)

    async def _begin_labelling(
        self, header: labelling_pb2.LabelEpisodeRequest, arguments: LabelArguments
    ) -> AsyncLabelStream:
        """Return a stream that the server has accepted, ready for its frames."""
        gate: asyncio.Queue[AsyncFeed | None] = asyncio.Queue()
        call = self._stubs.labelling.LabelEpisode(
            gated_requests(header, gate), timeout=arguments.timeout_s, wait_for_ready=self._wait
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
        beginnings = simulations.Beginnings()
        while True:
            info, request = await self._run(
                self._conversation.request_of(arguments.model, make, again=beginnings.again)
            )
            reader = simulations.StepReader(info, branches, arguments.alignment)
            call = method(request, timeout=arguments.timeout_s, wait_for_ready=self._wait)
            try:
                with self._peer.explaining("simulating", call):
                    async for answer in call:
                        yield reader.read(answer)
                return
            except simulations.ModelReplacedError as error:  # raised before the first frame, or never
                beginnings.replaced(error)
            finally:
                call.cancel()


__all__ = ["AsyncClient"]
