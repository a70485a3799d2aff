"""Builds and reads the messages of models and labelling for both clients. Pure: no channel, no call, no clock.

Those of simulation are in `simulation_messages`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from genie_api.v1 import frames_pb2, labelling_pb2, models_pb2
from genie_client.arguments import LabelArguments
from genie_client.errors import ServerError
from genie_client.records import (
    EpisodeLabels,
    HostedAlignment,
    HostedCodeMeaning,
    LabelProvenance,
    LabelSummary,
    ModelInfo,
    ModelState,
    OperationStatistics,
    ServerStatistics,
    Timing,
)
from genie_core.data import (
    Computation,
    Density,
    Frames,
    Labels,
    Transport,
    conform_frames,
    encode_image,
    resize_frames,
)
from genie_core.errors import RequestError, problems_of

MESSAGE_BYTES = 512 * 1024
"""Approximate size of messages with frames, measured to be the fastest for a stream."""

CLIP_BYTES = 4 * 1024 * 1024
"""Most pixels of an episode that bulk labelling sends as one message: 341 frames of 64 x 64."""

FrameSize = tuple[int, int]
"""Height and width in pixels."""

_DENSITIES: dict[Density, labelling_pb2.LabelDensity.ValueType] = {
    "dense": labelling_pb2.LABEL_DENSITY_DENSE,
    "strided": labelling_pb2.LABEL_DENSITY_STRIDED,
}
_STATES: dict[int, ModelState] = {
    models_pb2.MODEL_STATE_UNLOADED: "unloaded",
    models_pb2.MODEL_STATE_LOADING: "loading",
    models_pb2.MODEL_STATE_READY: "ready",
    models_pb2.MODEL_STATE_FAILED: "failed",
}
_ENCODINGS = {"png": frames_pb2.FRAME_ENCODING_PNG, "jpeg": frames_pb2.FRAME_ENCODING_JPEG}
_MODELS = "models/"
_LEAST_FRAMES = 2


def resource_name(model: str | None) -> str:
    """``models/{model}``; empty, which is the server's default model, for None."""
    return "" if not model else _MODELS + model.removeprefix(_MODELS)


def model_info(message: models_pb2.Model) -> ModelInfo:
    """Read one model."""
    codebook = np.frombuffer(message.codebook, "<f4").reshape(-1, max(1, message.latent_dim))
    return ModelInfo(
        name=message.name.removeprefix(_MODELS),
        bundle_id=message.bundle_id,
        state=_STATES.get(message.state, "failed"),
        state_message=message.state_message,
        frame_height=message.frame_height,
        frame_width=message.frame_width,
        fps=message.model_fps,
        codebook=codebook.astype(np.float32),
        num_codes=message.num_codes,
        latent_dim=message.latent_dim,
        context_frames=message.context_frames,
        tokens_per_frame=message.tokens_per_frame,
        default_temperature=message.default_temperature,
        parameters=message.parameters,
        palette=tuple(message.palette),
        card=message.card,
        is_default=message.is_default,
        computation=_computation(message),
        alignments=tuple(map(_alignment, message.alignments)),
        usual_norm=message.usual_latent_norm or None,
        # Servers that do not report the radius have bundles whose usual latents are four radii long.
        latent_radius=message.latent_radius or message.usual_latent_norm / 4 or None,
        fine_codebook=_rows(message.fine_codebook, max(1, message.latent_dim)) if message.fine_codebook else None,
        num_fine_codes=message.num_fine_codes,
        feature_dim=message.feature_dim or None,
        calibrated=message.calibrated,
        max_simulated_pixels=message.max_simulated_pixels,
        code_meanings=tuple(map(_code_meaning, message.code_meanings)),
        code_meanings_problem=message.code_meanings_problem,
    )


def _code_meaning(message: models_pb2.CodeMeaning) -> HostedCodeMeaning:
    round_trip = message.round_trip if message.HasField("round_trip") else None
    return HostedCodeMeaning(message.words, message.robot or None, message.share, round_trip, message.picture)


def _alignment(message: models_pb2.Alignment) -> HostedAlignment:
    names = tuple(message.action_names)
    if len(names) != message.action_dim:
        raise ServerError(
            f"alignment {message.name}: action names: got {len(names)} from the server, expected {message.action_dim}"
        )
    return HostedAlignment(
        message.name,
        message.alignment_id,
        names,
        message.step,
        message.problem,
        message.reduce,
        message.encodes,
        tuple(message.action_low),
        tuple(message.action_high),
    )


def _computation(message: models_pb2.Model | labelling_pb2.LabelProvenance) -> Computation:
    """Read how the networks compute; an empty field is unknown."""
    sent = {name: getattr(message, name) for name in Computation.model_fields}
    try:
        return Computation.model_validate({name: value or None for name, value in sent.items()})
    except ValidationError as error:
        raise ServerError(f"the server's computation is unknown to this client: {problems_of(error)}") from None


def read_timing(message: frames_pb2.Timing) -> Timing:
    """Read where the time of a request went."""
    return Timing(message.queue_ms, message.batch_ms, message.device_ms, message.transport_ms, message.total_ms)


def server_statistics(message: models_pb2.GetStatisticsResponse) -> ServerStatistics:
    """Read the statistics of a server and its device."""
    return ServerStatistics(
        lanes=message.lanes,
        busy_lanes=message.busy_lanes,
        waiting=message.waiting,
        dropped=message.dropped,
        refused=message.refused,
        uptime_s=message.uptime_s,
        operations={o.name: OperationStatistics(o.pieces, o.batches, o.device_s) for o in message.operations},
        version=message.version,
        draining=message.draining,
        calls=message.calls,
        waiting_calls=message.waiting_calls,
        max_calls=message.max_calls,
        play_streams=message.play_streams,
        max_play_streams=message.max_play_streams,
        memory_bytes=message.memory_bytes,
        memory_budget_bytes=message.memory_budget_bytes,
        refusals={r.cause: r.calls for r in message.refusals},
    )


def frames_message(frames_THWC: Frames, transport: Transport = "raw") -> frames_pb2.Frames:
    """Build a message of frames: raw, or each a PNG or JPEG file."""
    message = frames_pb2.Frames()
    _fill(message, frames_THWC, transport)
    return message


def _fill(message: frames_pb2.Frames, frames_THWC: Frames, transport: Transport) -> None:
    """Put frames into a message where it stands: one that is given to another message is copied, pixels and all."""
    message.count, message.height, message.width, message.channels = frames_THWC.shape
    if transport != "raw":
        message.encoding = _ENCODINGS[transport]
        message.images.extend(encode_image(frame_HWC, transport) for frame_HWC in frames_THWC)
        return
    message.encoding = frames_pb2.FRAME_ENCODING_RAW
    message.data_type = frames_pb2.DATA_TYPE_UINT8
    message.raw = np.ascontiguousarray(frames_THWC).tobytes()


def read_frames(message: frames_pb2.Frames) -> Frames:
    """Read the frames (T, H, W, 3) of a raw message. Raises ServerError if payload and shape disagree."""
    shape = (message.count, message.height, message.width, message.channels)
    if message.encoding != frames_pb2.FRAME_ENCODING_RAW or len(message.raw) != int(np.prod(shape)):
        raise ServerError(f"frames from the server: got {len(message.raw)} bytes, expected shape {shape}")
    return np.frombuffer(message.raw, np.uint8).reshape(shape)


def label_options(arguments: LabelArguments) -> labelling_pb2.LabelOptions:
    """Build the header of a labelling stream. Raises RequestError for invalid options or neither `fps` nor `step`."""
    fps, step, density = arguments.fps, arguments.step, arguments.density
    if fps is None and step is None:
        raise RequestError("fps", "got neither fps nor step; give the video's frame rate, e.g. fps=30")
    if fps is not None and not 0 < fps < float("inf"):
        raise RequestError("fps", f"got {fps}, expected a number of frames a second above 0")
    if step is not None and step < 1:
        raise RequestError("step", f"got {step}, expected a number of frames, 1 or more")
    if density not in _DENSITIES:
        raise RequestError("density", f"got {density!r}, expected one of {', '.join(_DENSITIES)}")
    return labelling_pb2.LabelOptions(
        model=resource_name(arguments.model),
        fps=fps or 0.0,
        step=step or 0,
        density=_DENSITIES[density],
        alignment=arguments.alignment or "",
        feature=arguments.feature,
    )


def clip_request(
    frames: NDArray[np.generic], size: FrameSize | None, arguments: LabelArguments
) -> labelling_pb2.LabelClipRequest | None:
    """Build one message of a whole episode; None if it is too short or too long for one and must be streamed."""
    options = label_options(arguments)
    frames_THWC = conform_frames(frames)
    count, height, width, channels = frames_THWC.shape
    height, width = size or (height, width)
    if not _LEAST_FRAMES <= count <= MESSAGE_BYTES // (height * width * channels):
        return None
    return _clip(options, resize_frames(frames_THWC, height, width), arguments.transport)


def whole_clip_request(frames_THWC: Frames, arguments: LabelArguments) -> labelling_pb2.LabelClipRequest:
    """Build one message of a whole episode, frames as they are. Raises RequestError as `label_options` does."""
    return _clip(label_options(arguments), frames_THWC, arguments.transport)


def _clip(
    options: labelling_pb2.LabelOptions, frames_THWC: Frames, transport: Transport
) -> labelling_pb2.LabelClipRequest:
    request = labelling_pb2.LabelClipRequest(options=options)
    _fill(request.frames, frames_THWC, transport)
    return request


def read_clip(response: labelling_pb2.LabelClipResponse) -> EpisodeLabels:
    """Read the labels of an episode that was sent as one message."""
    provenance = _provenance(response.provenance)
    labels = _labels(response.labels, provenance)
    if labels.start:
        raise ServerError(f"labels of a clip: got frame {labels.start} first, expected 0")
    summary = LabelSummary(len(labels), int(labels.valid.sum()), read_timing(response.timing))
    return EpisodeLabels(**vars(labels), provenance=provenance, summary=summary)


class FramePacker:
    """Checks and resizes the frames of one episode and packs them into requests; frames must not change size."""

    def __init__(self, size: FrameSize | None, transport: Transport = "raw") -> None:
        """Set how to pack.

        Args:
            size: height and width to resize to; None: send frames as they are, for the server to resize.
            transport: encoding of the frames.

        """
        self._size = size
        self._transport: Transport = transport
        self._seen: FrameSize | None = None

    def pack(self, frames: NDArray[np.generic]) -> Iterator[labelling_pb2.LabelEpisodeRequest]:
        """Pack `frames` into requests, in order. Raises RequestError for anything but uint8 (T, H, W, 3)."""
        frames_THWC = conform_frames(frames)
        _, height, width, channels = frames_THWC.shape
        if self._seen not in (None, (height, width)):
            raise RequestError("frames", f"got {height} x {width} frames after {self._seen} ones, expected one size")
        self._seen = (height, width)
        target_height, target_width = self._size or self._seen
        count = max(1, MESSAGE_BYTES // (target_height * target_width * channels))
        for start in range(0, len(frames_THWC), count):
            part = frames_THWC[start : start + count]
            if self._size is not None:
                part = resize_frames(part, *self._size)
            request = labelling_pb2.LabelEpisodeRequest()
            _fill(request.frames, part, self._transport)
            yield request


def header_request(header: labelling_pb2.LabelOptions) -> labelling_pb2.LabelEpisodeRequest:
    """Return the first request of a labelling stream."""
    return labelling_pb2.LabelEpisodeRequest(header=header)


def frame_requests(
    chunks: Iterable[NDArray[np.generic]], size: FrameSize | None, transport: Transport = "raw"
) -> Generator[labelling_pb2.LabelEpisodeRequest, None, None]:
    """Yield the requests after the first: the frames of all chunks, see `FramePacker`."""
    packer = FramePacker(size, transport)
    for chunk in chunks:
        yield from packer.pack(chunk)


class LabelReader:
    """Reads the responses of one labelling stream in order and checks them against the contract.

    `provenance` is set once `begin` has returned, `summary` once `read` has returned None.
    """

    provenance: LabelProvenance
    summary: LabelSummary

    def __init__(self) -> None:
        self._next_index = 0

    def begin(self, response: labelling_pb2.LabelEpisodeResponse) -> LabelProvenance:
        """Read the first response."""
        if response.WhichOneof("part") != "header":
            raise ServerError("labels from the server: got no header first, expected one")
        self.provenance = _provenance(response.header)
        return self.provenance

    def read(self, response: labelling_pb2.LabelEpisodeResponse) -> Labels | None:
        """Read another response: labels, or None for the summary, which is the last one."""
        if response.WhichOneof("part") == "summary":
            self.summary = self._read_summary(response.summary)
            return None
        labels = _labels(response.labels, self.provenance)
        if labels.start != self._next_index:
            raise ServerError(f"labels from the server: got frame {labels.start} next, expected {self._next_index}")
        self._next_index += len(labels)
        return labels

    def whole(self, parts: list[Labels]) -> EpisodeLabels:
        """Return all that was read, as one."""
        made = self.provenance
        nothing = Labels.invalid(0, 0, made.latent_dim, fine=bool(made.num_fine_codes), feature_dim=made.feature_dim)
        joined = Labels.concatenate(parts or [nothing])
        return EpisodeLabels(**vars(joined), provenance=self.provenance, summary=self.summary)

    def _read_summary(self, message: labelling_pb2.LabelSummary) -> LabelSummary:
        if message.frames != self._next_index:
            raise ServerError(
                f"labels from the server: got {self._next_index}, expected {message.frames}, the frames that it read"
            )
        return LabelSummary(message.frames, message.transitions, read_timing(message.timing))


def _provenance(message: labelling_pb2.LabelProvenance) -> LabelProvenance:
    densities: dict[int, Density] = {value: name for name, value in _DENSITIES.items()}
    return LabelProvenance(
        model=message.model.removeprefix(_MODELS),
        bundle_id=message.bundle_id,
        model_fps=message.model_fps,
        step=message.step,
        effective_fps=message.effective_fps or None,
        latent_dim=message.latent_dim,
        num_codes=message.num_codes,
        density=densities.get(message.density, "dense"),
        computation=_computation(message),
        alignment=_alignment(message.alignment) if message.HasField("alignment") else None,
        num_fine_codes=message.num_fine_codes,
        feature_dim=message.feature_dim or None,
    )


def _labels(message: labelling_pb2.Labels, provenance: LabelProvenance) -> Labels:
    alignment = provenance.alignment
    try:
        return Labels(
            start=message.start_index,
            code=np.array(message.code, np.uint16),
            latent=_rows(message.latent, provenance.latent_dim),
            confidence=np.array(message.confidence, np.float32),
            valid=np.array(message.valid, np.bool_),
            action=None if alignment is None else _rows(message.action, len(alignment.action_names)),
            fine_code=np.array(message.fine_code, np.uint16) if provenance.num_fine_codes else None,
            feature=None if provenance.feature_dim is None else _rows(message.feature, provenance.feature_dim),
        )
    except ValueError as error:
        raise ServerError(f"labels from the server: do not fit together: {error}") from error


def _rows(sent: bytes, width: int) -> NDArray[np.float32]:
    return np.frombuffer(sent, "<f4").reshape(-1, width).astype(np.float32)


__all__ = [
    "CLIP_BYTES",
    "MESSAGE_BYTES",
    "FramePacker",
    "FrameSize",
    "LabelReader",
    "clip_request",
    "frame_requests",
    "frames_message",
    "header_request",
    "label_options",
    "model_info",
    "read_clip",
    "read_frames",
    "read_timing",
    "resource_name",
    "server_statistics",
    "whole_clip_request",
]
