"""Split of episodes into training and held-out ones, the same for everyone who must agree on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genie_core.data.episode import Episode


def hold_out_episodes(
    episodes: Sequence[Episode], share: float, seed: int, *, least: int = 0
) -> tuple[list[Episode], list[Episode]]:
    """Return the episodes to train on and those held out, each in dataset order; one-frame episodes are in neither.

    Args:
        episodes: of one dataset.
        share: fraction of the episodes to hold out, 0 to 1.
        seed: of the draw: the same dataset, share and seed always give the same split.
        least: minimum number of episodes to hold out.

    """
    usable = [e for e in episodes if e.num_frames > 1]
    count = max(least, round(len(usable) * share))
    kept = set(np.random.default_rng(seed).permutation(len(usable))[:count].tolist())
    return [e for i, e in enumerate(usable) if i not in kept], [e for i, e in enumerate(usable) if i in kept]


__all__ = ["hold_out_episodes"]
