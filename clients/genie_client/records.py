"""What the client hands out: plain immutable records made from the service's messages, free of gRPC and protobuf."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Computation, Density, Labels

ModelState = Literal["unloaded", "loading", "ready", "failed"]


@dataclass(frozen=True)
class HostedAlignment:
    """What decodes one model's latent actions into one robot's, as `genie align` made it.

    Attributes:
        name: what to pass as ``alignment=``.
        alignment_id: SHA-256 of its file, 64 hexadecimal digits.
        action_names: names of the A numbers of an action.
        step: transition length in frames of the labels that it decodes.
        problem: why it cannot be used, and then only `name` is known; empty otherwise.

    """

    name: str
    alignment_id: str
    action_names: tuple[str, ...]
    step: int
    problem: str = ""


@dataclass(frozen=True)
class LabelProvenance:
    """What the labels of one episode were made with.

    Attributes:
        model: the model's name on the server.
        bundle_id: SHA-256 of the bundle's contents, 64 hexadecimal digits.
        model_fps: frame rate at which the model was trained, frames a second.
        step: transition length in frames: the label at t describes x_t -> x_{t+step}.
        effective_fps: fps / step, frames a second; None where the episode's frame rate was not given.
        latent_dim: size D of a latent.
        num_codes: number of codes in the codebook.
        density: which transitions are labelled.
        computation: how the networks computed.
        alignment: what decoded the robot's actions; None where none was asked for.

    """

    model: str
    bundle_id: str
    model_fps: float
    step: int
    effective_fps: float | None
    latent_dim: int
    num_codes: int
    density: Density
    computation: Computation
    alignment: HostedAlignment | None = None


@dataclass(frozen=True)
class Timing:
    """Where the time of a request went, milliseconds.

    Attributes:
        queue_ms: waiting for a turn on the device.
        batch_ms: waiting for a batch to fill up.
        device_ms: computing.
        transport_ms: the rest: frames on their way, being decoded and resized, and the client's own pauses.
        total_ms: all of it.

    """

    queue_ms: float = 0.0
    batch_ms: float = 0.0
    device_ms: float = 0.0
    transport_ms: float = 0.0
    total_ms: float = 0.0

    def __add__(self, other: Timing) -> Timing:
        return Timing(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class LabelSummary:
    """Totals of one labelled episode: frames, valid labels, and where the time went, as the server saw it."""

    frames: int
    transitions: int
    timing: Timing


@dataclass(frozen=True)
class EpisodeLabels(Labels):
    """The labels of a whole episode, with what they were made with; `action` is None where no alignment was named."""

    provenance: LabelProvenance
    summary: LabelSummary


@dataclass(frozen=True)
class OperationStatistics:
    """One kind of work since the server began: pieces of it, batches they were done in, and seconds of device time."""

    pieces: int
    batches: int
    device_s: float


@dataclass(frozen=True)
class ServerStatistics:
    """What a server's device does, and has done since the server began.

    Attributes:
        lanes: batches that can run at once.
        busy_lanes: of these, running one now.
        waiting: pieces of work that wait now.
        dropped: pieces that nobody waited for any more when their turn would have come.
        refused: calls refused because too many pieces waited.
        uptime_s: since the server began, seconds.
        operations: by name: ``tiny/encode`` labels a block of frames, ``tiny/start`` begins a simulation,
            ``tiny/draw-25`` draws a simulated frame in 25 MaskGIT steps.

    """

    lanes: int
    busy_lanes: int
    waiting: int
    dropped: int
    refused: int
    uptime_s: float
    operations: dict[str, OperationStatistics]


@dataclass(frozen=True)
class ModelInfo:
    """One model that a server hosts.

    Attributes:
        name: what to pass as ``model=``.
        bundle_id: SHA-256 of the bundle's contents, 64 hexadecimal digits.
        state: whether it can be used now; `state_message` says why not where ``failed``.
        state_message: why loading failed; empty otherwise.
        frame_height: height of the model's frames in pixels.
        frame_width: width of the model's frames in pixels.
        fps: frame rate at which the model was trained, frames a second.
        codebook: (codes, D) float32, the quantized latent of each code; (0, D) in a listing, which leaves it out.
        num_codes: number of latent action codes.
        latent_dim: size D of a latent.
        context_frames: most prompt frames that a simulation takes.
        tokens_per_frame: tokens a frame, and so the most MaskGIT steps.
        default_temperature: sampling temperature where none is asked for.
        parameters: number of trained parameters.
        palette: one colour a code, 0xRRGGBB.
        card: the model card, Markdown; empty in a listing.
        is_default: True for the model used where a request names none.
        computation: how its networks compute on this server.
        alignments: what there is to decode its latent actions into a robot's, ordered by name.

    """

    name: str
    bundle_id: str
    state: ModelState
    state_message: str
    frame_height: int
    frame_width: int
    fps: float
    codebook: NDArray[np.float32]
    num_codes: int
    latent_dim: int
    context_frames: int
    tokens_per_frame: int
    default_temperature: float
    parameters: int
    palette: tuple[int, ...]
    card: str
    is_default: bool
    computation: Computation
    alignments: tuple[HostedAlignment, ...] = ()

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of the model's frames in pixels."""
        return self.frame_height, self.frame_width


__all__ = [
    "EpisodeLabels",
    "HostedAlignment",
    "LabelProvenance",
    "LabelSummary",
    "ModelInfo",
    "ModelState",
    "OperationStatistics",
    "ServerStatistics",
    "Timing",
]
