"""Long transitions as sums of short ones, of models whose latents add up.

Latents that follow optical flow are linear in motion, so that those of consecutive short transitions sum to that of the
long one. The sum knows more than the two outer frames show: between neighbouring frames little is hidden, and nothing
moves too far for flow. Nothing here depends on how frames arrive, nor on other episodes.
"""

from __future__ import annotations

from math import isqrt

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Labels
from genie_core.data.labelled.fusing import nearest
from genie_core.models.bundle import BundleInfo
from genie_core.models.config import LatentActionConfig, MotionActionConfig


def part_length(lam: LatentActionConfig | MotionActionConfig, step: int) -> int:
    """Return the length in frames of the transitions that are encoded for labels of `step` frames, which it divides.

    It is `step` itself for models whose latents do not add up.
    """
    return best_part(step) if isinstance(lam, MotionActionConfig) and lam.sums else step


def best_part(step: int) -> int:
    """Return the largest divisor of `step` up to its square root.

    Shorter parts follow fast motion more closely, but every part adds the camera's noise once more.
    """
    return next(length for length in range(isqrt(step), 0, -1) if step % length == 0)


class TransitionSums:
    """Sums the labels of one episode's parts, in order, to those of its transitions. Not thread-safe."""

    def __init__(self, info: BundleInfo, step: int, part: int, density: str) -> None:
        """Begin an episode whose transitions of `step` frames are sums of parts of `part` frames."""
        self._info, self._step, self._part = info, step, part
        self._is_strided = density == "strided"
        self._kept: Labels | None = None

    def take(self, found: Labels) -> Labels:
        """Add the labels of the next parts; return those of the transitions that they complete, possibly none."""
        kept = found if self._kept is None else Labels.concatenate([self._kept, found])
        count = max(0, len(kept) - (self._step - self._part))
        self._kept = kept.part(count, len(kept))
        rows = range(0, self._step, self._part)
        valid = np.logical_and.reduce([kept.valid[row : row + count] for row in rows])
        if self._is_strided:
            valid &= (kept.start + np.arange(count)) % self._step == 0
        latent = _summed([kept.latent[row : row + count] for row in rows], valid)
        code, confidence = nearest(latent[valid], self._info.codebook, self._info.usual_norm)
        out = Labels.invalid(
            kept.start,
            count,
            latent.shape[1],
            fine=kept.fine_code is not None,
            feature_dim=None if kept.feature is None else kept.feature.shape[1],
        )
        out.valid[:] = valid
        out.latent[:] = latent
        out.code[valid], out.confidence[valid] = code, confidence
        if out.fine_code is not None and self._info.fine_codebook is not None:
            out.fine_code[valid] = nearest(latent[valid], self._info.fine_codebook, self._info.usual_norm)[0]
        if out.feature is not None and kept.feature is not None:
            out.feature[:] = _summed([kept.feature[row : row + count] for row in rows], valid)
        return out


def _summed(parts: list[NDArray[np.float32]], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Add arrays (n, D) in their order, as sums of numbers are not the same in every order; 0 where not valid."""
    total = parts[0].copy()
    for part in parts[1:]:
        total += part
    total[~valid] = 0
    return total


__all__ = ["TransitionSums", "best_part", "part_length"]
