"""Runs a scaling study: trains a dynamics model of each size on the same tokens, and measures each on held-out ones.

Each finished run is a JSON file, so that a stopped study continues with the next run.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from genie_core.data import Episode
from genie_core.data.hold_out import hold_out_episodes
from genie_core.data.storage.atomic import write_text
from genie_core.errors import ModelError
from genie_core.models.bundle import Bundle
from genie_core.models.dynamics import DynamicsModel
from genie_core.scaling.plan import ScalingPlan, Size, sized
from genie_core.scaling.tokens import TokenEpisodes, tokenize
from genie_core.training.config import DynamicsTraining, StageConfig
from genie_core.training.cost import dynamics_flops
from genie_core.training.loop import learning_rate, make_optimizer
from genie_core.training.losses import dynamics_loss

POINTS = 40
"""Of a training curve, each the mean of the steps since the one before."""

_LAST = 0.1
"""Share of the steps, the last, over which the final training loss is averaged."""


class ScalingRun(BaseModel):
    """One model that was trained.

    Attributes:
        size: of it.
        batch: clips a step.
        parameters: all that were trained.
        body: of them those of the transformer's blocks, without embeddings and head.
        flops: of one step.
        curve: (steps, mean training loss since the last point).
        final: mean training loss over the last tenth of the steps.
        held_out: loss on the held-out clips, the same hidden tokens for every run.
        seconds: that it took.

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Size
    batch: int
    parameters: int
    body: int
    flops: int
    curve: tuple[tuple[int, float], ...]
    final: float
    held_out: float
    seconds: float


class ScalingStudy(BaseModel):
    """A whole study: its plan, what it was made with, and its runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    plan: ScalingPlan
    bundle_id: str
    data: str
    frames: int
    held_out_frames: int
    runs: tuple[ScalingRun, ...]


def study(
    bundle: Bundle,
    episodes: Sequence[Episode],
    plan: ScalingPlan,
    folder: Path,
    say: Callable[[str], None] = lambda text: None,
) -> ScalingStudy:
    """Train what the plan has and `folder` has not yet.

    Args:
        bundle: whose tokens and latent actions are learnt; it must simulate by tokens.
        episodes: to train on and to hold out from.
        plan: what to train.
        folder: keeps a file for each finished run.
        say: receives progress, a line at a time.

    Raises:
        ModelError: the bundle has no tokens.
        DatasetError: no episode is long enough.

    """
    if not bundle.config.simulates:
        raise ModelError(f"{bundle.name} has no tokens to learn: it does not simulate by them")
    folder.mkdir(parents=True, exist_ok=True)
    train_on, held_out = hold_out_episodes(episodes, plan.held_out, plan.seed, least=1)
    say(f"tokens of {len(train_on)} episodes, and of {len(held_out)} held out")
    seen, unseen = (tokenize(bundle, some, plan.clip_frames) for some in (train_on, held_out))
    names = "\n".join(f"{e.source} {e.name} {e.num_frames}" for e in episodes)
    data = hashlib.sha256(names.encode()).hexdigest()
    key = hashlib.sha256((plan.model_dump_json(exclude={"sizes", "batches"}) + bundle.bundle_id + data).encode())
    runs = []
    for size, batch in plan.runs:
        path = folder / f"run-{key.hexdigest()[:12]}-{size.name}-{batch}.json"
        if path.exists():
            run = ScalingRun.model_validate_json(path.read_bytes())
        else:
            run = train_one(bundle, seen, unseen, plan, size, batch)
            write_text(path, run.model_dump_json(indent=1) + "\n")
        say(
            f"{size.name}, batch {batch}: {run.body:,} parameters in blocks, loss {run.final:.4f}, held out "
            f"{run.held_out:.4f}, {run.seconds:.0f} s"
        )
        runs.append(run)
    return ScalingStudy(
        plan=plan,
        bundle_id=bundle.bundle_id,
        data=data,
        frames=seen.frames,
        held_out_frames=unseen.frames,
        runs=tuple(runs),
    )


def train_one(
    bundle: Bundle, seen: TokenEpisodes, unseen: TokenEpisodes, plan: ScalingPlan, size: Size, batch: int
) -> ScalingRun:
    """Train one model. A step depends on (seed, step) alone: every size sees the same clips and hidden tokens."""
    config = sized(bundle.config, size)
    torch.manual_seed(plan.seed)
    model = DynamicsModel(
        config.dynamics, config.token_grid, config.tokenizer.quantizer.codes, config.lam.quantizer.dim
    ).to(bundle.device)
    stage = StageConfig(
        steps=plan.steps,
        batch=batch,
        clip_frames=plan.clip_frames,
        lr=plan.learning_rate(size),
        warmup=plan.warmup,
    )
    optimizer, hiding = make_optimizer(model.parameters(), stage), DynamicsTraining(mask_low=plan.mask_low)
    losses: list[float] = []
    began = time.monotonic()
    for step in range(plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(stage, step)
        torch.manual_seed(plan.seed * 1_000_003 + step)
        token_BTN, action_BTD = seen.draw(np.random.default_rng([plan.seed, step]), batch, plan.clip_frames)
        loss, _ = dynamics_loss(model, token_BTN.to(bundle.device), action_BTD.to(bundle.device), hiding)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), stage.clip_norm)
        optimizer.step()
        losses.append(float(loss.detach()))
    ends = np.unique(np.linspace(0, plan.steps, min(POINTS, plan.steps) + 1).astype(int))
    curve = tuple((int(b), float(np.mean(losses[a:b]))) for a, b in pairwise(ends))
    return ScalingRun(
        size=size,
        batch=batch,
        parameters=sum(p.numel() for p in model.parameters()),
        body=sum(p.numel() for p in model.transformer.parameters()),
        flops=dynamics_flops(config, batch, plan.clip_frames),
        curve=curve,
        final=float(np.mean(losses[-max(1, round(_LAST * plan.steps)) :])),
        held_out=_held_out(model.eval(), unseen, plan, hiding, bundle.device),
        seconds=round(time.monotonic() - began, 1),
    )


@torch.inference_mode()
def _held_out(
    model: DynamicsModel, unseen: TokenEpisodes, plan: ScalingPlan, hiding: DynamicsTraining, device: torch.device
) -> float:
    losses = []
    for i in range(plan.evaluated):
        torch.manual_seed(i)
        token, action = unseen.draw(np.random.default_rng([plan.seed, 1, i]), 1, plan.clip_frames)
        losses.append(float(dynamics_loss(model, token.to(device), action.to(device), hiding)[0]))
    return float(np.mean(losses))


__all__ = ["POINTS", "ScalingRun", "ScalingStudy", "study", "train_one"]
