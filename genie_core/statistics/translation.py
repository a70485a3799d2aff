"""How the codes of one codebook translate into those of another, from transitions that both have labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.statistics.assignment import assign
from genie_core.statistics.metrics import Array


@dataclass(frozen=True)
class Translation:
    """Codes of a new codebook in terms of an old one.

    Attributes:
        joint_KL: (old codes, new codes) number of transitions that have both.
        old_of_new_L: (L,) the old code that each new one stands for, no old code twice; -1 where none is left.

    """

    joint_KL: NDArray[np.int64]
    old_of_new_L: NDArray[np.int64]

    @property
    def agreement(self) -> float:
        """Share of transitions whose new code, translated, is the old one; NaN without transitions."""
        return float(agreement_of(self.joint_KL[None].astype(np.float64), self.old_of_new_L)[0])

    @property
    def kappa(self) -> float:
        """Agreement beyond chance (Cohen's kappa): 0 for unrelated codes, 1 for identical ones."""
        total = self.joint_KL.sum()
        if not total:
            return float("nan")
        old_K, new_L = self.joint_KL.sum(axis=1) / total, self.joint_KL.sum(axis=0) / total
        known = self.old_of_new_L >= 0
        chance = float((old_K[self.old_of_new_L[known]] * new_L[known]).sum())
        return (self.agreement - chance) / (1 - chance) if chance < 1 else 1.0

    def of(self, new_N: NDArray[np.integer]) -> NDArray[np.int64]:
        """Translate new codes, (N,), into old ones; -1 where there is none."""
        translated: NDArray[np.int64] = self.old_of_new_L[new_N]
        return translated


def joint_counts(
    old_N: NDArray[np.integer], new_N: NDArray[np.integer], old_codes: int, new_codes: int
) -> NDArray[np.int64]:
    """Count transitions by their code in both codebooks: (old codes, new codes)."""
    flat = old_N.astype(np.int64) * new_codes + new_N
    return np.bincount(flat, minlength=old_codes * new_codes).reshape(old_codes, new_codes)


def translate(joint_KL: NDArray[np.int64]) -> Translation:
    """Match new codes with old ones so that as many transitions as possible agree (the Hungarian method).

    Where the codebooks differ in size, codes are left over on one side.
    """
    old, new = joint_KL.shape
    size = max(old, new)
    cost_NN = np.zeros((size, size))
    cost_NN[:new, :old] = -joint_KL.T
    column_N = assign(cost_NN)[:new]
    return Translation(joint_KL, np.where(column_N < old, column_N, -1))


def agreement_of(joint_RKL: Array, old_of_new_L: NDArray[np.int64]) -> Array:
    """Return the agreement of R sets of transitions under one translation, (R,); NaN for an empty one."""
    new_L = np.flatnonzero(old_of_new_L >= 0)
    same_R = joint_RKL[:, old_of_new_L[new_L], new_L].sum(axis=1)
    with np.errstate(invalid="ignore"):
        agreement: Array = same_R / joint_RKL.sum(axis=(1, 2))
    return agreement


def joint_of(pairs: Sequence[tuple[NDArray[np.integer], NDArray[np.integer]]], old: int, new: int) -> NDArray[np.int64]:
    """Count by codes in each of E episodes: (E, old codes, new codes)."""
    return np.stack([joint_counts(old_N, new_N, old, new) for old_N, new_N in pairs])


__all__ = ["Translation", "agreement_of", "joint_counts", "joint_of", "translate"]
