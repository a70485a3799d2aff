"""The networks that are timed: CoinRun's size in the paper's appendix, random weights, ours and the baseline's."""

from __future__ import annotations

import torch

from benchmarks.baselines import PlainDynamics, PlainLatentActionEncoder, plain_dynamics, plain_encoder
from genie_core.models.config import LatentActionConfig, ModelConfig
from genie_core.models.genie import Genie
from genie_core.models.lam import LatentActionModel
from genie_core.models.presets import preset

WINDOW = 16
"""Frames of a clip in the paper, and of the window that the public samplers compute."""

STEPS = 25
"""MaskGIT steps a frame in the paper."""

BATCH = 8
"""Clips that the encoder reads at once."""


def coinrun() -> ModelConfig:
    """Return preset `coinrun` (d 512; encoder of 8 blocks, dynamics of 12) with temporal windows of 16 frames."""
    config = preset("coinrun")
    wide = {"window": WINDOW}
    lam = lam_config(config)
    lam = lam.model_copy(update={"encoder": lam.encoder.model_copy(update=wide)})
    dynamics = config.dynamics.model_copy(update={"transformer": config.dynamics.transformer.model_copy(update=wide)})
    return config.model_copy(update={"lam": lam, "dynamics": dynamics})


def make_genie(config: ModelConfig, seed: int = 0) -> Genie:
    """Return a model with random weights, for inference."""
    torch.manual_seed(seed)
    return Genie(config).eval().requires_grad_(False)


def lam_config(config: ModelConfig) -> LatentActionConfig:
    """Return the configuration of the paper's latent action model."""
    if not isinstance(config.lam, LatentActionConfig):
        raise ValueError(f"{config.name}: got another latent action model than the paper's")
    return config.lam


def lam_of(genie: Genie) -> LatentActionModel:
    """Return the paper's latent action model of `genie`."""
    if not isinstance(genie.lam, LatentActionModel):
        raise ValueError(f"{genie.config.name}: got another latent action model than the paper's")
    return genie.lam


def make_encoders() -> tuple[Genie, PlainLatentActionEncoder]:
    """Our model, and the baseline's encoder with the same weights."""
    config = coinrun()
    genie = make_genie(config)
    return genie, plain_encoder(lam_of(genie), config).requires_grad_(False)


def make_dynamics() -> tuple[Genie, PlainDynamics]:
    """Make our model, and the baseline's dynamics with the same weights."""
    config = coinrun()
    genie = make_genie(config)
    return genie, plain_dynamics(genie.dynamics, config).requires_grad_(False)


__all__ = [
    "BATCH",
    "STEPS",
    "WINDOW",
    "coinrun",
    "lam_config",
    "lam_of",
    "make_dynamics",
    "make_encoders",
    "make_genie",
]
