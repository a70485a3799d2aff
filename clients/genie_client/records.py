"""Records that the client returns: immutable, made from the service's messages, free of gRPC and protobuf."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Computation, Density, LabelModel, Labels

ModelState = Literal["unloaded", "loading", "ready", "failed"]


@dataclass(frozen=True)
class HostedAlignment:
    """An alignment made by `genie align`: it decodes one model's latent actions into one robot's actions.

    Attributes:
        name: name to pass as ``alignment=``.
        alignment_id: SHA-256 of its file, 64 hexadecimal digits.
        action_names: names of the A components of an action.
        step: transition length, in frames, of the labels that it decodes.
        problem: why it cannot be used, in which case only `name` is known; empty if it can.
        reduce: how the actions of the frames of a transition became one: ``mean``, ``first``, ``last``, ``change``;
            empty if the server does not say.
        encodes: whether it also encodes robot actions, for simulations.
        action_low, action_high: smallest and largest of each component among the actions that it was fitted on; empty
            if it does not encode.

    """

    name: str
    alignment_id: str
    action_names: tuple[str, ...]
    step: int
    problem: str = ""
    reduce: str = ""
    encodes: bool = False
    action_low: tuple[float, ...] = ()
    action_high: tuple[float, ...] = ()


@dataclass(frozen=True)
class LabelProvenance:
    """What the labels of one episode were made with, as the server reports it.

    Attributes:
        model: the model's name on the server.
        bundle_id: SHA-256 of the bundle's contents, 64 hexadecimal digits.
        model_fps: frame rate at which the model was trained, Hz.
        step: transition length in frames: the label at t describes x_t -> x_{t+step}.
        effective_fps: fps / step, Hz; None if the episode's frame rate was not given.
        latent_dim: size D of a latent.
        num_codes: number of codes in the codebook.
        density: which transitions are labelled.
        computation: how the networks computed.
        alignment: the alignment that decoded the robot's actions; None: none was asked for.
        num_fine_codes: number of fine codes; 0 of a model without a second level.
        feature_dim: size F of a feature; None: none was asked for.

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
    num_fine_codes: int = 0
    feature_dim: int | None = None


@dataclass(frozen=True)
class Timing:
    """Time that the server spent on a request, milliseconds.

    Attributes:
        queue_ms: waiting for a turn on the device.
        batch_ms: waiting for a batch to fill up.
        device_ms: computing.
        transport_ms: the rest: receiving, decoding and resizing frames, and pauses of the client.
        total_ms: the sum.

    """

    queue_ms: float = 0.0
    batch_ms: float = 0.0
    device_ms: float = 0.0
    transport_ms: float = 0.0
    total_ms: float = 0.0

    def __add__(self, other: Timing) -> Timing:
        return Timing(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


class OutOfRangeWarning(UserWarning):
    """A robot action lies beyond the range of those that the alignment was fitted on."""


@dataclass(frozen=True)
class SimulatedFrame:
    """One simulated frame, and what is known of it.

    Attributes:
        frame_HWC: (h, w, 3) uint8 at the model's size.
        out_of_range: components of the robot action that led here which lie beyond the alignment's range: it was taken
            as it is, not clipped, and what comes of it is a guess.
        confidence: probability that the frame is nearer to what would have happened than the start frame is, as
            calibrated on real futures; None unless asked for.
        timing: the server's times.

    """

    frame_HWC: NDArray[np.uint8]
    out_of_range: tuple[int, ...] = ()
    confidence: float | None = None
    timing: Timing = field(default_factory=Timing)


def trusted_frames(confidences: Sequence[float | None], least: float = 0.8) -> int:
    """Return how many frames of a rollout can be trusted: those before the first whose confidence is below `least`."""
    below = (i for i, confidence in enumerate(confidences) if confidence is None or confidence < least)
    return next(below, len(confidences))


@dataclass(frozen=True)
class LabelSummary:
    """Totals of one labelled episode: frames, valid labels, and the server's times."""

    frames: int
    transitions: int
    timing: Timing


@dataclass(frozen=True)
class EpisodeLabels(Labels):
    """Labels of a whole episode with their provenance; `action` is None if no alignment was named."""

    provenance: LabelProvenance
    summary: LabelSummary


@dataclass(frozen=True)
class OperationStatistics:
    """Totals of one kind of work since the server started: pieces, batches, and seconds of device time."""

    pieces: int
    batches: int
    device_s: float


@dataclass(frozen=True)
class ServerStatistics:
    """Statistics of a server and its device since the server started; what an older server does not say is 0, or empty.

    Attributes:
        lanes: number of batches that can run at once.
        busy_lanes: how many of them run one now.
        waiting: pieces of work waiting now.
        dropped: pieces dropped because nobody waited for them any more.
        refused: calls refused because too many pieces were waiting.
        uptime_s: time since the server started, seconds.
        operations: totals by operation: ``tiny/encode`` labels a block of frames, ``tiny/start`` begins a simulation,
            ``tiny/draw-25`` draws a simulated frame in 25 MaskGIT steps.
        version: of the server.
        draining: True once it takes no more calls.
        calls: in progress.
        waiting_calls: calls that wait for a place.
        max_calls: most calls in progress.
        play_streams: interactive simulations in progress.
        max_play_streams: most of these.
        memory_bytes: bytes that requests take.
        memory_budget_bytes: bytes that they may take.
        refusals: number of calls refused, by cause: the setting that limits, or why the server could not serve.

    """

    lanes: int
    busy_lanes: int
    waiting: int
    dropped: int
    refused: int
    uptime_s: float
    operations: dict[str, OperationStatistics]
    version: str = ""
    draining: bool = False
    calls: int = 0
    waiting_calls: int = 0
    max_calls: int = 0
    play_streams: int = 0
    max_play_streams: int = 0
    memory_bytes: int = 0
    memory_budget_bytes: int = 0
    refusals: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class HostedCodeMeaning:
    """What one code does, as `genie palette` found it on somebody's video. For people to look at.

    Attributes:
        words: where the picture moves: ``left``, ``still`` ...
        robot: how the robot moves, ``+x 2.4 cm``; None: not known.
        share: share of the transitions that it was found on, 0 to 1.
        round_trip: how often the code is read back from a simulation of it, 0 to 1; None: it is not simulated.
        picture: a JPEG, the mean motion as arrows over a frame; empty for a code that is not used.

    """

    words: str
    robot: str | None
    share: float
    round_trip: float | None
    picture: bytes

    @property
    def name(self) -> str:
        """The robot's words where they are known, else the picture's."""
        return self.robot or self.words


@dataclass(frozen=True)
class ModelInfo:
    """One model that a server hosts.

    Attributes:
        name: name to pass as ``model=``.
        bundle_id: SHA-256 of the bundle's contents, 64 hexadecimal digits.
        state: whether it can be used now; if ``failed``, `state_message` says why.
        state_message: why loading failed; empty otherwise.
        frame_height: height of the model's frames in pixels.
        frame_width: width of the model's frames in pixels.
        fps: frame rate at which the model was trained, Hz.
        codebook: (codes, D) float32, the quantized latent of each code; (0, D) in a listing, which omits it.
        num_codes: number of latent action codes.
        latent_dim: size D of a latent.
        context_frames: maximum number of prompt frames of a simulation.
        tokens_per_frame: tokens per frame, which is also the maximum number of MaskGIT steps.
        default_temperature: sampling temperature used when a request gives none.
        parameters: number of trained parameters.
        palette: colour of each code, 0xRRGGBB.
        card: the model card, Markdown; empty in a listing.
        is_default: whether it is used when a request names no model.
        computation: how its networks compute on this server.
        alignments: its alignments, ordered by name.
        fine_codebook: (fine codes, D) float32, the quantized latent of each fine code; None of a model without a second
            level, and in a listing.
        num_fine_codes: number of fine codes; 0 of a model without a second level.
        feature_dim: size F of the feature that latents are made of; None of a model that gives none.
        calibrated: whether the confidence of simulated frames was calibrated on real futures.
        usual_norm: median length of the latents of its training; None where all have unit length, whatever the motion.
        latent_radius: radius of the ball in which distances between latents and codes are taken, see `fuse`; None where
            all latents have unit length.
        max_simulated_pixels: most pixels of a simulated frame, which may then have any size; 0: the model's alone.
        code_meanings: what each code does, one for every code, in order; empty if nobody has found it, and in a
            listing.
        code_meanings_problem: why what was found cannot be used; empty otherwise.

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
    usual_norm: float | None = None
    latent_radius: float | None = None
    fine_codebook: NDArray[np.float32] | None = None
    num_fine_codes: int = 0
    feature_dim: int | None = None
    calibrated: bool = False
    max_simulated_pixels: int = 0
    code_meanings: tuple[HostedCodeMeaning, ...] = ()
    code_meanings_problem: str = ""

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of the model's frames in pixels."""
        return self.frame_height, self.frame_width

    @property
    def label_model(self) -> LabelModel:
        """What labels record of it; not of one in a listing, which has no codebooks."""
        return LabelModel(self.bundle_id, self.name, self.fps, self.codebook, self.computation, self.fine_codebook)


__all__ = [
    "EpisodeLabels",
    "HostedAlignment",
    "HostedCodeMeaning",
    "LabelProvenance",
    "LabelSummary",
    "ModelInfo",
    "ModelState",
    "OperationStatistics",
    "OutOfRangeWarning",
    "ServerStatistics",
    "SimulatedFrame",
    "Timing",
    "trusted_frames",
]
