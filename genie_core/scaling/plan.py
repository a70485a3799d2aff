"""What a scaling study trains: sizes of the dynamics model, and batches for one of them. Imports no torch."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field

from genie_core.models.config import ModelConfig, TransformerConfig


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Size(_Frozen):
    """Layers and width of a dynamics model; the rest is that of the bundle whose tokens it learns."""

    layers: int = Field(gt=0)
    dim: int = Field(gt=0, multiple_of=16)

    @property
    def name(self) -> str:
        """As in files and figures: ``2x64``."""
        return f"{self.layers}x{self.dim}"


class ScalingPlan(_Frozen):
    """A scaling study.

    Attributes:
        sizes: to train, all with `batch`.
        batches: clips a step to train `size_of_batches` with, besides `batch`.
        size_of_batches: place in `sizes` of the model that the batches are compared with.
        batch: clips a step.
        clip_frames: frames of a clip.
        steps: of every run.
        lr: learning rate of the smallest width; of others it falls with the square root of the width.
        warmup: steps.
        mask_low: the share of hidden tokens is drawn from [mask_low, 1].
        held_out: share of the episodes whose loss is measured, and never trained on.
        evaluated: held-out clips.
        seed: of weights, clips and masks.

    """

    sizes: tuple[Size, ...] = (
        Size(layers=1, dim=32),
        Size(layers=2, dim=64),
        Size(layers=3, dim=96),
        Size(layers=4, dim=128),
    )
    batches: tuple[int, ...] = (2, 4, 16)
    size_of_batches: int = 1
    batch: int = Field(8, gt=0)
    clip_frames: int = Field(8, gt=1)
    steps: int = Field(400, gt=1)
    lr: float = Field(2e-3, gt=0)
    warmup: int = Field(20, ge=0)
    mask_low: float = Field(0.5, ge=0, le=1)
    held_out: float = Field(0.1, gt=0, lt=1)
    evaluated: int = Field(32, gt=0)
    seed: int = 0

    @property
    def runs(self) -> list[tuple[Size, int]]:
        """Size and batch of each run: the sizes first."""
        others = [(self.sizes[self.size_of_batches], batch) for batch in self.batches if batch != self.batch]
        return [*((size, self.batch) for size in self.sizes), *others]

    def learning_rate(self, size: Size) -> float:
        """Return the largest learning rate of a size."""
        return self.lr * math.sqrt(min(s.dim for s in self.sizes) / size.dim)


def sized(config: ModelConfig, size: Size) -> ModelConfig:
    """Return the configuration with a dynamics model of that size."""
    old = config.dynamics.transformer
    new = TransformerConfig(
        layers=size.layers, dim=size.dim, heads=size.dim // 16, window=old.window, ffn_ratio=4.0, qk_norm=old.qk_norm
    )
    dynamics = config.dynamics.model_copy(update={"transformer": new})
    return config.model_copy(update={"name": f"{config.name}-{size.name}", "dynamics": dynamics})


__all__ = ["ScalingPlan", "Size", "sized"]
