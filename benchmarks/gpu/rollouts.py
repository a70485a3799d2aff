"""Rollouts of the paper's robotics model, and of tiny, in each number format and with fewer MaskGIT steps."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import torch

from benchmarks.gpu.found import Found
from benchmarks.gpu.parts import Setting
from benchmarks.gpu.precisions import FORMATS, Format, arithmetic, weights
from benchmarks.robotics import random_bundle, time_rollouts
from genie_core.models import dynamics
from genie_core.models.presets import preset

GOAL = 10.0
"""Frames/s of one rollout of `robotics`."""

WAYS: tuple[tuple[str, Format, tuple[int, ...], float | None], ...] = (
    ("robotics", "bf16", (25, 8, 4, 2), GOAL),
    ("robotics", "tf32", (25, 8), None),
    ("tiny", "bf16", (8,), None),
    ("tiny", "fp32", (8,), None),
)
"""Preset, number format, MaskGIT steps, target."""


def measure(setting: Setting) -> Iterator[Found]:
    """Yield frames a second of one rollout, its passes recorded, with the same unrecorded beside it."""
    ways = tuple(("nano", kind, (2,), None) for kind in FORMATS) if setting.dry else WAYS
    for name, kind, numbers, goal in ways:
        with arithmetic(kind):
            bundle = random_bundle(preset(name), torch.device(setting.device), weights(kind))
            for steps in numbers:
                rounds = 2 if setting.dry else 3
                found = time_rollouts(bundle, steps, rounds, branches=0)
                with patch.object(dynamics, "graph_for", lambda *_: None):
                    plain = time_rollouts(bundle, steps, rounds, branches=0)
                note = f"without CUDA graphs {plain.value:.3g}"
                yield Found(f"{name} {kind}: rollout, {steps} steps a frame", found.value, "frames/s", goal, note)
            del bundle
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


__all__ = ["measure"]
