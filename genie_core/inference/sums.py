"""Long transitions as sums of short ones, of models whose latents add up.

Latents that follow optical flow are linear in motion, so that those of consecutive short transitions sum to that of the
long one. The sum knows more than the two outer frames show: between neighbouring frames little is hidden, and nothing
moves too far for flow. Nothing here depends on how frames arrive, nor on other episodes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Labels
from genie_core.data.labelled.fusing import nearest
from genie_core.models.bundle import BundleInfo
from genie_core.models.config import LatentActionConfig, MotionActionConfig


def part_length(lam: LatentActionConfig | MotionActionConfig, step: int) -> int:
    """Return the length in frames of the transitions that are encoded for labels of `step` frames: 1 or `step`.

    Parts are as short as can be: nothing moves too far between neighbouring frames, whatever the frame rate.
    """
    return 1 if isinstance(lam, MotionActionConfig) and lam.sums else step


class TransitionSums:
    """Sums the labels of one episode's transitions of one frame, in order, to those of longer ones. Not thread-safe."""

    def __init__(self, info: BundleInfo, step: int, density: str) -> None:
        """Begin an episode whose transitions are `step` frames long."""
        self._info, self._step = info, step
        self._is_strided = density == "strided"
        self._kept: Labels | None = None

    def take(self, found: Labels) -> Labels:
        """Add the labels of the next frames; return those of the transitions that they complete, possibly none."""
        kept = found if self._kept is None else Labels.concatenate([self._kept, found])
        count = max(0, len(kept) - (self._step - 1))
        self._kept = kept.part(count, len(kept))
        valid = np.ones(count, np.bool_)
        if self._is_strided:
            valid = (kept.start + np.arange(count)) % self._step == 0
        latent = _summed(kept.latent, self._step, valid)
        code, confidence = nearest(latent[valid], self._info.codebook, self._info.latent_radius)
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
            out.fine_code[valid] = nearest(latent[valid], self._info.fine_codebook, self._info.latent_radius)[0]
        if out.feature is not None and kept.feature is not None:
            out.feature[:] = _summed(kept.feature, self._step, valid)
        return out


def _summed(rows: NDArray[np.float32], step: int, valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Add `step` consecutive rows from each on, in their order: sums of numbers are not the same in every order.

    Returns:
        (count, D) for the (count,) of `valid`, 0 where that is False.

    """
    total = rows[: len(valid)].copy()
    for row in range(1, step):
        total += rows[row : row + len(valid)]
    total[~valid] = 0
    return total


__all__ = ["TransitionSums", "part_length"]
