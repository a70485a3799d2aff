"""Directions in which latents vary most: a few numbers a transition that can be drawn against time, or on a map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.data import LabelledFile

_MOST_ROWS = 20_000
_MOST_EPISODES = 100


@dataclass(frozen=True)
class Axes:
    """Principal axes of latents.

    Attributes:
        mean_D: (D,) mean of the latents.
        axis_ND: (N, D) unit vectors, the one of most variance first; each points where its largest component is > 0.
        share_N: (N,) share of the variance along each, 0 to 1.

    """

    mean_D: NDArray[np.float64]
    axis_ND: NDArray[np.float64]
    share_N: NDArray[np.float64]

    @property
    def share(self) -> float:
        """Share of the variance along all of them."""
        return float(self.share_N.sum())

    @property
    def names(self) -> list[str]:
        """Name of each axis, with its share of the variance."""
        return [f"direction {number + 1} ({share:.0%})" for number, share in enumerate(self.share_N.tolist())]

    def of(self, latent_SD: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (S, N), the latents' coordinates along the axes."""
        along: NDArray[np.float32] = ((latent_SD - self.mean_D) @ self.axis_ND.T).astype(np.float32)
        return along


def principal_axes(labelled: LabelledFile, count: int = 3) -> Axes:
    """Return `count` axes, or as many as there are dimensions, of the latents of at most 100 episodes of the file."""
    names, rows = labelled.episodes, []
    chosen = np.unique(np.linspace(0, len(names) - 1, min(_MOST_EPISODES, len(names))).astype(int)).tolist()
    for number in chosen:
        labels, _ = labelled.labels(names[number])
        latent_SD = labels.latent[labels.valid]
        rows.append(latent_SD[:: 1 + len(latent_SD) * len(chosen) // _MOST_ROWS])
    return axes_of(np.concatenate(rows).astype(np.float64), count)


def axes_of(latent_SD: NDArray[np.float64], count: int) -> Axes:
    """Return `count` principal axes of latents, (S, D), or as many as D; any S, none varies below two."""
    dim = latent_SD.shape[1]
    count = min(count, dim)
    mean_D = latent_SD.mean(axis=0) if len(latent_SD) else np.zeros(dim)
    spread = latent_SD - mean_D
    value_D, vector_DD = np.linalg.eigh(spread.T @ spread / max(1, len(spread)))
    axis_ND = vector_DD[:, ::-1].T[:count].copy()
    largest = np.take_along_axis(axis_ND, np.abs(axis_ND).argmax(axis=1)[:, None], axis=1)
    axis_ND *= np.where(largest < 0, -1, 1)
    variance_D = np.maximum(value_D[::-1], 0)
    return Axes(mean_D, axis_ND, variance_D[:count] / max(float(variance_D.sum()), 1e-12))


__all__ = ["Axes", "axes_of", "principal_axes"]
