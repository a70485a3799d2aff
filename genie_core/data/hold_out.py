"""Which episodes are held out of training: one draw for everybody who must agree on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genie_core.data.episode import Episode


def hold_out_episodes(
    episodes: Sequence[Episode], share: float, seed: int, *, least: int = 0
) -> tuple[list[Episode], list[Episode]]:
    """Episodes to train on and episodes held out, both in their own order; those of one frame are in neither.

    Args:
        episodes: of one dataset.
        share: of the episodes, 0 to 1, that are held out.
        seed: of the draw: the same dataset, share and seed always hold out the same.
        least: how many are held out at least.

    """
    usable = [e for e in episodes if e.num_frames > 1]
    count = max(least, round(len(usable) * share))
    kept = set(np.random.default_rng(seed).permutation(len(usable))[:count].tolist())
    return [e for i, e in enumerate(usable) if i not in kept], [e for i, e in enumerate(usable) if i in kept]


__all__ = ["hold_out_episodes"]
