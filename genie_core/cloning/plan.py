"""Plan of an experiment: its conditions, the policies that they need, and what their results depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from genie_core.cloning.policy import PolicyConfig

Method = Literal["oracle", "codes", "expected", "fine", "latents", "vpt", "flow_codes", "flow", "labels", "random"]
METHODS: tuple[Method, ...] = get_args(Method)

TITLES: dict[Method, str] = {
    "oracle": "oracle cloning (all actions)",
    "codes": "codes, drawn from the dictionary (the paper's)",
    "expected": "codes, the dictionary's expected action",
    "fine": "fine codes, the dictionary's expected action",
    "latents": "latents before quantization, regressor",
    "vpt": "inverse dynamics trained on the labelled steps labels all video",
    "flow_codes": "codes of optical flow, the dictionary's expected action",
    "flow": "optical flow of 8 x 8 cells, regressor",
    "labels": "cloning the labelled steps alone",
    "random": "random actions",
}
WITH_LABELS: tuple[Method, ...] = ("codes", "expected", "fine", "latents", "vpt", "flow_codes", "flow", "labels")
"""Methods that use the N labelled steps."""
OF_THEIR_OWN: tuple[Method, ...] = ("vpt", "labels")
"""Methods whose policy depends on which steps are labelled."""


class CloningConfig(BaseModel):
    """Plan of an experiment, fixed per folder: what results depend on besides the task and the bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    demonstrations: int = Field(400, ge=2, description="the expert's episodes, as video")
    policy: PolicyConfig = PolicyConfig()


class Extent(BaseModel):
    """Extent of an experiment; a folder may be continued with another."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    methods: tuple[Method, ...] = METHODS
    labelled: tuple[int, ...] = Field((10, 50, 200, 1000), description="N, in ascending order")
    seeds: int = Field(5, ge=1)
    episodes: int = Field(100, ge=1, description="start states, the same for all conditions")


@dataclass(frozen=True, order=True)
class Condition:
    """One method at one number of labelled steps (0 if it uses none) and one seed."""

    method: Method
    labelled: int
    seed: int

    @property
    def key(self) -> str:
        """Name in file names."""
        return f"{self.method}-{self.labelled}-{self.seed}" if self.labelled else f"{self.method}-{self.seed}"

    @property
    def policy_key(self) -> str:
        """Name of the policy in file names: one that learns from latent actions or flow is the same for all N."""
        learnt = "codes" if self.method == "expected" else self.method
        return self.key if self.method in OF_THEIR_OWN else f"{learnt}-{self.seed}"


def conditions(extent: Extent) -> list[Condition]:
    """Return all conditions, seed by seed."""
    return [
        Condition(method, labelled, seed)
        for seed in range(extent.seeds)
        for method in extent.methods
        for labelled in (extent.labelled if method in WITH_LABELS else (0,))
    ]


def units(extent: Extent) -> list[list[Condition]]:
    """Group conditions that share a policy: a group is one worker's job."""
    groups: dict[str, list[Condition]] = {}
    for condition in conditions(extent):
        groups.setdefault(condition.policy_key, []).append(condition)
    return list(groups.values())


__all__ = [
    "METHODS",
    "OF_THEIR_OWN",
    "TITLES",
    "WITH_LABELS",
    "CloningConfig",
    "Condition",
    "Extent",
    "Method",
    "conditions",
    "units",
]
