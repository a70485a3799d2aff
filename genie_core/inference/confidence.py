"""Confidence of simulated frames: whether the latent action model reads back the action that was asked for.

The probability that a frame is nearer to what would have happened than the start frame is, from that agreement and the
number of frames simulated, as calibrated on real futures by `genie evaluate --calibrate`. The calibration lies beside
the bundle and is no part of its identity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genie_core.data import Frames
from genie_core.data.storage.atomic import write_text
from genie_core.errors import ModelError, problems_of
from genie_core.inference.labeller import Block, Encoded, Labeller
from genie_core.models.bundle import CONFIDENCE, BundleInfo

FEATURES = 3
"""Numbers that the probability is made of; see `features`."""
_LEAST_LENGTH = 1e-6


class Calibration(BaseModel):
    """A logistic regression, fitted on rollouts beside what happened.

    Attributes:
        bundle_id: the bundle whose rollouts it is of.
        intercept: of the log odds.
        weights: of the log odds, by `features`.
        data: name of the dataset.
        rollouts: number of rollouts that it was fitted on.
        episodes: number of episodes that they come from.
        created: ISO 8601, UTC.

    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    bundle_id: str
    intercept: float
    weights: tuple[float, ...] = Field(min_length=FEATURES, max_length=FEATURES)
    data: str
    rollouts: int = Field(gt=0)
    episodes: int = Field(gt=0)
    created: str

    def probability(self, feature_NF: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return probabilities (N,) of features (N, `FEATURES`)."""
        odds_N = np.clip(self.intercept + feature_NF @ np.array(self.weights), -30, 30)
        return np.asarray(1 / (1 + np.exp(-odds_N)), np.float64)


def features(agreement_H: Sequence[float]) -> NDArray[np.float64]:
    """Return the inputs of the calibration for the newest frame, (`FEATURES`,).

    Args:
        agreement_H: agreement of each frame so far, the newest last, at least one.

    """
    return np.array([agreement_H[-1], float(np.mean(agreement_H)), math.log(len(agreement_H))])


def agreement(read_D: NDArray[np.floating], wanted_D: NDArray[np.floating]) -> float:
    """Return how far the latent read back agrees with the requested one: 1 if they are equal, 0 if opposite."""
    size = float(np.linalg.norm(read_D) + np.linalg.norm(wanted_D))
    if size < _LEAST_LENGTH:
        return 1.0
    return 1 - float(np.linalg.norm(np.asarray(read_D, np.float64) - wanted_D)) / size


@dataclass
class ReadBack:
    """Reads back one simulation, frame by frame.

    Attributes:
        labeller: of the bundle that simulates.
        last_HWC: the newest frame, at the model's size.
        agreements: of the frames so far.

    """

    labeller: Labeller
    last_HWC: Frames
    agreements: list[float]

    @staticmethod
    def of(labeller: Labeller, start_HWC: Frames) -> ReadBack:
        """Begin with the start frame, at the model's size."""
        return ReadBack(labeller, start_HWC, [])

    def block(self, frame_HWC: Frames) -> Block:
        """Return the block to encode: the newest frame and the one drawn since."""
        return Block(np.stack((self.last_HWC, frame_HWC)), self.labeller.nothing)

    def take(self, frame_HWC: Frames, wanted_D: NDArray[np.floating], encoded: Encoded) -> float:
        """Take the drawn frame, the latent that led to it (`asked_for`) and what was encoded; return the agreement."""
        self.agreements.append(agreement(encoded.latent[1], wanted_D))
        self.last_HWC = frame_HWC
        return self.agreements[-1]

    def probability(self, calibration: Calibration) -> float:
        """Return the probability that the newest frame is nearer to what would have happened than the start frame."""
        return float(calibration.probability(features(self.agreements)[None])[0])


def read_calibration(info: BundleInfo) -> Calibration | None:
    """Read the calibration beside a bundle; None if there is none, or it is of other weights.

    Raises:
        ModelError: the file is damaged.

    """
    path = info.path / CONFIDENCE
    if not path.is_file():
        return None
    try:
        found = Calibration.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ModelError(f"{path} is no calibration that this version reads: {problems_of(error)}") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    return found if found.bundle_id == info.bundle_id else None


def write_calibration(info: BundleInfo, calibration: Calibration) -> None:
    """Write the calibration beside its bundle, replacing an earlier one whole."""
    write_text(info.path / CONFIDENCE, calibration.model_dump_json(indent=2) + "\n")


__all__ = [
    "FEATURES",
    "Calibration",
    "ReadBack",
    "agreement",
    "features",
    "read_calibration",
    "write_calibration",
]
