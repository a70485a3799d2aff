"""Assignment of rows to columns at the least total cost: the Hungarian method with potentials, O(n^3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genie_core.statistics.metrics import Array


def assign(cost_NN: Array) -> NDArray[np.int64]:
    """Return, for each row of a square matrix of finite costs, its column (N,): a permutation of the least total cost.

    Rows are added one at a time; each is given its column along the shortest augmenting path over reduced costs.
    """
    size = len(cost_NN)
    if cost_NN.shape != (size, size) or not np.isfinite(cost_NN).all():
        raise ValueError(f"cost: got {cost_NN.shape}, expected a square matrix of finite numbers")
    row_potential, column_potential = np.zeros(size + 1), np.zeros(size + 1)
    row_of = np.full(size + 1, -1)  # by column; the last column is where each path begins
    for row in range(size):
        row_of[size], column = row, size
        shortest, before = np.full(size, np.inf), np.full(size, size)
        visited = np.zeros(size + 1, np.bool_)
        while row_of[column] >= 0:
            visited[column] = True
            at = row_of[column]
            reduced = cost_NN[at] - row_potential[at] - column_potential[:size]
            better = ~visited[:size] & (reduced < shortest)
            shortest[better], before[better] = reduced[better], column
            nearest = int(np.where(visited[:size], np.inf, shortest).argmin())
            step = shortest[nearest]
            row_potential[row_of[visited]] += step
            column_potential[visited] -= step
            shortest[~visited[:size]] -= step
            column = nearest
        while column != size:
            row_of[column] = row_of[before[column]]
            column = before[column]
    column_of = np.empty(size, np.int64)
    column_of[row_of[:size]] = np.arange(size)
    return column_of


__all__ = ["assign"]
