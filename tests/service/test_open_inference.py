"""The Open Inference Protocol over real channels: what LabelClip gives, under the protocol's names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import prometheus_client
import pytest

from genie_api.open_inference import inference_pb2 as oip
from genie_api.open_inference import inference_pb2_grpc
from genie_api.v1 import frames_pb2, labelling_pb2
from tests.support.service_server import Running, serving

FRAMES = np.random.default_rng(3).integers(0, 256, (20, 24, 40, 3), np.uint8)
DTYPES = {"INT32": "<i4", "FP32": "<f4", "BOOL": "?"}


@pytest.fixture(scope="module")
def speaking(models: Path) -> Iterator[Running]:
    with serving(models, default_model="alpha", open_inference=True) as running:
        yield running


@pytest.fixture
def stub(speaking: Running) -> inference_pb2_grpc.GRPCInferenceServiceStub:
    return inference_pb2_grpc.GRPCInferenceServiceStub(speaking.channel)


def request(**changed: Any) -> oip.ModelInferRequest:
    fields: dict[str, Any] = {
        "id": "7",
        "parameters": {"step": oip.InferParameter(int64_param=2)},
        "inputs": [oip.ModelInferRequest.InferInputTensor(name="frames", datatype="UINT8", shape=FRAMES.shape)],
        "raw_input_contents": [FRAMES.tobytes()],
    }
    return oip.ModelInferRequest(**{**fields, **changed})


def tensors(answer: oip.ModelInferResponse) -> dict[str, np.ndarray[Any, Any]]:
    assert len(answer.outputs) == len(answer.raw_output_contents)
    return {
        output.name: np.frombuffer(raw, DTYPES[output.datatype]).reshape(tuple(output.shape))
        for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
    }


def test_the_labels_are_those_of_label_clip(
    speaking: Running, stub: inference_pb2_grpc.GRPCInferenceServiceStub
) -> None:
    answer = stub.ModelInfer(request())
    frames = frames_pb2.Frames(
        encoding=frames_pb2.FRAME_ENCODING_RAW, data_type=frames_pb2.DATA_TYPE_UINT8, count=20, height=24, width=40,
        channels=3, raw=FRAMES.tobytes(),
    )  # fmt: skip
    options = labelling_pb2.LabelOptions(step=2)
    clip = speaking.labelling.LabelClip(labelling_pb2.LabelClipRequest(options=options, frames=frames))
    found = tensors(answer)
    assert found["code"].tolist() == list(clip.labels.code)
    assert found["latent"].tobytes() == clip.labels.latent
    assert found["latent"].shape == (20, clip.provenance.latent_dim)
    assert found["confidence"].tolist() == list(clip.labels.confidence)
    assert found["valid"].tolist() == list(clip.labels.valid) == [True] * 18 + [False] * 2
    assert (answer.id, answer.model_name, answer.model_version) == ("7", "alpha", clip.provenance.bundle_id)
    assert answer.parameters["step"].int64_param == 2
    by_rate = stub.ModelInfer(request(parameters={"fps": oip.InferParameter(string_param="20")}))
    assert by_rate.parameters["step"].int64_param == 2
    wanted = [oip.ModelInferRequest.InferRequestedOutputTensor(name=name) for name in ("valid", "code")]
    assert list(tensors(stub.ModelInfer(request(outputs=wanted)))) == ["valid", "code"]
    counted = prometheus_client.generate_latest(speaking.server.metrics.registry).decode()
    assert 'genie_frames_total{method="ModelInfer"} 60.0' in counted


def test_server_and_models_describe_themselves(stub: inference_pb2_grpc.GRPCInferenceServiceStub) -> None:
    assert stub.ServerLive(oip.ServerLiveRequest()).live
    assert stub.ServerReady(oip.ServerReadyRequest()).ready
    assert stub.ServerMetadata(oip.ServerMetadataRequest()).name == "genie"
    model = stub.ModelMetadata(oip.ModelMetadataRequest(name="alpha"))
    assert [(t.name, t.datatype, list(t.shape)) for t in model.inputs] == [("frames", "UINT8", [-1, -1, -1, 3])]
    assert [(t.name, t.datatype) for t in model.outputs] == [
        ("code", "INT32"), ("latent", "FP32"), ("confidence", "FP32"), ("valid", "BOOL"),
    ]  # fmt: skip
    version = model.versions[0][:8]

    def ready(name: str, version: str = "") -> bool:
        return stub.ModelReady(oip.ModelReadyRequest(name=name, version=version)).ready

    assert ready("alpha", version)
    assert not ready("alpha", "0" * 8)
    assert not ready("beta")
    assert not ready("gamma")


@pytest.mark.parametrize(
    ("changed", "code", "said"),
    [
        ({"parameters": {}}, "INVALID_ARGUMENT", "parameters.fps: got neither fps nor step"),
        ({"parameters": {"stride": oip.InferParameter()}}, "INVALID_ARGUMENT", "'stride', expected step or fps"),
        ({"parameters": {"step": oip.InferParameter(double_param=1.5)}}, "INVALID_ARGUMENT", "step: got 1.5"),
        ({"parameters": {"fps": oip.InferParameter(bool_param=True)}}, "INVALID_ARGUMENT", "fps: got True"),
        ({"inputs": []}, "INVALID_ARGUMENT", "inputs: got none, expected one tensor, frames"),
        ({"raw_input_contents": [b"short"]}, "INVALID_ARGUMENT", "got 5 bytes, expected 57600"),
        ({"raw_input_contents": []}, "INVALID_ARGUMENT", "contents are not taken"),
        ({"model_name": "gamma"}, "NOT_FOUND", "gamma"),
        ({"model_version": "beef"}, "NOT_FOUND", "got 'beef' of model alpha"),
        (
            {"outputs": [oip.ModelInferRequest.InferRequestedOutputTensor(name="action")]},
            "INVALID_ARGUMENT",
            "outputs.name: got 'action', expected one of code, latent, confidence, valid",
        ),
    ],
)
def test_what_is_wrong_is_named_as_it_was_called(
    stub: inference_pb2_grpc.GRPCInferenceServiceStub, changed: dict[str, Any], code: str, said: str
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        stub.ModelInfer(request(**changed))
    assert refused.value.code().name == code
    assert said in refused.value.details()


def test_one_frame_and_other_shapes_are_refused(stub: inference_pb2_grpc.GRPCInferenceServiceStub) -> None:
    tensor = oip.ModelInferRequest.InferInputTensor
    for shape, said in (((1, 24, 40, 3), "expected at least 2 frames"), ((24, 40, 3), "expected (T, H, W, 3)")):
        inputs = [tensor(name="frames", datatype="UINT8", shape=shape)]
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelInfer(request(inputs=inputs, raw_input_contents=[bytes(int(np.prod(shape)))]))
        assert refused.value.details().startswith("inputs.frames.shape: got ")
        assert said in refused.value.details()
    many = oip.InferTensorContents(uint_contents=[1] * 5000)
    with pytest.raises(grpc.RpcError) as refused:
        stub.ModelInfer(request(inputs=[tensor(name="frames", contents=many)]))
    assert "uint_contents: got more than 1024" in refused.value.details()


def test_the_protocol_is_spoken_only_when_asked_for(genie: Running, start: Callable[..., Running]) -> None:
    stub = inference_pb2_grpc.GRPCInferenceServiceStub(genie.channel)
    with pytest.raises(grpc.RpcError) as refused:
        stub.ServerLive(oip.ServerLiveRequest())
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
