"""Flows: the calls of a client and the handling of their responses, without I/O, shared by both clients.

A flow is a generator: it yields the calls to make, one at a time, receives the response to each, and returns the
result. What does not depend on synchronous or asyncio I/O is thus written once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from google.protobuf.message import Message
from grpc import Channel, aio

from genie_api.v1 import labelling_pb2_grpc, models_pb2, models_pb2_grpc, simulation_pb2_grpc
from genie_client import messages
from genie_client.arguments import LabelArguments
from genie_client.records import EpisodeLabels, ModelInfo, ServerStatistics
from genie_core.data import Frames
from genie_core.errors import ModelError, RequestError

_T = TypeVar("_T")


class Stubs:
    """Stubs of the three services on one channel."""

    def __init__(self, channel: Channel | aio.Channel) -> None:
        self.models: Any = models_pb2_grpc.ModelServiceStub(channel)
        self.labelling: Any = labelling_pb2_grpc.LabellingServiceStub(channel)
        self.simulation: Any = simulation_pb2_grpc.SimulationServiceStub(channel)


@dataclass(frozen=True)
class Ask:
    """A call with one request and one response.

    Attributes:
        method: selects the method of a stub.
        request: the request message.
        doing: completes "while ..." in error messages.
        timeout_s: time limit, seconds; None: unlimited.

    """

    method: Callable[[Stubs], Any]
    request: Message
    doing: str
    timeout_s: float | None


Flow: TypeAlias = Generator[Ask, Any, _T]


class Conversation:
    """Flows of one connection, and a cache of its server's models.

    A model is requested once. If a response names another bundle, the model has been replaced and is requested again.
    """

    def __init__(self, timeout_s: float) -> None:
        """Start with an empty cache; `timeout_s` is for calls that need no computing."""
        self._timeout_s = timeout_s
        self._known: dict[str | None, ModelInfo] = {}

    def list_models(self) -> Flow[list[ModelInfo]]:
        """Return every model, page by page."""
        found: list[ModelInfo] = []
        token = ""
        while True:
            request = models_pb2.ListModelsRequest(page_token=token)
            page = yield Ask(lambda stubs: stubs.models.ListModels, request, "listing models", self._timeout_s)
            found += map(messages.model_info, page.models)
            token = page.next_page_token
            if not token:
                return found

    def get_model(self, name: str | None) -> Flow[ModelInfo]:
        """Return everything about one model, in its current state."""
        request = models_pb2.GetModelRequest(name=messages.resource_name(name))
        answer = yield Ask(lambda stubs: stubs.models.GetModel, request, "asking for a model", self._timeout_s)
        info = messages.model_info(answer.model)
        self._known[name] = info
        return info

    def load_model(self, name: str, timeout_s: float | None) -> Flow[ModelInfo]:
        """Load a model."""
        request = models_pb2.LoadModelRequest(name=messages.resource_name(name))
        answer = yield Ask(lambda stubs: stubs.models.LoadModel, request, f"loading {name}", timeout_s)
        self._known.clear()
        return messages.model_info(answer.model)

    def unload_model(self, name: str, timeout_s: float | None) -> Flow[ModelInfo]:
        """Unload a model."""
        request = models_pb2.UnloadModelRequest(name=messages.resource_name(name))
        answer = yield Ask(lambda stubs: stubs.models.UnloadModel, request, f"unloading {name}", timeout_s)
        self._known.clear()
        return messages.model_info(answer.model)

    def statistics(self) -> Flow[ServerStatistics]:
        """Return statistics of the server's device."""
        request = models_pb2.GetStatisticsRequest()
        answer = yield Ask(lambda stubs: stubs.models.GetStatistics, request, "asking for statistics", self._timeout_s)
        return messages.server_statistics(answer)

    def frame_size(self, arguments: LabelArguments, bundle_id: str | None) -> Flow[messages.FrameSize | None]:
        """Return the size to resize frames to; None: the server resizes. `bundle_id`: bundle that labels, if known.

        A call that began just before its model was replaced is still labelled by the old bundle, whose size nobody says
        any more: then the server resizes, which changes no bit. Raises ModelError where it would, for JPEG.
        """
        if not arguments.resize:
            return None
        info = yield from self._model(arguments.model)
        if bundle_id is not None and info.bundle_id != bundle_id:
            info = yield from self.get_model(arguments.model)
        if bundle_id is not None and info.bundle_id != bundle_id:
            if arguments.transport != "jpeg":
                return None
            raise ModelError(f"{info.name}: the server has replaced the model in the middle of the call; call again")
        return info.frame_size

    def label_clip(self, frames: Frames, arguments: LabelArguments) -> Flow[EpisodeLabels | None]:
        """Return the labels of an episode that fits one message; None if it does not fit and must be streamed."""
        bundle_id: str | None = None
        while True:
            size = yield from self.frame_size(arguments, bundle_id)
            request = messages.clip_request(frames, size, arguments)
            if request is None:
                return None
            doing = f"labelling {arguments.about}"
            answer = yield Ask(lambda stubs: stubs.labelling.LabelClip, request, doing, arguments.timeout_s)
            labels = messages.read_clip(answer)
            known = self._known.get(arguments.model)
            if size is None or bundle_id is not None or known is None or known.bundle_id == labels.provenance.bundle_id:
                return labels
            bundle_id = labels.provenance.bundle_id  # the frames were resized for another model: once more

    def request_of(
        self, model: str | None, make: Callable[[ModelInfo], _T], *, again: bool = False
    ) -> Flow[tuple[ModelInfo, _T]]:
        """Return the model and the request that `make` makes for it; `again`: after it was found to be replaced."""
        known = model in self._known and not again
        info = yield from self._model(model) if known else self.get_model(model)
        try:
            return info, make(info)
        except RequestError:
            if not known:
                raise
        info = yield from self.get_model(model)  # a replaced model may support what the old one does not
        return info, make(info)

    def _model(self, name: str | None) -> Flow[ModelInfo]:
        info = self._known.get(name)
        return info if info is not None else (yield from self.get_model(name))


__all__ = ["Ask", "Conversation", "Flow", "Stubs"]
