"""Mapping of what a policy predicts (latents, optical flow) to robot actions, learnt from N labelled transitions.

It is the regressor of `alignment`. The paper's dictionary, for codes, is `alignment.dictionary`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.alignment.regressor import WITHOUT_OBSERVATION, Inputs, Kernel, Regressor, fit_regressor

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Labelled:
    """N >= 1 transitions with known actions.

    Attributes:
        vectors_ND: (N, D) what the policy predicts of each: its latent before quantization, or its flow.
        actions_NA: (N, A) in [-1, 1].
        episode_N: (N,) index of the demonstration of each.

    """

    vectors_ND: Array
    actions_NA: Array
    episode_N: Rows


@dataclass(frozen=True)
class Scale:
    """How vectors are brought to a length of about 1, for which the regressor's kernels are made.

    Attributes:
        usual: divides all vectors, so that they keep how long they are among themselves; None: each has length 1.

    """

    usual: float | None

    @staticmethod
    def of(vectors_MD: Array) -> Scale:
        """Of vectors that may differ in length: their root mean square length, 1 if all are zero."""
        usual = float(np.sqrt(np.square(vectors_MD).sum(axis=1).mean()))
        return Scale(usual if usual > 0 else 1.0)

    def apply(self, vectors_ND: Array) -> Array:
        """Return the vectors (N, D) scaled."""
        if self.usual is not None:
            return vectors_ND / self.usual
        lengths_N1 = np.maximum(np.linalg.norm(vectors_ND, axis=1, keepdims=True), 1e-9)
        unit_ND: Array = vectors_ND / lengths_N1
        return unit_ND


@dataclass(frozen=True)
class Reader:
    """The regressor from vectors, with their scale and the codebook (K, D) that assigns unit vectors their codes."""

    regressor: Regressor
    scale: Scale
    codebook_KD: Array | None

    def read(self, vector_D: Array) -> Array:
        """Return the action (A,) of a vector (D,)."""
        action_A: Array = self.regressor.predict(_inputs(self.scale.apply(vector_D[None]), self.codebook_KD))[0]
        return action_A


def fit_reader(labelled: Labelled, scale: Scale, codebook_KD: Array | None, seed: int) -> Reader:
    """Fit the regressor on at least one labelled transition; see `fit_regressor`.

    Args:
        labelled: the transitions.
        scale: of their vectors, and of those that will be read.
        codebook_KD: of vectors of unit length, whose codes a kernel may compare; None: no kernel does.
        seed: of the folds.

    """
    inputs = _inputs(scale.apply(labelled.vectors_ND), codebook_KD)
    fitted = fit_regressor(inputs, labelled.actions_NA, labelled.episode_N, _kernels(codebook_KD), seed)
    return Reader(fitted, scale, codebook_KD)


def _kernels(codebook_KD: Array | None) -> tuple[Kernel, ...]:
    return tuple(k for k in WITHOUT_OBSERVATION if codebook_KD is not None or k.kind != "code")


def _inputs(scaled_ND: Array, codebook_KD: Array | None) -> Inputs:
    code_N = np.zeros(len(scaled_ND), np.int64) if codebook_KD is None else (scaled_ND @ codebook_KD.T).argmax(axis=1)
    return Inputs(code_N, scaled_ND, None)


__all__ = ["Labelled", "Reader", "Scale", "fit_reader"]
