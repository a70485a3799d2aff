"""Options of an evaluation: what to measure, on how much data. Knows no torch."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

END_EFFECTOR = "obs/robot0_eef_pos"
"""Robomimic's array of the end effector's position, (T, 3) in metres."""


class EvaluationOptions(BaseModel):
    """Options of one evaluation; the defaults take half an hour on one CPU core with the shipped model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    episodes: int = Field(40, gt=0, description="maximum number of episodes to use, drawn by the seed")
    frames: int = Field(200, gt=1, description="maximum number of frames of an episode, at the model's rate")
    subset: str | None = Field(
        None, description="robomimic filter key to choose from; None: `valid` if there is one; `all`: every episode"
    )
    hold_out: float = Field(
        0.0, ge=0, le=0.9, description="above 0: choose from the share that training with this seed held out"
    )
    step: int | None = Field(None, gt=0, description="transition length in frames; None: the closest to the model's")
    position: str = Field(END_EFFECTOR, description="array whose change over a transition the probes predict")
    still: float = Field(0.015, ge=0, description="changes of the position below this count as still, in its units")
    supervised_steps: int = Field(
        1000, ge=0, description="most training steps of supervised inverse dynamics; 0: leave it out"
    )
    rollouts: int = Field(20, gt=0, description="start frames of rollouts compared with real video")
    prompt_frames: int = Field(
        1, gt=0, description="frames in the prompts of these rollouts, ending at the start; at most the model's context"
    )
    starts: int = Field(100, gt=0, description="start frames from which every code is applied (Fig. 13)")
    applications: int = Field(5, gt=0, description="number of times each code is applied from each of them")
    temperature: float | None = Field(None, description="sampling temperature; None: the bundle's")
    maskgit_steps: int | None = Field(None, description="per frame; None: the bundle's")
    i3d: Path | None = Field(None, description="I3D weights as TorchScript; None: no FVD")
    images: tuple[Path, ...] = Field((), description="PNG or JPEG files to prompt from (Fig. 10)")
    seed: int = Field(0, ge=0)


__all__ = ["END_EFFECTOR", "EvaluationOptions"]
