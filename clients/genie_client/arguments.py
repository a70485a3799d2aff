"""Keyword arguments common to the methods of both clients, and their values with defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

from genie_core.data import Density, Transport

FrameSize = tuple[int, int] | Literal["prompt"]
"""Height and width of simulated frames, pixels, or those of the prompt."""


class Labelling(TypedDict, total=False):
    """Options of labelling an episode.

    Attributes:
        fps: the video's frame rate, frames a second, above 0; required unless `step` is given.
        step: transition length in frames, 1 or more; by default the server's max(1, round(fps / model fps)).
        density: ``dense`` (the default) labels every frame, ``strided`` every step-th.
        alignment: name of one of the model's alignments, made by ``genie align`` for labels of this step, which decodes
            the labels into robot actions.
        feature: whether to return the wide vector that each latent is made of, too (`ModelInfo.feature_dim`).
        model: name of a model on the server; default: the server's default model.
        resize: resize to the model's frames here (the default), which sends far less data and gives the same labels bit
            for bit; otherwise the server resizes.
        transport: how frames are sent: ``raw`` (the default); ``png``, the same labels in a third to two thirds of the
            bytes; ``jpeg``, a tenth to a fifth of the bytes, which changes pixels and so may change labels.
        about: name of the episode in error messages.
        timeout_s: longest time for the whole episode, seconds; unlimited by default.
        patience_s: how long to keep trying to start if the server has no room or is unavailable, seconds; default: the
            client's.
            as the client was made.

    """

    fps: float | None
    step: int | None
    density: Density
    alignment: str | None
    feature: bool
    model: str | None
    resize: bool
    transport: Transport
    about: str
    timeout_s: float | None
    patience_s: float | None


@dataclass(frozen=True)
class LabelArguments:
    """Values of `Labelling`."""

    fps: float | None = None
    step: int | None = None
    density: Density = "dense"
    alignment: str | None = None
    feature: bool = False
    model: str | None = None
    resize: bool = True
    transport: Transport = "raw"
    about: str = "the episode"
    timeout_s: float | None = None
    patience_s: float | None = None


class Simulating(TypedDict, total=False):
    """Options of a simulation.

    Attributes:
        seed: seed of the random sampling, 0 to 2^64 - 1, default 0; the same seed gives the same frames.
        temperature: sampling temperature, above 0; default: the model's.
        maskgit_steps: MaskGIT steps per frame, 1 to the model's tokens per frame; default: the model's, 25 of most. 0,
            the default of `motion`, is of models that move frames: none is mended by tokens, which 3 steps do.
        model: name of a model on the server; default: the server's default model.
        alignment: name of one of the model's alignments, made by ``genie align``, which encodes the robot's own actions
            as latent ones; needed with robot actions only.
        confidence: whether to ask how far each frame can be trusted (`SimulatedFrame.confidence`); default: no.
        frame_size: height and width of the frames, pixels; default: the model's. ``prompt``: those of the prompt, as
            far as the model and the server allow: smaller, of the same shape, if they have more pixels than
            `ModelInfo.max_simulated_pixels`, and the model's of a model that draws its frames, or mends them by tokens.
        timeout_s: longest time for the whole simulation, seconds; unlimited by default.

    """

    seed: int
    temperature: float | None
    maskgit_steps: int | None
    model: str | None
    alignment: str | None
    confidence: bool
    frame_size: FrameSize | None
    timeout_s: float | None


@dataclass(frozen=True)
class SimulationArguments:
    """Values of `Simulating`."""

    seed: int = 0
    temperature: float | None = None
    maskgit_steps: int | None = None
    model: str | None = None
    alignment: str | None = None
    confidence: bool = False
    frame_size: FrameSize | None = None
    timeout_s: float | None = None


__all__ = ["FrameSize", "LabelArguments", "Labelling", "Simulating", "SimulationArguments"]
