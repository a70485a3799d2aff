"""Dictionary D from latent to real actions, filled from labelled expert steps as in the paper (Bruce et al. 2024,
Section 3.3 and Figure 15). Works on arrays only; the alternative is `regressor`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.alignment.regressor import Array


@dataclass(frozen=True)
class Dictionary:
    """D[code]: the real actions seen with each code.

    Attributes:
        action_NA: (N, A) the actions of N >= 1 labelled transitions, sorted by code, in their own units.
        start_K: (codes + 1,) int64: D[c] is ``action_NA[start_K[c] : start_K[c + 1]]``.

    """

    action_NA: Array
    start_K: NDArray[np.int64]

    @staticmethod
    def fill(code_N: NDArray[np.int64], action_NA: Array, codes: int) -> Dictionary:
        """Fill the dictionary from labelled transitions, which keep their order within a code."""
        order_N = np.argsort(code_N, kind="stable")
        start_K = np.searchsorted(code_N[order_N], np.arange(codes + 1))
        return Dictionary(action_NA[order_N], start_K.astype(np.int64))

    @property
    def count_K(self) -> NDArray[np.int64]:
        """Number of labelled transitions of each code."""
        return np.diff(self.start_K)

    def mean(self, code_T: NDArray[np.int64]) -> Array:
        """Return the mean of D[code], (T, A); for a code never seen, the mean of all actions."""
        count_K = self.count_K
        everything_A = self.action_NA.mean(axis=0)
        mean_KA = np.stack(
            [
                self.action_NA[s : s + n].mean(axis=0) if n else everything_A
                for s, n in zip(self.start_K, count_K, strict=False)
            ]
        )
        mean_TA: Array = mean_KA[code_T]
        return mean_TA

    def draw(self, code_T: NDArray[np.int64], seed: int, start: int = 0) -> Array:
        """Draw a random member of D[code] for each transition, (T, A), as in the paper.

        A draw depends only on the seed and the transition's index, so that chunks give what the whole gives. For a code
        never seen, a member of all of D is drawn.

        Args:
            code_T: (T,) codes.
            seed: 0 .. 2^64 - 1.
            start: index in the episode of the first transition.

        """
        count_T = self.count_K[code_T]
        empty_T = count_T == 0
        first_T = np.where(empty_T, 0, self.start_K[code_T])
        count_T = np.where(empty_T, len(self.action_NA), count_T)
        drawn_TA: Array = self.action_NA[first_T + (_uniform(len(code_T), seed, start) * count_T).astype(np.int64)]
        return drawn_TA


def _uniform(count: int, seed: int, start: int) -> Array:
    """Return numbers in [0, 1) for indices start .. start + count - 1: the first of Philox's 4 words for each."""
    philox = np.random.Philox(key=seed)
    philox.advance(start)
    words = np.asarray(philox.random_raw(4 * count), np.uint64)[::4]
    number_T: Array = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return number_T


__all__ = ["Dictionary"]
