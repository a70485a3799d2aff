"""Rollouts of the paper's robotics model, and of tiny, in each number format and with fewer MaskGIT steps."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.gpu.found import Found
from benchmarks.gpu.parts import Setting
from benchmarks.gpu.precisions import FORMATS, Format, arithmetic, weights
from benchmarks.robotics import time_rollouts
from genie_core.models.presets import preset

GOAL = 10.0
"""Frames/s of one rollout of `robotics`."""

WAYS: tuple[tuple[str, Format, int, float | None], ...] = (
    ("robotics", "bf16", 25, GOAL),
    ("robotics", "bf16", 8, GOAL),
    ("robotics", "tf32", 25, None),
    ("robotics", "fp32", 25, None),
    ("tiny", "bf16", 8, None),
    ("tiny", "fp32", 8, None),
)
"""Preset, number format, MaskGIT steps, target."""


def measure(setting: Setting) -> Iterator[Found]:
    """Yield frames a second of one rollout, and of eight that branch from one prompt."""
    ways = tuple(("nano", kind, 2, None) for kind in FORMATS) if setting.dry else WAYS
    for name, kind, steps, goal in ways:
        with arithmetic(kind):
            device = torch.device(setting.device)
            found = time_rollouts(preset(name), device, steps, 2 if setting.dry else 3, precision=weights(kind))
        branches = found.facts["frames_per_s_of_branches"]
        note = f"8 branches together {branches} frames/s; no CUDA graphs"
        yield Found(f"{name} {kind}: rollout, {steps} steps a frame", found.value, "frames/s", goal, note)


__all__ = ["measure"]
