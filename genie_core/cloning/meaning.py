"""Mapping of a policy's latents to robot actions, learnt from N labelled transitions by the regressor of `alignment`.

The paper's dictionary, for codes, is `alignment.dictionary`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.alignment.regressor import WITHOUT_OBSERVATION, Inputs, Regressor, fit_regressor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Labelled:
    """N >= 1 transitions with known actions.

    Attributes:
        codes_N: (N,) int64.
        latents_ND: (N, D) before quantization.
        actions_NA: (N, A) in [-1, 1].
        episode_N: (N,) index of the demonstration of each.

    """

    codes_N: NDArray[np.int64]
    latents_ND: Array
    actions_NA: Array
    episode_N: NDArray[np.int64]


@dataclass(frozen=True)
class Reader:
    """The regressor from latents, with the codebook that assigns their codes."""

    regressor: Regressor
    codebook_KD: Array

    def read(self, latent_D: Array) -> Array:
        """Return the action (A,) of a latent (D,), normalised to unit length as in fitting."""
        unit_D = latent_D / max(float(np.linalg.norm(latent_D)), 1e-9)
        code = int((self.codebook_KD @ unit_D).argmax())
        action_A: Array = self.regressor.predict(Inputs(np.array([code]), unit_D[None], None))[0]
        return action_A


def fit_reader(labelled: Labelled, codebook_KD: Array, seed: int) -> Reader:
    """Fit the regressor on at least one labelled transition; see `fit_regressor`."""
    inputs = Inputs(labelled.codes_N, labelled.latents_ND, None)
    fitted = fit_regressor(inputs, labelled.actions_NA, labelled.episode_N, WITHOUT_OBSERVATION, seed)
    return Reader(fitted, codebook_KD)


__all__ = ["Labelled", "Reader", "fit_reader"]
