"""What a client asks and when: a model once a connection, and again when an answer shows that it was replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pytest

from genie_api.v1 import labelling_pb2, models_pb2
from genie_client import ModelError, ModelInfo, RequestError
from genie_client.arguments import LabelArguments
from genie_client.flows import Conversation, Flow
from tests.factories.data import make_frames

T = TypeVar("T")
FRAMES = make_frames(6, 48, 64)


class Server:
    """Answers requests by their kind, and keeps them; its model can be replaced."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.bundle, self.side, self.codes = "a" * 64, 32, 8

    def run(self, flow: Flow[T]) -> T:
        answer: Any = None
        while True:
            try:
                ask = flow.send(answer)
            except StopIteration as done:
                result: T = done.value
                return result
            self.asked.append(ask.request)
            answer = self._answer(ask.request)

    def kinds(self) -> list[str]:
        return [type(request).__name__ for request in self.asked]

    def _answer(self, request: Any) -> Any:
        if isinstance(request, models_pb2.GetModelRequest):
            model = models_pb2.Model(
                name="models/one",
                bundle_id=self.bundle,
                frame_height=self.side,
                frame_width=self.side,
                num_codes=self.codes,
                precision="float32",
            )
            return models_pb2.GetModelResponse(model=model)
        assert isinstance(request, labelling_pb2.LabelClipRequest)
        count = request.frames.count
        labels = labelling_pb2.Labels(
            code=[0] * count,
            latent=np.zeros((count, 2), "<f4").tobytes(),
            confidence=[0] * count,
            valid=[True] * (count - 1) + [False],
        )
        provenance = labelling_pb2.LabelProvenance(bundle_id=self.bundle, latent_dim=2, precision="float32", step=1)
        return labelling_pb2.LabelClipResponse(provenance=provenance, labels=labels)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def conversation() -> Conversation:
    return Conversation(timeout_s=1.0)


def test_a_model_is_asked_for_once_a_connection(server: Server, conversation: Conversation) -> None:
    for _ in range(3):
        labels = server.run(conversation.label_clip(FRAMES, LabelArguments(fps=10)))
        assert labels is not None
        assert (len(labels), labels.summary.transitions) == (6, 5)
    assert server.kinds() == ["GetModelRequest"] + ["LabelClipRequest"] * 3


def test_a_clip_is_labelled_again_at_the_size_of_the_model_that_replaced_the_known_one(
    server: Server, conversation: Conversation
) -> None:
    server.run(conversation.label_clip(FRAMES, LabelArguments(fps=10)))
    server.bundle, server.side = "b" * 64, 16
    labels = server.run(conversation.label_clip(FRAMES, LabelArguments(fps=10)))
    assert labels is not None
    assert labels.provenance.bundle_id == "b" * 64
    assert server.kinds()[2:] == ["LabelClipRequest", "GetModelRequest", "LabelClipRequest"]
    assert [request.frames.height for request in server.asked if hasattr(request, "frames")] == [32, 32, 16]


def test_frames_that_the_server_resizes_need_no_model(server: Server, conversation: Conversation) -> None:
    server.run(conversation.label_clip(FRAMES, LabelArguments(fps=10, resize=False)))
    assert server.kinds() == ["LabelClipRequest"]


def test_a_stream_is_sent_at_the_size_of_the_model_that_accepted_it(server: Server, conversation: Conversation) -> None:
    assert server.run(conversation.frame_size(LabelArguments(), "a" * 64)) == (32, 32)
    server.bundle, server.side = "b" * 64, 16
    assert server.run(conversation.frame_size(LabelArguments(), "b" * 64)) == (16, 16)
    assert server.run(conversation.frame_size(LabelArguments(), "c" * 64)) is None  # the server resizes
    with pytest.raises(ModelError, match="replaced the model"):
        server.run(conversation.frame_size(LabelArguments(transport="jpeg"), "c" * 64))


def test_what_a_known_model_cannot_do_is_asked_of_the_one_there_is_now(
    server: Server, conversation: Conversation
) -> None:
    def wanting(code: int) -> Callable[[ModelInfo], int]:
        def make(info: ModelInfo) -> int:
            if code >= info.num_codes:
                raise RequestError("actions", "out of range")
            return code

        return make

    assert server.run(conversation.request_of(None, wanting(7)))[1] == 7
    server.codes = 32
    assert server.run(conversation.request_of(None, wanting(20)))[1] == 20
    with pytest.raises(RequestError):
        server.run(conversation.request_of(None, wanting(40)))
    assert server.kinds() == ["GetModelRequest"] * 3
