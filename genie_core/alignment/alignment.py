"""An alignment: decodes a bundle's labels into one robot's actions, and encodes actions. For storage, see `store`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from genie_core.alignment.dictionary import Dictionary
from genie_core.alignment.observation import Observation
from genie_core.alignment.regressor import Inputs, Kernel, Regressor
from genie_core.alignment.transitions import Reduce
from genie_core.alignment.way_back import WayBack
from genie_core.data import Computation, Frames, Precision, conform_frames
from genie_core.errors import ModelError, RequestError

How = Literal["regressor", "dictionary", "draw"]
"""``regressor``: the small regressor. ``dictionary``: the mean of D[code]. ``draw``: a random member of D[code], as in
the paper."""


class HeldOut(BaseModel):
    """Errors on episodes that were not used in fitting.

    `nmse` is the mean squared error divided by the variance, averaged over the action's components that vary: 0 is
    perfect, 1 is as good as predicting the mean. `rmse` is in each component's own units.
    """

    model_config = ConfigDict(frozen=True)

    episodes: int
    transitions: int
    nmse: float | None
    r2: tuple[float | None, ...]
    rmse: tuple[float, ...]


class AlignmentInfo(BaseModel):
    """Description of an alignment: the bundle it belongs to, the actions it returns, the data it was fitted on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    bundle_id: str = Field(description="SHA-256 of the bundle whose labels it decodes")
    bundle_name: str
    codes: int = Field(gt=0)
    latent_dim: int = Field(gt=0)
    actions: tuple[str, ...] = Field(min_length=1, description="names of the A components of an action")
    reduce: Reduce = Field(description="how the actions within a transition were combined into one")
    step: int = Field(gt=0, description="length in frames of the transitions that it was fitted on")
    fps: float | None = Field(description="frames a second of those transitions' data")
    camera: str
    precision: Precision | None = Field(
        None, description="number format in which the networks computed those labels; None in files of earlier versions"
    )
    computation: Computation | None = Field(
        None, description="how the networks computed those labels; of the first episode if it differs between episodes"
    )
    height: int = Field(gt=0, description="the model's frame size, pixels")
    width: int = Field(gt=0)
    kernels: tuple[Kernel, ...] = Field(min_length=1)
    budget: int = Field(gt=0, description="number of labelled transitions that it was fitted on")
    draw: Literal["transitions", "episodes"] = Field(description="unit in which they were drawn")
    seed: int = Field(ge=0)
    labels: str = Field(description="name of the labelled file")
    dataset: str = Field(description="name of the dataset with the actions")
    created: str = Field(description="ISO 8601, UTC")
    tool_version: str
    held_out: dict[str, HeldOut] = Field(
        default_factory=dict, description="by ``regressor``, ``dictionary``, ``draw``, and ``way_back`` (of latents)"
    )
    back_kernels: tuple[Kernel, ...] = Field(
        (), description="of the encoder of robot actions, one latent an action; none in files of earlier versions"
    )
    back_low: tuple[float, ...] = Field((), description="smallest of each component among the actions it was fitted on")
    back_high: tuple[float, ...] = Field((), description="the largest")


@dataclass(frozen=True)
class Alignment:
    """A dictionary, a regressor and a way back, fitted on the same labelled transitions."""

    info: AlignmentInfo
    dictionary: Dictionary
    regressor: Regressor
    observation: Observation | None
    way_back: WayBack | None = None

    @property
    def needs_frames(self) -> bool:
        """Whether the regressor also reads the frame x_t; the dictionary never does."""
        return self.regressor.needs_observation

    def encode(
        self, action_TA: ArrayLike, frames_THWC: Frames | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Encode the robot's own actions as latents that a simulation takes.

        Actions beyond the range of those that it was fitted on are not clipped: what comes of them is a guess.

        Args:
            action_TA: (T, A) one action a transition, reduced as `info.reduce` says, in the units of the data.
            frames_THWC: (T, H, W, 3) uint8, the frame in which each action begins; needed if `back_needs_frames`.

        Returns:
            Latents (T, D) float32, and (T, A) which components lie beyond the range.

        Raises:
            ModelError: the file is of an earlier version, without a way back.
            RequestError: naming the argument: a wrong shape, a number that is not finite, or missing frames.

        """
        back = self._way_back()
        action = np.asarray(action_TA)
        numbers = len(self.info.actions)
        if action.ndim != 2 or action.shape[1] != numbers or action.dtype.kind not in "fiu":
            raise RequestError(
                "robot_actions",
                f"got {action.dtype} of shape {action.shape}, expected numbers of shape (T, {numbers}): "
                + ", ".join(self.info.actions),
            )
        action = action.astype(np.float64)
        if not np.isfinite(action).all():
            raise RequestError("robot_actions", "got numbers that are not finite, expected finite ones")
        seen = self._observe(frames_THWC, len(action)) if back.needs_frames else None
        return back.predict(action, seen).astype(np.float32), back.scale.outside(action)

    @property
    def back_needs_frames(self) -> bool:
        """Whether `encode` also reads frames. Raises ModelError without a way back."""
        return self._way_back().needs_frames

    def _way_back(self) -> WayBack:
        if self.way_back is None:
            raise ModelError(
                "this alignment has no way back from robot actions to latent ones: `genie align` of this version "
                "fits one, from the same transitions"
            )
        return self.way_back

    def decode(
        self,
        latent_TD: ArrayLike,
        code_T: ArrayLike,
        frames_THWC: Frames | None = None,
        *,
        how: How = "regressor",
        seed: int = 0,
        start: int = 0,
    ) -> NDArray[np.float32]:
        """Decode the robot's action over each transition, in the units of the data that the alignment was fitted on.

        The action at t depends only on the label at t and frame x_t (with ``draw`` also on `seed` and t), so that
        chunks decode as the whole does, to the rounding of float32. Rows of invalid labels are meaningless.

        Args:
            latent_TD: (T, D) latents before quantization; if only codes are known, ``codebook[code]``.
            code_T: (T,) codes.
            frames_THWC: (T, H, W, 3) uint8, frame x_t of each label, at the model's size (or any other).
            how: see `How`.
            seed: for ``draw``, 0 .. 2^64 - 1.
            start: for ``draw``: index in the episode of the first label.

        Returns:
            (T, A) float32.

        Raises:
            RequestError: naming the argument: a wrong shape, a code out of range, a latent that is not finite, or
                missing frames.

        """
        inputs = self._inputs(latent_TD, code_T)
        if how == "dictionary":
            return self.dictionary.mean(inputs.code_N).astype(np.float32)
        if how == "draw":
            if not 0 <= seed < 2**64 or start < 0:
                raise RequestError("seed", f"got {seed} from {start} on, expected 0 to 2^64 - 1 from 0 or later on")
            return self.dictionary.draw(inputs.code_N, seed, start).astype(np.float32)
        if how != "regressor":
            raise RequestError("how", f"got {how!r}, expected 'regressor', 'dictionary' or 'draw'")
        return self.regressor.predict(self._see(inputs, frames_THWC)).astype(np.float32)

    def _inputs(self, latent_TD: ArrayLike, code_T: ArrayLike) -> Inputs:
        latent, code = np.asarray(latent_TD), np.asarray(code_T)
        if code.ndim != 1 or code.dtype.kind not in "iu":
            raise RequestError("code", f"got {code.dtype} of shape {code.shape}, expected whole numbers of shape (T,)")
        shape = (len(code), self.info.latent_dim)
        if latent.shape != shape or latent.dtype.kind != "f":
            raise RequestError(
                "latent", f"got {latent.dtype} of shape {latent.shape}, expected floats of shape {shape}"
            )
        if len(code) and not 0 <= int(code.min()) <= int(code.max()) < self.info.codes:
            raise RequestError("code", f"got {code.min()} to {code.max()}, expected 0 to {self.info.codes - 1}")
        if not np.isfinite(latent).all():
            raise RequestError("latent", "got numbers that are not finite, expected finite ones")
        return Inputs(code.astype(np.int64), latent.astype(np.float64), None)

    def _see(self, inputs: Inputs, frames_THWC: Frames | None) -> Inputs:
        if not self.needs_frames:
            return inputs
        return Inputs(inputs.code_N, inputs.latent_ND, self._observe(frames_THWC, len(inputs)))

    def _observe(self, frames_THWC: Frames | None, count: int) -> NDArray[np.float64]:
        assert self.observation is not None
        if frames_THWC is None:
            raise RequestError("frames", "got none, expected the frame of each label: this alignment reads them")
        frames = conform_frames(frames_THWC)
        if len(frames) != count:
            raise RequestError("frames", f"got {len(frames)} for {count} labels, expected one for each")
        return self.observation.of(frames)


__all__ = ["Alignment", "AlignmentInfo", "HeldOut", "How"]
