"""The synchronous client. What it sends and how it reads the answers is in `messages`; `aio` is its asyncio twin."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import Self, TypeVar, Unpack

import grpc
import numpy as np

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
from genie_client.errors import Peer, ServerBusyError, ServerUnavailableError
from genie_client.records import EpisodeLabels, ModelInfo, ServerStatistics
from genie_client.streams import Call, Feed, Gate, LabelStream, PlaySession
from genie_core.data import Frames, Transport

_Response = TypeVar("_Response")


class Client:
    """A connection to one Genie server; safe to share between threads. Closing it ends every call under way.

    Every method raises a `GenieError`: RequestError for a bad argument, ModelError for a model that cannot be used,
    and ServerUnavailableError, ServerBusyError, ServerTimeoutError or ServerError for what happens on the other side.
    A call that the server could not take is repeated up to three times; one that has begun never is.
    """

    def __init__(self, address: str, *, timeout_s: float = 30.0, wait_for_ready: bool = False) -> None:
        """Connect to ``host:port``; the connection is made by the first call.

        Args:
            address: where the server listens.
            timeout_s: how long a question that needs no computing (`model`, `models`) may take, seconds.
            wait_for_ready: wait up to `timeout_s` for a server that is not there yet, instead of failing at once.

        """
        self._peer = Peer(check_address(address))
        self._timeout_s = timeout_s
        self._wait = wait_for_ready
        self._channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._models = models_pb2_grpc.ModelServiceStub(self._channel)
        self._labelling = labelling_pb2_grpc.LabellingServiceStub(self._channel)
        self._simulation = simulation_pb2_grpc.SimulationServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every call under way and the connection."""
        self._channel.close()

    def models(self) -> list[ModelInfo]:
        """Every model that the server hosts, ordered by name; `codebook` and `card` are left empty."""
        found: list[ModelInfo] = []
        token = ""
        while True:
            request = models_pb2.ListModelsRequest(page_token=token)
            with self._peer.explaining("listing models"):
                page = self._models.ListModels(request, timeout=self._timeout_s, wait_for_ready=self._wait)
            found += map(messages.model_info, page.models)
            token = page.next_page_token
            if not token:
                return found

    def model(self, name: str | None = None) -> ModelInfo:
        """Everything about one model; None for the server's default model."""
        request = models_pb2.GetModelRequest(name=messages.resource_name(name))
        with self._peer.explaining("asking for a model"):
            answer = self._models.GetModel(request, timeout=self._timeout_s, wait_for_ready=self._wait)
        return messages.model_info(answer.model)

    def load_model(self, name: str, *, timeout_s: float | None = None) -> ModelInfo:
        """Load a model and warm it up; returns when it is ready. Loading a loaded model does nothing."""
        request = models_pb2.LoadModelRequest(name=messages.resource_name(name))
        with self._peer.explaining(f"loading {name}"):
            answer = self._models.LoadModel(request, timeout=timeout_s, wait_for_ready=self._wait)
        return messages.model_info(answer.model)

    def unload_model(self, name: str, *, timeout_s: float | None = None) -> ModelInfo:
        """Unload a model; requests under way finish first."""
        request = models_pb2.UnloadModelRequest(name=messages.resource_name(name))
        with self._peer.explaining(f"unloading {name}"):
            answer = self._models.UnloadModel(request, timeout=timeout_s, wait_for_ready=self._wait)
        return messages.model_info(answer.model)

    def statistics(self) -> ServerStatistics:
        """What the server's device does, and has done."""
        with self._peer.explaining("asking for statistics"):
            answer = self._models.GetStatistics(
                models_pb2.GetStatisticsRequest(), timeout=self._timeout_s, wait_for_ready=self._wait
            )
        return messages.server_statistics(answer)

    def label(
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
        """Label one episode, one label a frame: ``client.label(frames, fps=30)``.

        Args:
            frames_THWC: (T, H, W, 3) uint8 RGB, any H and W.
            model: name of a model on the server; its default model where None.
            resize: shrink to the model's frames here, which sends far less and gives the same labels bit for bit.
            transport: how frames are sent: ``raw``; ``png``, the same labels in a third to two thirds of the bytes;
                ``jpeg``, a tenth to a fifth of the bytes, which changes pixels and so may change labels.
            about: what error messages call the episode.
            timeout_s: most seconds that the whole episode may take; no limit where None.
            labelling: ``fps``, ``step``, ``density`` and ``alignment``, see `Labelling`.

        """
        with self.label_stream(
            [frames_THWC],
            model=model,
            resize=resize,
            transport=transport,
            about=about,
            timeout_s=timeout_s,
            **labelling,
        ) as stream:
            return stream.read_all()

    def label_stream(
        self,
        chunks: Iterable[Frames],
        *,
        model: str | None = None,
        resize: bool = True,
        transport: Transport = "raw",
        about: str = "the episode",
        timeout_s: float | None = None,
        **labelling: Unpack[Labelling],
    ) -> LabelStream:
        """Label an episode of any length, read from `chunks` in a thread of its own; arguments as for `label`.

        Returns once the server has accepted the episode. Labels come as they become final; neither side keeps frames.
        """
        header = messages.header_request(messages.label_options(model, **labelling))
        size = self.model(model).frame_size if resize else None
        feed = Feed(messages.frame_requests(chunks, size, transport))
        try:
            for wait_s in RETRY_WAITS_S:
                try:
                    return self._begin_labelling(header, feed, about, timeout_s)
                except (ServerBusyError, ServerUnavailableError):
                    time.sleep(wait_s)
            return self._begin_labelling(header, feed, about, timeout_s)
        except BaseException:
            feed.stop()
            raise

    def rollout(
        self,
        prompt: Frames,
        actions: Sequence[int],
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        **sampling: Unpack[Sampling],
    ) -> Frames:
        """The frames that `actions` would have produced from `prompt`: (T, h, w, 3) uint8, T = len(actions).

        Args:
            prompt: (H, W, 3) or (P, H, W, 3) uint8 RGB frames at the model's frame rate; P up to its context.
            actions: latent action codes, one a frame to make.
            model: name of a model on the server; its default model where None.
            timeout_s: most seconds that the whole rollout may take; no limit where None.
            sampling: ``seed``, ``temperature`` and ``maskgit_steps``, see `Sampling`.

        """
        return np.stack(list(self.rollout_stream(prompt, actions, model=model, timeout_s=timeout_s, **sampling)))

    def rollout_stream(
        self,
        prompt: Frames,
        actions: Sequence[int],
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        **sampling: Unpack[Sampling],
    ) -> Iterator[Frames]:
        """As `rollout`, but gives each (h, w, 3) frame as it is made."""
        info = self.model(model)
        request = messages.rollout_request(info, prompt, actions, **sampling)
        call = self._simulation.Rollout(request, timeout=timeout_s, wait_for_ready=self._wait)
        reader = messages.StepReader()
        for answer in self._answers(call):
            yield reader.read(answer.index, answer.frame).squeeze(0)

    def branch(
        self,
        prompt: Frames,
        branches: Sequence[Sequence[int]],
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        **sampling: Unpack[Sampling],
    ) -> Frames:
        """What each of N action sequences of one length T would have produced: (N, T, h, w, 3) uint8.

        The branches are computed together; each is the same as its own `rollout`. Arguments as for `rollout`.
        """
        frames = self.branch_stream(prompt, branches, model=model, timeout_s=timeout_s, **sampling)
        return np.stack(list(frames), axis=1)

    def branch_stream(
        self,
        prompt: Frames,
        branches: Sequence[Sequence[int]],
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        **sampling: Unpack[Sampling],
    ) -> Iterator[Frames]:
        """As `branch`, but gives each step's (N, h, w, 3) frames as they are made."""
        info = self.model(model)
        request = messages.branch_request(info, prompt, branches, **sampling)
        call = self._simulation.Branch(request, timeout=timeout_s, wait_for_ready=self._wait)
        reader = messages.StepReader(len(branches))
        for answer in self._answers(call):
            yield reader.read(answer.index, answer.frames)

    def play(
        self,
        prompt: Frames,
        *,
        model: str | None = None,
        timeout_s: float | None = None,
        **sampling: Unpack[Sampling],
    ) -> PlaySession:
        """Start an interactive simulation: ``with client.play(prompt) as session: frame = session.step(3)``."""
        info = self.model(model)
        start = messages.simulation_start(info, prompt, **sampling)
        outbox: SimpleQueue[simulation_pb2.PlayRequest | None] = SimpleQueue()
        outbox.put(simulation_pb2.PlayRequest(start=start))
        call = self._simulation.Play(iter(outbox.get, None), timeout=timeout_s, wait_for_ready=self._wait)
        return PlaySession(call, outbox, info, self._peer)

    def _begin_labelling(
        self,
        header: labelling_pb2.LabelEpisodeRequest,
        feed: Feed[labelling_pb2.LabelEpisodeRequest],
        about: str,
        timeout_s: float | None,
    ) -> LabelStream:
        """A stream that the server has accepted; where it refuses, `feed` is untouched."""
        gate = Gate()
        requests = gate.requests(header, feed)
        call = self._labelling.LabelEpisode(requests, timeout=timeout_s, wait_for_ready=self._wait)
        return LabelStream(call, gate, feed, self._peer, about)

    def _answers(self, call: Call[_Response]) -> Iterator[_Response]:
        """The answers of a simulation, which is cancelled where nobody reads on."""
        try:
            with self._peer.explaining("simulating"):
                yield from call
        finally:
            call.cancel()


__all__ = ["Client"]
