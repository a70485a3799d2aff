"""Messages of clients: counted, unpacked and checked as the server does, frames decoded too."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from genie_api.open_inference import inference_pb2 as oip
from genie_api.v1 import frames_pb2, labelling_pb2, models_pb2, simulation_pb2
from genie_core.data.frames.images import encode_image
from genie_core.inference import Sampling
from genie_core.models.config import ModelConfig
from genie_core.models.presets import preset
from genie_service.frames import check_frames, decode_frames
from genie_service.interceptors.transfer import _Unpack
from genie_service.server import _simulation_limits, _transfer_limits
from genie_service.servicers.label_requests import plan_labels
from genie_service.servicers.names import model_name
from genie_service.servicers.open_inference import _checked_shape, _options
from genie_service.servicers.robot_actions import RobotActions
from genie_service.servicers.simulation_requests import (
    SimulationLimits,
    check_start,
    frame_size_of,
    read_actions,
    read_branches,
    sampling_of,
)
from genie_service.settings import Settings, load_settings
from tests.factories.data import make_frames
from tests.fuzz.target import Target
from tests.support.service_messages import raw

T = TypeVar("T")


@cache
def _settings() -> Settings:
    return load_settings({})


@cache
def _config() -> ModelConfig:
    return preset("nano")


def _frames(message: frames_pb2.Frames, field: str) -> None:
    """As a servicer reads them, but at once and in this thread."""

    async def run(work: Callable[[], T]) -> T:
        return work()

    decoding = decode_frames(message, field, _settings().frame_limits, (32, 32), run)
    try:
        decoding.send(None)
    except StopIteration as done:
        frames = done.value
    assert frames.shape == (message.count, 32, 32, 3)
    assert frames.dtype == np.uint8


def _clip(message: labelling_pb2.LabelClipRequest) -> None:
    model_name(message.options.model, "options.model")
    plan_labels(message.options, _config(), "options").first_pieces(message.frames.count)
    check_frames(message.frames, "frames", _settings().frame_limits)
    _frames(message.frames, "frames")


def _episode(message: labelling_pb2.LabelEpisodeRequest) -> None:
    if message.HasField("header"):
        model_name(message.header.model, "header.model")
        plan_labels(message.header, _config(), "header").first_pieces()
    _frames(message.frames, "frames")


def _start(start: simulation_pb2.SimulationStart) -> None:
    model_name(start.model, "start.model")
    check_start(start, _config(), "start")
    sampling_of(start.sampling, _config(), "start.sampling")
    height, width = frame_size_of(start, preset("motion"), Sampling(0), 3, _limits(), "start")
    assert height * width <= _settings().max_simulated_pixels
    _frames(start.prompt, "start.prompt")


def _limits() -> SimulationLimits:
    return _simulation_limits(_settings())


def _rollout(message: simulation_pb2.RolloutRequest) -> None:
    read_actions(message.actions, _config(), RobotActions(None), _limits(), "actions")
    _start(message.start)


def _branch(message: simulation_pb2.BranchRequest) -> None:
    read_branches(message.branches, _config(), RobotActions(None), _limits())
    _start(message.start)


def _model(message: models_pb2.LoadModelRequest) -> None:
    model_name(message.name, "name", required=True)


def _infer(message: oip.ModelInferRequest) -> None:
    count, height, width = _checked_shape(message)
    assert len(message.raw_input_contents[0]) == count * height * width * 3
    _options(message.parameters)


CHECKS: tuple[tuple[type[Any], Callable[[Any], None]], ...] = (
    (labelling_pb2.LabelClipRequest, _clip),
    (labelling_pb2.LabelEpisodeRequest, _episode),
    (simulation_pb2.RolloutRequest, _rollout),
    (simulation_pb2.BranchRequest, _branch),
    (simulation_pb2.PlayRequest, lambda message: _start(message.start)),
    (models_pb2.LoadModelRequest, _model),
    (oip.ModelInferRequest, _infer),
)
"""Messages, by the first byte of an input, with what the server checks of each."""


def _read(data: bytes, folder: Path) -> None:
    kind, check = CHECKS[(data[0] if data else 0) % len(CHECKS)]
    check(_Unpack(data[1:], kind.FromString, _transfer_limits(_settings()).counts)())


def _inference(video: NDArray[np.uint8]) -> oip.ModelInferRequest:
    tensor = oip.ModelInferRequest.InferInputTensor(name="frames", datatype="UINT8", shape=video.shape)
    return oip.ModelInferRequest(
        model_name="nano",
        id="7",
        parameters={"step": oip.InferParameter(int64_param=1), "fps": oip.InferParameter(string_param="10")},
        inputs=[tensor],
        outputs=[oip.ModelInferRequest.InferRequestedOutputTensor(name="code")],
        raw_input_contents=[video.tobytes()],
    )


def messages() -> list[tuple[int, Any]]:
    """Whole messages, with their place in `CHECKS`."""
    video = make_frames(2, 8, 10)
    start = simulation_pb2.SimulationStart(
        model="models/nano",
        prompt=raw(video[:1]),
        response_encoding=frames_pb2.FRAME_ENCODING_PNG,
        sampling=simulation_pb2.SamplingOptions(maskgit_steps=2, temperature=0.5, seed=3),
        frame_height=48,
        frame_width=64,
    )
    options = labelling_pb2.LabelOptions(model="models/nano", fps=10, step=1, density=1, alignment="a")
    sequence = simulation_pb2.ActionSequence(codes=[1, 2])

    def packed(kind: Any) -> frames_pb2.Frames:
        encoding = frames_pb2.FRAME_ENCODING_PNG if kind == "png" else frames_pb2.FRAME_ENCODING_JPEG
        images = [encode_image(frame, kind) for frame in video]
        return raw(video, encoding=encoding, raw=b"", images=images)

    return [
        (0, labelling_pb2.LabelClipRequest(options=options, frames=raw(video))),
        (0, labelling_pb2.LabelClipRequest(options=options, frames=packed("png"))),
        (0, labelling_pb2.LabelClipRequest(options=options, frames=packed("jpeg"))),
        (1, labelling_pb2.LabelEpisodeRequest(header=options)),
        (1, labelling_pb2.LabelEpisodeRequest(frames=raw(video))),
        (2, simulation_pb2.RolloutRequest(start=start, actions=sequence)),
        (3, simulation_pb2.BranchRequest(start=start, branches=[sequence, sequence])),
        (4, simulation_pb2.PlayRequest(start=start)),
        (4, simulation_pb2.PlayRequest(action=3)),
        (5, models_pb2.LoadModelRequest(name="models/nano")),
        (6, _inference(video)),
    ]


def _seeds(folder: Path) -> list[bytes]:
    return [bytes((number,)) + message.SerializeToString() for number, message in messages()]


TARGETS = (Target("requests", _read, _seeds, inputs=400_000, memory_mib=320),)
