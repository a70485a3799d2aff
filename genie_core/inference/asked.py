"""What a simulation is asked for, checked against the model: sampling options, actions, and the size of its frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.data import LEAST_SIDE, check_code
from genie_core.errors import RequestError
from genie_core.models.config import ModelConfig

Latent = NDArray[np.float32]
"""(D,), as in labels."""

Action = int | Latent
"""What is done between two frames."""


@dataclass(frozen=True)
class Sampling:
    """Sampling options.

    Attributes:
        maskgit_steps: per frame, 1 to the number of tokens per frame; None: the bundle's default, the paper's 25 (or
            all if there are fewer), or as its mover's `mending` says; 0, of a model that moves frames: they are not
            mended by tokens, which is many times as fast.
        temperature: of the softmax, > 0; None: the bundle's default.
        seed: 0 .. 2^64 - 1.

    """

    maskgit_steps: int | None = None
    temperature: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class CheckedSampling:
    """Sampling options with defaults filled in, all in range."""

    maskgit_steps: int
    temperature: float
    seed: int


def check_sampling(sampling: Sampling, config: ModelConfig) -> CheckedSampling:
    """Fill in a model's defaults. Raises RequestError for an option out of range, naming it."""
    steps = maskgit_steps(sampling, config)
    if not config.least_steps <= steps <= config.tokens_per_frame:
        raise RequestError("maskgit_steps", f"got {steps}, expected {config.least_steps} to {config.tokens_per_frame}")
    temperature = config.temperature if sampling.temperature is None else sampling.temperature
    if not 0 < temperature < float("inf"):
        raise RequestError("temperature", f"got {temperature}, expected a finite number above 0")
    if not 0 <= sampling.seed < 2**64:
        raise RequestError("seed", f"got {sampling.seed}, expected 0 to 2^64 - 1")
    return CheckedSampling(steps, temperature, sampling.seed)


def maskgit_steps(sampling: Sampling, config: ModelConfig) -> int:
    """Return the MaskGIT steps of a frame: as given, else the model's default."""
    return config.maskgit_steps if sampling.maskgit_steps is None else sampling.maskgit_steps


def check_frame_size(
    size: tuple[int, int] | None, config: ModelConfig, steps: int, field: str = "frame_size"
) -> tuple[int, int]:
    """Return height and width of simulated frames, the model's for None.

    Args:
        size: as asked for.
        config: of the model.
        steps: MaskGIT steps of a frame.
        field: named in errors.

    Raises:
        RequestError: a size other than the model's of a model that draws its frames, or where tokens mend them; or one
            of fewer than `LEAST_SIDE` pixels a side.

    """
    own = (config.height, config.width)
    if size is None or size == own:
        return own
    got, expected = f"got {size[0]} x {size[1]}", f"expected {own[0]} x {own[1]} (height x width)"
    if not config.moves_any_size:
        raise RequestError(field, f"{got}, {expected}: {config.name!r} draws frames of its own size alone")
    if config.mends and steps > 0:
        raise RequestError(
            field, f"{got} and {steps} MaskGIT steps, {expected} or 0 steps: tokens mend frames of that size alone"
        )
    if min(size) < LEAST_SIDE:
        raise RequestError(field, f"{got}, expected at least {LEAST_SIDE} pixels a side")
    return size


def check_simulates(config: ModelConfig, field: str = "model") -> None:
    """Raise RequestError about `field` if a model only labels."""
    if not config.context_frames:
        raise RequestError(
            field,
            f"got {config.name!r}, which labels video and has neither a dynamics model nor a mover; expected a model "
            "that simulates: `genie models` and ListModels show one by its context frames, which are 0 here",
        )


def check_action(action: Action, config: ModelConfig, field: str) -> None:
    """Raise RequestError about `field` unless an action is one of the model's codes, or a latent of its size."""
    quantizer = config.lam.quantizer
    if not isinstance(action, np.ndarray):
        check_code(action, quantizer.codes, field)
    elif action.shape != (quantizer.dim,) or not np.isfinite(action).all():
        raise RequestError(field, f"got {_described(action)}, expected a latent of {quantizer.dim} finite numbers")


def _described(latent: NDArray[np.generic]) -> str:
    shape = " x ".join(map(str, latent.shape))
    return f"{shape} numbers" if np.isfinite(latent).all() else f"{shape} numbers, some not finite"


__all__ = [
    "Action",
    "CheckedSampling",
    "Latent",
    "Sampling",
    "check_action",
    "check_frame_size",
    "check_sampling",
    "check_simulates",
    "maskgit_steps",
]
