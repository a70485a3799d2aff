"""Makes what tests need: a nano bundle with random weights, in milliseconds."""

from __future__ import annotations

from pathlib import Path

import torch

from genie_core.models.bundle import save_bundle
from genie_core.models.genie import Genie
from genie_core.models.presets import preset


def make_nano_bundle(path: Path, seed: int = 0) -> Path:
    """An untrained `nano` bundle (32 x 32 frames, 8 codes, 10 frames a second) at `path`."""
    torch.manual_seed(seed)
    save_bundle(path, Genie(preset("nano")), "# nano\n\nUntrained: random weights, for tests.\n")
    return path
