"""Whether motions are of the kinds that a model was trained on: their shape, whatever their size.

A latent's direction says what moves and where to; `unusual_motion` is about its length. Directions of training are kept
beside the bundle as a second moment, in which a motion and its reverse are the same, as they are to the model. The
score of a direction is its squared length where training's directions have been made equally common: 1 on average over
training. The score's own quantiles in training say how rare a score is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genie_core.checking.codes import CheckedEpisode
from genie_core.data.storage.atomic import write_text
from genie_core.errors import ModelError, problems_of
from genie_core.evaluation.metrics import Measured, Missing, mean_of
from genie_core.models.bundle import BundleInfo
from genie_core.statistics.metrics import Array

FAMILIAR = "familiar.json"
"""File beside a bundle's; like alignments no part of its identity."""

RARE = 0.95
"""Quantile of training's scores from which a motion is unfamiliar: one in twenty of training is."""

_SHRINKAGE = 0.05
"""Share of equal directions that is mixed into the second moment: directions that training hardly has stay finite."""
_SHORTEST = 0.25
"""Length of a latent, as a share of the median, below which its direction is mostly noise."""


class Familiar(BaseModel):
    """What directions of latents training had.

    Attributes:
        bundle_id: the bundle whose latents they are.
        whitening: (D, D) rows; a unit latent times it has squared length D on average over training.
        rare: score from which a motion is unfamiliar, `RARE` of training's being below.
        transitions: number of transitions that it was fitted on.
        created: ISO 8601, UTC.

    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bundle_id: str
    whitening: tuple[tuple[float, ...], ...] = Field(min_length=1)
    rare: float = Field(gt=0)
    transitions: int = Field(gt=0)
    created: str

    def score(self, latent_ND: Array) -> Array:
        """Score latents, (N, D) of any length but 0: (N,)."""
        score_N: Array = np.square(_unit(latent_ND) @ np.array(self.whitening)).mean(axis=1)
        return score_N


def fit_familiar(latent_ND: Array, bundle_id: str) -> Familiar:
    """Fit to the latents of training, (N, D), N at least 2; short ones, whose direction is noise, are left out."""
    length_N = np.linalg.norm(latent_ND, axis=1)
    unit_ND = _unit(latent_ND[length_N > _SHORTEST * np.median(length_N)])
    dim = unit_ND.shape[1]
    moment_DD = (1 - _SHRINKAGE) * unit_ND.T @ unit_ND / len(unit_ND) + _SHRINKAGE * np.eye(dim) / dim
    values_D, vectors_DD = np.linalg.eigh(moment_DD)
    whitening_DD = (vectors_DD / np.sqrt(values_D)) @ vectors_DD.T
    score_N = np.square(unit_ND @ whitening_DD).mean(axis=1)
    return Familiar(
        bundle_id=bundle_id,
        whitening=tuple(tuple(row) for row in np.round(whitening_DD, 4).tolist()),
        rare=float(np.quantile(score_N, RARE)),
        transitions=len(unit_ND),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def unfamiliar_motion(
    episodes: Sequence[CheckedEpisode], familiar: Familiar | None, rng: np.random.Generator
) -> Measured:
    """Measure the share of moving transitions whose direction is rarer than `RARE` of training's: 0.05 in training."""
    if familiar is None:
        return Missing("nothing is known of the motions of this bundle's training")
    shares = [
        (familiar.score(e.latent_SD[e.moving_S]) > familiar.rare).astype(np.float64)
        for e in episodes
        if e.moving_S.any()
    ]
    return mean_of(shares, rng) if shares else Missing("nothing moves")


def read_familiar(info: BundleInfo) -> Familiar | None:
    """Read what lies beside a bundle; None if nothing does, or it is of other weights.

    Raises:
        ModelError: the file is damaged.

    """
    path = info.path / FAMILIAR
    if not path.is_file():
        return None
    try:
        found = Familiar.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ModelError(f"{path} does not say what motions are familiar: {problems_of(error)}") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    return found if found.bundle_id == info.bundle_id else None


def write_familiar(info: BundleInfo, familiar: Familiar) -> None:
    """Write it beside its bundle, replacing an earlier one whole."""
    write_text(info.path / FAMILIAR, familiar.model_dump_json() + "\n")


def _unit(latent_ND: NDArray[np.floating]) -> Array:
    unit_ND: Array = latent_ND / np.linalg.norm(latent_ND, axis=1, keepdims=True)
    return unit_ND.astype(np.float64)


__all__ = ["FAMILIAR", "RARE", "Familiar", "fit_familiar", "read_familiar", "unfamiliar_motion", "write_familiar"]
