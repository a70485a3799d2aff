"""Power laws through measured points, and what they say of the best size for a budget. Pure NumPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PowerLaw:
    """y = factor * x ** exponent, by least squares of the logarithms.

    Attributes:
        factor: y at x = 1.
        exponent: slope in logarithms.
        r2: share of the variance of log y that it explains; 1 for two points.
        points: that it was fitted to.

    """

    factor: float
    exponent: float
    r2: float
    points: int

    def at(self, x: float) -> float:
        """Return the law's value."""
        return float(self.factor * x**self.exponent)


def power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw:
    """Fit a power law to two or more positive points. Raises ValueError for fewer, or where all x are the same."""
    if len(x) < 2 or len(set(x)) < 2:
        raise ValueError(f"got {len(set(x))} different x, expected 2 or more")
    log_x, log_y = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    exponent, offset = np.polyfit(log_x, log_y, 1)
    spread = float(((log_y - log_y.mean()) ** 2).sum())
    left = float(((log_y - offset - exponent * log_x) ** 2).sum())
    return PowerLaw(float(np.exp(offset)), float(exponent), 1 - left / spread if spread else 1.0, len(x))


@dataclass(frozen=True)
class Best:
    """The size with the lowest loss once every size has had so much arithmetic.

    Attributes:
        flops: the budget.
        parameters: of the best size.
        loss: at it.
        at_edge: whether it is the smallest or the largest size tried, so that a better one may lie outside.

    """

    flops: float
    parameters: int
    loss: float
    at_edge: bool


def best_sizes(curves: Mapping[int, Sequence[tuple[float, float]]], budgets: Sequence[float]) -> list[Best]:
    """Return the best size for each budget that at least two sizes have reached, while larger budgets do better.

    Args:
        curves: by parameters, points (arithmetic so far, loss) of a run, in order.
        budgets: of arithmetic.

    """
    found: list[Best] = []
    for flops in budgets:
        losses = {
            parameters: float(np.interp(flops, [x for x, _ in curve], [y for _, y in curve]))
            for parameters, curve in curves.items()
            if curve[0][0] <= flops <= curve[-1][0]
        }
        if len(losses) > 1:
            best = min(losses, key=losses.__getitem__)
            if found and losses[best] > found[-1].loss:
                break  # smaller models, which would do better, were not trained for so long
            found.append(Best(flops, best, losses[best], best in (min(curves), max(curves))))
    return found


__all__ = ["Best", "PowerLaw", "best_sizes", "power_law"]
