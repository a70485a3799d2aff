"""The transition length of a run of `bulk`: given, from frame rates, or found on the data with the server's model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from genie_client.client import Client
from genie_client.records import HostedAlignment, ModelInfo
from genie_core.data import AutoSteps, Dataset, Existing, Frames, find_steps, kept_steps
from genie_core.data.labelled.shards import Shard, agreed_steps
from genie_core.errors import ModelError

StepChoice = int | Literal["auto", "rates"] | None
"""What a user asks for: frames, a way to find them, or what fits the model."""


@dataclass(frozen=True)
class ChosenSteps:
    """What `LabelWriter` takes: a step for all episodes, or those found by frame rate; neither: from the rates."""

    step: int | None = None
    auto: AutoSteps | None = None


def choose_steps(
    client: Client,
    info: ModelInfo,
    dataset: Dataset,
    wanted: StepChoice,
    alignment: HostedAlignment | None,
    *,
    output: Path,
    existing: Existing,
    shard: Shard | None = None,
    patience_s: float,
) -> ChosenSteps:
    """Choose the transition lengths of a run; a resumed run keeps those it had.

    Args:
        client: of the server that labels.
        info: the model.
        dataset: all of it, of which a shard labels some.
        wanted: None: the alignment's, else ``auto`` with a model whose latents tell how large motion is.
        alignment: what decodes the robot's actions.
        output: file that is written.
        existing: what to do with it.
        shard: the part of `output` that this run makes; None: all. Shards take the step that they have agreed on.
        patience_s: how long to wait for a server that is busy.

    Raises:
        ModelError: ``auto`` is wanted of a model whose latents have unit length.

    """
    if isinstance(wanted, int):
        return ChosenSteps(wanted)
    if wanted is None and alignment is not None:
        return ChosenSteps(alignment.step)
    if wanted == "rates" or (wanted is None and info.usual_norm is None):
        return ChosenSteps()
    if info.usual_norm is None:
        raise ModelError(
            f"step: got auto, but latents of {info.name} have unit length and do not tell how large motion is; "
            "give a number of frames, or rates"
        )
    kept = kept_steps(output, info.bundle_id, existing) if shard is None else agreed_steps(output, info.bundle_id)
    if kept is not None:
        return ChosenSteps(auto=kept)

    def latents(pairs_NTHWC: Frames) -> NDArray[np.float32]:
        labels = client.label(
            pairs_NTHWC, step=1, model=info.name, about="pairs of frames to find the step", patience_s=patience_s
        )
        return labels.latent[:-1]

    views = [view for episode in dataset.episodes for view in (episode, *episode.views)]
    return ChosenSteps(auto=find_steps(views, latents, info.usual_norm, info.frame_size))


__all__ = ["ChosenSteps", "StepChoice", "choose_steps"]
