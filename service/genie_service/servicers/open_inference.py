"""The Open Inference Protocol, version 2, over LabellingService: a clip in, its labels out, through the same engine.

Nothing is computed or limited here: a ModelInfer becomes a LabelClip, and its answer the tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_api.open_inference import inference_pb2 as oip
from genie_api.open_inference import inference_pb2_grpc
from genie_api.v1 import frames_pb2, labelling_pb2
from genie_core import __version__
from genie_core.errors import RequestError
from genie_core.models.bundle import BundleInfo
from genie_service.calls import current_call
from genie_service.errors import UnknownModelError
from genie_service.interceptors.wrapping import Context
from genie_service.registry import ModelRegistry, ModelStatus, State
from genie_service.servicers.labelling import LabellingServicer
from genie_service.servicers.names import resource_name

_FRAMES = "frames"
_PLATFORM = "genie_latent_actions"

_AS_CALLED = {
    "options.step": "parameters.step",
    "options.fps": "parameters.fps",
    "options.model": "model_name",
    "frames": "inputs.frames.shape",
}
"""What fields of a LabelClip are in a ModelInfer; the longest beginning counts."""


@dataclass(frozen=True)
class _Output:
    """A tensor of labels.

    Attributes:
        datatype: the protocol's name of its type.
        dtype: NumPy's.
        column: size of its second dimension; None: it has one.
        read: gives its elements.

    """

    datatype: str
    dtype: str
    column: int | None
    read: Callable[[labelling_pb2.Labels], bytes | Sequence[Any]]

    def shape(self, frames: int) -> list[int]:
        return [frames] if self.column is None else [frames, self.column]

    def raw(self, labels: labelling_pb2.Labels) -> bytes:
        values = self.read(labels)
        if isinstance(values, bytes):
            return values
        array: NDArray[Any] = np.array(values, self.dtype)
        return array.tobytes()


class OpenInferenceServicer(inference_pb2_grpc.GRPCInferenceServiceServicer):
    """Serves the protocol from the registry, and labels with `labelling`."""

    def __init__(self, registry: ModelRegistry, labelling: LabellingServicer, is_ready: Callable[[], bool]) -> None:
        self._registry, self._labelling, self._is_ready = registry, labelling, is_ready

    async def ServerLive(self, request: oip.ServerLiveRequest, context: Context) -> oip.ServerLiveResponse:
        """Say that the server runs."""
        return oip.ServerLiveResponse(live=True)

    async def ServerReady(self, request: oip.ServerReadyRequest, context: Context) -> oip.ServerReadyResponse:
        """Say whether the default model can be used."""
        return oip.ServerReadyResponse(ready=self._is_ready())

    async def ModelReady(self, request: oip.ModelReadyRequest, context: Context) -> oip.ModelReadyResponse:
        """Say whether a model can be used; an unknown one cannot."""
        try:
            status = await self._status(request.name, request.version)
        except UnknownModelError:
            return oip.ModelReadyResponse(ready=False)
        return oip.ModelReadyResponse(ready=status.state is State.READY)

    async def ServerMetadata(self, request: oip.ServerMetadataRequest, context: Context) -> oip.ServerMetadataResponse:
        """Name the server."""
        return oip.ServerMetadataResponse(name="genie", version=__version__)

    async def ModelMetadata(self, request: oip.ModelMetadataRequest, context: Context) -> oip.ModelMetadataResponse:
        """Describe the tensors of a model, whether or not it is loaded."""
        status = await self._status(request.name, request.version)
        info = _info(status)
        tensor = oip.ModelMetadataResponse.TensorMetadata
        return oip.ModelMetadataResponse(
            name=status.name,
            versions=[info.bundle_id],
            platform=_PLATFORM,
            inputs=[tensor(name=_FRAMES, datatype="UINT8", shape=(-1, -1, -1, 3))],
            outputs=[
                tensor(name=name, datatype=output.datatype, shape=output.shape(-1))
                for name, output in _outputs(info).items()
            ],
        )

    async def ModelInfer(self, request: oip.ModelInferRequest, context: Context) -> oip.ModelInferResponse:
        """Label one clip."""
        status = await self._status(request.model_name, request.model_version)
        outputs = _wanted(request, _outputs(_info(status)))
        count, height, width = _checked_shape(request)
        options = labelling_pb2.LabelOptions(model=resource_name(status.name), **_options(request.parameters))
        with current_call().memory.message(len(request.raw_input_contents[0])):  # there twice until it is read
            clip = labelling_pb2.LabelClipRequest(
                options=options,
                frames=frames_pb2.Frames(
                    encoding=frames_pb2.FRAME_ENCODING_RAW,
                    data_type=frames_pb2.DATA_TYPE_UINT8,
                    count=count,
                    height=height,
                    width=width,
                    channels=3,
                    raw=request.raw_input_contents[0],
                ),
            )
            try:
                answer = await self._labelling.LabelClip(clip, context)
            except RequestError as error:
                raise _as_called(error) from error
        tensor = oip.ModelInferResponse.InferOutputTensor
        made, parameter = answer.provenance, oip.InferParameter
        return oip.ModelInferResponse(
            model_name=status.name,
            model_version=made.bundle_id,
            id=request.id,
            parameters={
                "step": parameter(int64_param=made.step),
                "precision": parameter(string_param=made.precision),
                "processor": parameter(string_param=made.processor),
                "torch_version": parameter(string_param=made.torch_version),
            },
            outputs=[
                tensor(name=name, datatype=output.datatype, shape=output.shape(count))
                for name, output in outputs.items()
            ],
            raw_output_contents=[output.raw(answer.labels) for output in outputs.values()],
        )

    async def _status(self, name: str, version: str) -> ModelStatus:
        """Return the status of a model; "" is the default. Raises UnknownModelError for another version, too."""
        status = await self._registry.status(name)
        if version and not (status.info is not None and status.info.bundle_id.startswith(version)):
            there = "none" if status.info is None else status.info.bundle_id[:12]
            raise UnknownModelError(f"version: got {version!r} of model {status.name}, expected empty or {there}")
        return status


def _info(status: ModelStatus) -> BundleInfo:
    if status.info is None:
        raise UnknownModelError(f"model {status.name} cannot be read: {status.message}")
    return status.info


def _outputs(info: BundleInfo) -> dict[str, _Output]:
    lam = info.config.lam
    outputs = {
        "code": _Output("INT32", "<i4", None, lambda labels: labels.code),
        "latent": _Output("FP32", "<f4", lam.quantizer.dim, lambda labels: labels.latent),
        "confidence": _Output("FP32", "<f4", None, lambda labels: labels.confidence),
        "valid": _Output("BOOL", "?", None, lambda labels: labels.valid),
    }
    if lam.fine_codes:
        outputs["fine_code"] = _Output("INT32", "<i4", None, lambda labels: labels.fine_code)
    return outputs


def _wanted(request: oip.ModelInferRequest, there: Mapping[str, _Output]) -> dict[str, _Output]:
    names = [output.name for output in request.outputs] or list(there)
    for name in names:
        if name not in there:
            raise RequestError("outputs.name", f"got {name!r}, expected one of {', '.join(there)}")
    return {name: there[name] for name in names}


def _checked_shape(request: oip.ModelInferRequest) -> tuple[int, int, int]:
    """Return frames, height and width of the clip, of which there are as many bytes as that takes."""
    if len(request.inputs) != 1 or request.inputs[0].name != _FRAMES:
        names = ", ".join(tensor.name for tensor in request.inputs) or "none"
        raise RequestError("inputs", f"got {names}, expected one tensor, {_FRAMES}")
    tensor = request.inputs[0]
    if tensor.datatype != "UINT8":
        raise RequestError("inputs.frames.datatype", f"got {tensor.datatype!r}, expected UINT8")
    shape = tuple(tensor.shape)
    if len(shape) != 4 or shape[3] != 3 or not all(0 < size < 2**31 for size in shape):
        raise RequestError("inputs.frames.shape", f"got {shape}, expected (T, H, W, 3): RGB frames of one clip")
    if len(request.raw_input_contents) != 1:
        got = f"{len(request.raw_input_contents)} of them"
        raise RequestError("raw_input_contents", f"got {got}, expected the pixels as one: contents are not taken")
    came, wanted = len(request.raw_input_contents[0]), math.prod(shape)
    if came != wanted:
        raise RequestError("raw_input_contents", f"got {came} bytes, expected {wanted} for frames of {shape}")
    return shape[0], shape[1], shape[2]


def _options(parameters: Mapping[str, oip.InferParameter]) -> dict[str, Any]:
    """Return fields of `LabelOptions`."""
    for name in parameters:
        if name not in ("fps", "step"):
            raise RequestError("parameters", f"got {name!r}, expected step or fps")
    options: dict[str, Any] = {}
    if "step" in parameters:
        step = _number(parameters["step"], "parameters.step")
        if step != int(step) or not 0 < step < 2**31:
            raise RequestError("parameters.step", f"got {step:g}, expected a whole number of frames above 0")
        options["step"] = int(step)
    if "fps" in parameters:
        options["fps"] = _number(parameters["fps"], "parameters.fps")
    return options


def _number(parameter: oip.InferParameter, field: str) -> float:
    kind = parameter.WhichOneof("parameter_choice")
    value = None if kind is None else getattr(parameter, kind)
    try:
        number = math.nan if value is None or isinstance(value, bool) else float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RequestError(field, f"got {value!r}, expected a number")
    return number


def _as_called(error: RequestError) -> RequestError:
    """Return an error of LabelClip with the field's name in a ModelInfer."""
    begins = [begin for begin in _AS_CALLED if error.field.startswith(begin)]
    if not begins:
        return error
    text = str(error).removeprefix(f"{error.field}: ")
    return RequestError(_AS_CALLED[max(begins, key=len)], text)


__all__ = ["OpenInferenceServicer"]
