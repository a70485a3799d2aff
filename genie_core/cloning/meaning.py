"""What a policy's latents mean to the robot, learnt from N labelled transitions by the regressor of `alignment`.

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
    """N >= 1 transitions whose actions are known.

    Attributes:
        codes_N: (N,) int64.
        latents_ND: (N, D) before quantization.
        actions_NA: (N, A) in [-1, 1].
        episode_N: (N,) which demonstration each is of.

    """

    codes_N: NDArray[np.int64]
    latents_ND: Array
    actions_NA: Array
    episode_N: NDArray[np.int64]


@dataclass(frozen=True)
class Reader:
    """The regressor from latents, with the codebook that gives it codes too."""

    regressor: Regressor
    codebook_KD: Array

    def read(self, latent_D: Array) -> Array:
        """The action (A,) of a latent (D,), which is brought to unit length, as those are that it was fitted on."""
        unit_D = latent_D / max(float(np.linalg.norm(latent_D)), 1e-9)
        code = int((self.codebook_KD @ unit_D).argmax())
        action_A: Array = self.regressor.predict(Inputs(np.array([code]), unit_D[None], None))[0]
        return action_A


def fit_reader(labelled: Labelled, codebook_KD: Array, seed: int) -> Reader:
    """Fit the regressor on labelled transitions, at least one; see `fit_regressor`."""
    inputs = Inputs(labelled.codes_N, labelled.latents_ND, None)
    fitted = fit_regressor(inputs, labelled.actions_NA, labelled.episode_N, WITHOUT_OBSERVATION, seed)
    return Reader(fitted, codebook_KD)


__all__ = ["Labelled", "Reader", "fit_reader"]
