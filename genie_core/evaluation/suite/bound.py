"""Labels beside supervised inverse dynamics, on the same episodes: what reading these pictures can give at all.

The network is scored on one fold of large sets, so that its error over all of a set's scored episodes is not that of
the probes, which are scored on every episode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from genie_core.evaluation.metrics import Measured
from genie_core.evaluation.suite.means import mean_over
from genie_core.evaluation.suite.scoring import SUPERVISED
from genie_core.statistics.metrics import Array

READERS = ("latent_linear", "latent_mlp", "feature_linear", "flow_8x8_summed_linear")
"""What is set beside the network."""


def bound_metrics(
    errors: Mapping[str, Mapping[str, Array]], members: Mapping[str, Sequence[str]], seed: int
) -> dict[str, dict[str, Measured]]:
    """Return errors over variance of the network and of `READERS`, on the episodes that the network was scored on.

    Args:
        errors: by set and method, (E, 2), see `Scores.errors_E2`; sets without the network are left out.
        members: names of the sets of each mean; a mean is given if all of them have the network.
        seed: seed of the resamples.

    Returns:
        By set, then by mean: each method, and each of `READERS` minus the network (``latent_linear_minus_supervised``).

    """
    scored = {name: _scored(of) for name, of in errors.items() if SUPERVISED in of}
    groups = {name: [name] for name in scored}
    groups |= {name: list(some) for name, some in members.items() if len(some) > 1 and all(s in scored for s in some)}
    found: dict[str, dict[str, Measured]] = {}
    for name, some in groups.items():
        ways = [way for way in (SUPERVISED, *READERS) if all(way in scored[member] for member in some)]
        found[name] = {}
        for way in ways:
            found[name] |= mean_over(
                [scored[member] for member in some], way, [SUPERVISED] if way != SUPERVISED else [], seed
            )
    return found


def _scored(errors: Mapping[str, Array]) -> dict[str, Array]:
    """Return the errors of the episodes on which the network was scored."""
    there = errors[SUPERVISED][:, 1] > 0
    return {way: np.asarray(errors_E2)[there] for way, errors_E2 in errors.items() if way in (SUPERVISED, *READERS)}


__all__ = ["READERS", "bound_metrics"]
