"""Keyword arguments that the methods of both clients share, described once."""

from __future__ import annotations

from typing import TypedDict

from genie_core.data import Density


class Labelling(TypedDict, total=False):
    """How an episode is labelled.

    Attributes:
        fps: the video's frame rate, frames a second, above 0; needed unless `step` is given.
        step: transition length in frames, 1 or more; by default the server's max(1, round(fps / model fps)).
        density: ``dense`` (the default) labels every frame, ``strided`` every step-th.
        alignment: name of one of the model's alignments, made by ``genie align`` for labels of this step: labels come
            with the robot's actions that it reads off them.

    """

    fps: float | None
    step: int | None
    density: Density
    alignment: str | None


class Sampling(TypedDict, total=False):
    """How frames are simulated.

    Attributes:
        seed: of the random sampling, 0 to 2^64 - 1, default 0; the same seed gives the same frames.
        temperature: of the sampling, above 0; the model's own by default.
        maskgit_steps: sampling steps a frame, 1 to the model's tokens a frame; by default 25, or all there are.

    """

    seed: int
    temperature: float | None
    maskgit_steps: int | None


__all__ = ["Labelling", "Sampling"]
