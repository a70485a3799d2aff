"""What the client hands out: plain immutable records made from the service's messages, free of gRPC and protobuf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Density, Labels

ModelState = Literal["unloaded", "loading", "ready", "failed"]


@dataclass(frozen=True)
class Provenance:
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

    """

    model: str
    bundle_id: str
    model_fps: float
    step: int
    effective_fps: float | None
    latent_dim: int
    num_codes: int
    density: Density


@dataclass(frozen=True)
class LabelSummary:
    """Totals of one labelled episode: frames, valid labels, and where the server's time went in milliseconds."""

    frames: int
    transitions: int
    queue_ms: float
    compute_ms: float
    total_ms: float


@dataclass(frozen=True)
class EpisodeLabels(Labels):
    """The labels of a whole episode, with what they were made with."""

    provenance: Provenance
    summary: LabelSummary


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

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of the model's frames in pixels."""
        return self.frame_height, self.frame_width


__all__ = ["EpisodeLabels", "LabelSummary", "ModelInfo", "ModelState", "Provenance"]
