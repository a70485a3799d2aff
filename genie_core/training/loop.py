"""Runs one stage of training. A step depends on (seed, stage, step) alone, so a resumed run repeats it exactly."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor, nn

from genie_core.errors import ModelError
from genie_core.models.patches import to_pixels
from genie_core.training.checkpoint import load_checkpoint, run_identity, save_checkpoint
from genie_core.training.clips import ClipStore
from genie_core.training.config import StageConfig
from genie_core.training.losses import Metrics

StepLoss = Callable[[Tensor, int], tuple[Tensor, Metrics]]
"""Computes the loss and values to report, from clips (B, T, 3, H, W) in [-0.5, 0.5] and the step's number."""


Draw = Callable[[np.random.Generator], NDArray[np.uint8]]
"""Draws the clips of a step, with the step's own generator."""


class Reporter(Protocol):
    """Receives the progress of training."""

    def start(self, stage: str, step: int, steps: int) -> None:
        """A stage begins, or goes on, at `step`."""

    def step(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        """Smoothed metrics after `step` steps."""


@dataclass(frozen=True)
class Run:
    """Settings shared by the stages of one run."""

    folder: Path
    seed: int
    device: torch.device
    bf16: bool
    reporter: Reporter
    init: str = ""
    checkpoint_seconds: float = 120.0
    report_every: int = 10


def train_stage(
    run: Run,
    name: str,
    network: nn.Module,
    loss: StepLoss,
    store: ClipStore,
    config: StageConfig,
    *,
    depends_on: Sequence[BaseModel],
    draw: Draw | None = None,
) -> None:
    """Train `network` for the configured steps, resuming from the stage's checkpoint if there is one.

    Args:
        run: settings shared by all stages.
        name: name of the stage and its checkpoint file.
        network: module to train and checkpoint; left in training mode.
        loss: the loss to minimise.
        store: source of clips.
        config: optimisation.
        depends_on: all other configuration that the result depends on; a checkpoint made with a different one is
            refused.
        draw: draws the clips of a step, (B, T, H, W, 3); None: uniformly from `store`, at the model's rate.

    Raises:
        ModelError: the loss is not finite, or the checkpoint belongs to another run.

    """
    parameters = list(network.parameters())
    data = str((*store.frames.shape[1:3], store.spans))
    identity = run_identity(
        data, str(run.seed), str(run.bf16), run.init, *(c.model_dump_json() for c in (config, *depends_on))
    )
    optimizer = torch.optim.AdamW(
        parameters, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True
    )
    path = run.folder / f"{name}.safetensors"
    first = load_checkpoint(path, network, optimizer, identity) if path.exists() else 0
    network.train()
    drawn = draw or (lambda rng: store.sample(rng, config.batch, config.clip_frames))
    run.reporter.start(name, first, config.steps)
    saved = time.monotonic()
    smooth: dict[str, float] = {}
    with ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(_clips, drawn, run.seed, name, first)
        for step in range(first, config.steps):
            clips = upcoming.result()
            upcoming = ahead.submit(_clips, drawn, run.seed, name, step + 1)
            metrics = _step(run, name, loss, optimizer, parameters, clips, step, config)
            if step % run.report_every == 0 or step + 1 == config.steps:
                values = {k: float(v) for k, v in metrics.items()}
                if not math.isfinite(values["loss"]):
                    raise ModelError(
                        f"{name}: loss: got {values['loss']} at step {step}, expected a finite number; "
                        "lower the learning rate"
                    )
                smooth = {k: v if k not in smooth else 0.9 * smooth[k] + 0.1 * v for k, v in values.items()}
                run.reporter.step(name, step + 1, smooth)
            if time.monotonic() - saved > run.checkpoint_seconds:
                save_checkpoint(path, network, optimizer, step + 1, identity)
                saved = time.monotonic()
    save_checkpoint(path, network, optimizer, max(first, config.steps), identity)


def _clips(draw: Draw, seed: int, stage: str, step: int) -> Tensor:
    return torch.from_numpy(draw(np.random.default_rng([seed, zlib.crc32(stage.encode()), step])))


def _step(
    run: Run,
    name: str,
    loss: StepLoss,
    optimizer: torch.optim.Optimizer,
    parameters: list[nn.Parameter],
    clips: Tensor,
    step: int,
    config: StageConfig,
) -> Metrics:
    torch.manual_seed(run.seed * 1_000_003 + zlib.crc32(f"{name} {step}".encode()))
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(config, step)
    pixels_BTCHW = to_pixels(clips.to(run.device, non_blocking=True))
    with torch.autocast(run.device.type, torch.bfloat16) if run.bf16 else nullcontext():
        value, metrics = loss(pixels_BTCHW, step)
    optimizer.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
    optimizer.step()
    return metrics


def learning_rate(config: StageConfig, step: int) -> float:
    """Learning rate: linear warm-up to `lr`, then cosine decay to `final_lr` at the last step."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    progress = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return config.final_lr + (config.lr - config.final_lr) * 0.5 * (1 + math.cos(math.pi * progress))


__all__ = ["Draw", "Reporter", "Run", "StepLoss", "learning_rate", "train_stage"]
