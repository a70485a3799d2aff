"""The networks of a Genie model, built from one configuration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from genie_core.models.config import ModelConfig, MotionActionConfig
from genie_core.models.dynamics import DynamicsModel
from genie_core.models.lam import LatentActionModel
from genie_core.models.mending import OTHERS, TOLD
from genie_core.models.motion_lam import MotionActionModel
from genie_core.models.mover import FrameMover
from genie_core.models.tokenizer import VideoTokenizer


class Genie(nn.Module):
    """Video tokenizer, latent action model, dynamics model and, if configured, mover of one `ModelConfig`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        self.tokenizer = VideoTokenizer(c.tokenizer, c.height, c.width)
        self.lam: LatentActionModel | MotionActionModel
        if isinstance(c.lam, MotionActionConfig):
            self.lam = MotionActionModel(c.lam, c.height, c.width)
        elif c.lam.source == "pixels":
            self.lam = LatentActionModel(c.lam, c.height, c.width)
        else:  # the token grid is a small picture whose channels are the code's components
            patch = max(1, c.lam.patch // c.tokenizer.patch)
            self.lam = LatentActionModel(c.lam, *c.token_grid, channels=c.tokenizer.quantizer.dim, patch=patch)
        self.mover = None if c.mover is None else FrameMover(c.mover, c.lam.quantizer.dim, c.lam.quantizer.codes)
        told = {"maps": TOLD, "others": OTHERS} if c.mends else {}
        codes, action_dim = c.tokenizer.quantizer.codes, c.lam.quantizer.dim
        self.dynamics = DynamicsModel(c.dynamics, c.token_grid, codes, action_dim, **told)

    def lam_view(self, pixels_BTCHW: Tensor) -> Tensor:
        """Return the latent action model's input for clips (B, T, 3, H, W): pixels, or tokens' codes as pictures."""
        if self.config.lam.source == "pixels":
            return pixels_BTCHW
        with torch.no_grad():
            vector_BTND = self.tokenizer.quantizer.lookup(self.tokenizer.encode(pixels_BTCHW))
        return vector_BTND.view(*vector_BTND.shape[:2], *self.config.token_grid, -1).permute(0, 1, 4, 2, 3)


@dataclass(frozen=True)
class ParameterCount:
    """Trained parameters of each component in a bundle (without codebooks, which follow moving averages)."""

    tokenizer: int
    lam: int
    dynamics: int
    mover: int = 0

    @property
    def total(self) -> int:
        """Sum over all components."""
        return self.tokenizer + self.lam + self.dynamics + self.mover


@lru_cache(maxsize=256)
def count_parameters(config: ModelConfig) -> ParameterCount:
    """Count without allocating: the networks are built on the meta device, which takes a tenth of a second."""
    with torch.device("meta"):
        genie = Genie(config)
    counts = {name: sum(p.numel() for p in getattr(genie, name).parameters()) for name in config.components}
    return ParameterCount(counts.get("tokenizer", 0), counts["lam"], counts.get("dynamics", 0), counts.get("mover", 0))


__all__ = ["Genie", "ParameterCount", "count_parameters"]
