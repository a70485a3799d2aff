"""Keyword arguments that the methods of both clients share, described once, and their values, with defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from genie_core.data import Density, Transport


class Labelling(TypedDict, total=False):
    """How an episode is labelled, and sent.

    Attributes:
        fps: the video's frame rate, frames a second, above 0; needed unless `step` is given.
        step: transition length in frames, 1 or more; by default the server's max(1, round(fps / model fps)).
        density: ``dense`` (the default) labels every frame, ``strided`` every step-th.
        alignment: name of one of the model's alignments, made by ``genie align`` for labels of this step: labels come
            with the robot's actions that it reads off them.
        model: name of a model on the server; its default model by default.
        resize: shrink to the model's frames here (the default), which sends far less and gives the same labels bit for
            bit; otherwise the server does.
        transport: how frames are sent: ``raw`` (the default); ``png``, the same labels in a third to two thirds of the
            bytes; ``jpeg``, a tenth to a fifth of the bytes, which changes pixels and so may change labels.
        about: what error messages call the episode.
        timeout_s: most seconds that the whole episode may take; no limit by default.
        patience_s: how long to go on trying to begin where the server has no room or is not there, seconds; by default
            as the client was made.

    """

    fps: float | None
    step: int | None
    density: Density
    alignment: str | None
    model: str | None
    resize: bool
    transport: Transport
    about: str
    timeout_s: float | None
    patience_s: float | None


@dataclass(frozen=True)
class LabelArguments:
    """The values of `Labelling`."""

    fps: float | None = None
    step: int | None = None
    density: Density = "dense"
    alignment: str | None = None
    model: str | None = None
    resize: bool = True
    transport: Transport = "raw"
    about: str = "the episode"
    timeout_s: float | None = None
    patience_s: float | None = None


class Simulating(TypedDict, total=False):
    """How frames are simulated.

    Attributes:
        seed: of the random sampling, 0 to 2^64 - 1, default 0; the same seed gives the same frames.
        temperature: of the sampling, above 0; the model's own by default.
        maskgit_steps: sampling steps a frame, 1 to the model's tokens a frame; by default 25, or all there are.
        model: name of a model on the server; its default model by default.
        timeout_s: most seconds that the whole simulation may take; no limit by default.

    """

    seed: int
    temperature: float | None
    maskgit_steps: int | None
    model: str | None
    timeout_s: float | None


@dataclass(frozen=True)
class SimulationArguments:
    """The values of `Simulating`."""

    seed: int = 0
    temperature: float | None = None
    maskgit_steps: int | None = None
    model: str | None = None
    timeout_s: float | None = None


__all__ = ["LabelArguments", "Labelling", "Simulating", "SimulationArguments"]
