"""Runs one stage of training. A step depends on (seed, stage, step) alone, so a resumed run repeats it exactly."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from genie_core.errors import ModelError
from genie_core.models.patches import to_pixels
from genie_core.models.quantizer import Followed, VectorQuantizer
from genie_core.training.checkpoint import load_checkpoint, run_identity, save_checkpoint
from genie_core.training.clips import ClipStore
from genie_core.training.config import StageConfig
from genie_core.training.losses import Metrics
from genie_core.training.parallel import ALONE, Group
from genie_core.training.sharding import average_gradients, clip_gradients, in_groups, is_divided

StepLoss = Callable[[Tensor, int], tuple[Tensor, Metrics]]
"""Computes the loss and values to report, from clips (B, T, 3, H, W) in [-0.5, 0.5] and the step's number.

Of a stage that `reads` otherwise, from whatever that gives.
"""


Draw = Callable[[np.random.Generator], NDArray[np.uint8] | NDArray[np.int64]]
"""Draws the clips of a step, with the step's own generator."""

Reads = Callable[[Tensor], Tensor]
"""Turns what was drawn, on the device, into what the loss takes."""

Prepare = Callable[[int], None]
"""Does what a step needs once, however many pieces it has, such as finding the first codes."""

_CANDIDATES = 1024
"""Latents of each piece at which unused codes may restart, where a step has several."""


class Reporter(Protocol):
    """Receives the progress of training."""

    def start(self, stage: str, step: int, steps: int) -> None:
        """A stage begins, or resumes, at `step`."""

    def step(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        """Smoothed metrics after `step` steps."""


@dataclass(frozen=True)
class TrainingRun:
    """Settings shared by the stages of one run."""

    folder: Path
    seed: int
    device: torch.device
    bf16: bool
    reporter: Reporter
    init: str = ""
    checkpoint_seconds: float = 120.0
    report_every: int = 10
    group: Group = ALONE
    shard: bool = False


def make_optimizer(parameters: Iterable[nn.Parameter], config: StageConfig) -> torch.optim.Optimizer:
    """Return the optimizer of a stage: AdamW, all parameters in one kernel, or in two if some are divided."""
    groups = [{"params": some} for some in in_groups(parameters)]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True)


def train_stage(
    run: TrainingRun,
    name: str,
    network: nn.Module,
    loss: StepLoss,
    store: ClipStore,
    config: StageConfig,
    *,
    depends_on: Sequence[BaseModel],
    draw: Draw | None = None,
    prepare: Prepare = lambda step: None,
    reads: Reads = to_pixels,
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
        prepare: called with the step's number before its loss is computed.
        reads: turns what was drawn into what `loss` takes.

    Raises:
        ModelError: the loss is not finite, the checkpoint belongs to another run, or a step's pieces cannot be divided
            evenly between the processes.

    """
    identity = _identity(run, store, (config, *depends_on))
    parameters = list(network.parameters())
    optimizer = make_optimizer(parameters, config)
    path = run.folder / f"{name}.safetensors"
    together = is_divided(network)
    first = load_checkpoint(path, network, optimizer, identity) if path.exists() else 0
    network.train()
    stepper = Stepper(run, name, network, loss, optimizer, config, prepare, reads)
    drawn = draw or (lambda rng: store.sample(rng, config.batch, config.clip_frames))
    run.reporter.start(name, first, config.steps)
    saved = time.monotonic()
    smooth: dict[str, float] = {}
    with ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(_clips, drawn, run.seed, name, first)
        for step in range(first, config.steps):
            clips = upcoming.result()
            upcoming = ahead.submit(_clips, drawn, run.seed, name, step + 1)
            metrics = stepper.take(clips, step)
            if step % run.report_every == 0 or step + 1 == config.steps:
                values = run.group.mean({k: float(v) for k, v in metrics.items()}, run.device)
                if not math.isfinite(values["loss"]):
                    raise ModelError(
                        f"{name}: loss: got {values['loss']} at step {step}, expected a finite number; "
                        "lower the learning rate"
                    )
                smooth = {k: v if k not in smooth else 0.9 * smooth[k] + 0.1 * v for k, v in values.items()}
                run.reporter.step(name, step + 1, smooth)
            is_due = time.monotonic() - saved > run.checkpoint_seconds
            if run.group.of_first(is_due, run.device) if together else is_due and run.group.is_first:
                save_checkpoint(path, network, optimizer, step + 1, identity, writes=run.group.is_first)
                saved = time.monotonic()
    if together or run.group.is_first:
        save_checkpoint(path, network, optimizer, max(first, config.steps), identity, writes=run.group.is_first)
    run.group.wait()


def _identity(run: TrainingRun, store: ClipStore, configs: Sequence[BaseModel]) -> str:
    """Hash what a checkpoint depends on. One piece a step is left out, so that older checkpoints stay valid."""
    data = str((*store.frames.shape[1:3], store.spans))
    texts = [config.model_dump_json().replace(',"pieces":1}', "}") for config in configs]
    return run_identity(data, str(run.seed), str(run.bf16), run.init, *texts)


def _clips(draw: Draw, seed: int, stage: str, step: int) -> Tensor:
    return torch.from_numpy(draw(np.random.default_rng([seed, zlib.crc32(stage.encode()), step])))


class _LossOf(nn.Module):
    """A loss as a module of the network that it trains, for DistributedDataParallel to wrap."""

    def __init__(self, network: nn.Module, loss: StepLoss) -> None:
        super().__init__()
        self.network = network
        self._loss = loss

    def forward(self, pixels_BTCHW: Tensor, step: int) -> tuple[Tensor, Metrics]:
        return self._loss(pixels_BTCHW, step)


class Stepper:
    """Takes the steps of a stage: forward and backward of each piece that is this process's, then the optimizer."""

    def __init__(
        self,
        run: TrainingRun,
        name: str,
        network: nn.Module,
        loss: StepLoss,
        optimizer: torch.optim.Optimizer,
        config: StageConfig,
        prepare: Prepare = lambda step: None,
        reads: Reads = to_pixels,
    ) -> None:
        self._run, self._name, self._optimizer, self._config = run, name, optimizer, config
        self._prepare, self._reads = prepare, reads
        self._own = run.group.own(config.pieces, name)
        self._parameters = list(network.parameters())
        self._quantizers = [module for module in network.modules() if isinstance(module, VectorQuantizer)]
        self._loss: Callable[[Tensor, int], tuple[Tensor, Metrics]] = loss
        self._parallel: DistributedDataParallel | None = None
        self._divided = is_divided(network)
        if run.group.size > 1 and not self._divided:
            self._parallel = DistributedDataParallel(_LossOf(network, loss), broadcast_buffers=False)
            self._loss = self._parallel

    def take(self, clips: Tensor, step: int) -> Metrics:
        """Take one step on what was drawn, of all pieces; returns what the loss reports of its own.

        Clips are (B, T, H, W, 3) uint8, unless the stage reads something else.
        """
        run, config = self._run, self._config
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        self._seed(step, None)
        with self._autocast():
            self._prepare(step)
        self._optimizer.zero_grad(set_to_none=True)
        pieces = clips.chunk(config.pieces)
        found = [self._backward(pieces[piece], step, piece) for piece in self._own]
        if config.pieces > 1:
            self._seed(step, None)
            for quantizer in self._quantizers:
                _follow(quantizer, run.group)
        if self._divided:
            average_gradients(self._parameters, run.group)
            clip_gradients(self._parameters, config.clip_norm)
        else:
            torch.nn.utils.clip_grad_norm_(self._parameters, config.clip_norm)
        self._optimizer.step()
        if len(found) == 1:
            return found[0]
        return {name: sum(float(metrics[name]) for metrics in found) / len(found) for name in found[0]}

    def _backward(self, drawn: Tensor, step: int, piece: int) -> Metrics:
        run, config = self._run, self._config
        if config.pieces > 1:
            self._seed(step, piece)
            for quantizer in self._quantizers:
                quantizer.held = [] if quantizer.held is None else quantizer.held
        given = self._reads(drawn.to(run.device, non_blocking=True))
        more = self._parallel is not None and piece != self._own[-1]
        with self._parallel.no_sync() if more and self._parallel is not None else nullcontext():
            with self._autocast():
                value, metrics = self._loss(given, step)
            (value / len(self._own)).backward()  # type: ignore[no-untyped-call]
        return metrics

    def _seed(self, step: int, piece: int | None) -> None:
        words = f"{self._name} {step}" if piece is None else f"{self._name} {step} {piece}"
        torch.manual_seed(self._run.seed * 1_000_003 + zlib.crc32(words.encode()))

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self._run.device.type, torch.bfloat16) if self._run.bf16 else nullcontext()


def _follow(quantizer: VectorQuantizer, group: Group) -> None:
    """Let a codebook follow what all pieces of a step, of all processes, have seen; nothing if none was quantized."""
    held, quantizer.held = quantizer.held, None
    if not held:
        return
    each = max(1, min(len(seen.some_MD) for seen in held) // _CANDIDATES)
    chosen_PK = torch.cat(group.gathered(torch.stack([seen.chosen_K for seen in held])))
    sums_PKD = torch.cat(group.gathered(torch.stack([seen.sums_KD for seen in held])))
    some_PMD = torch.cat(group.gathered(torch.stack([seen.some_MD[::each][:_CANDIDATES] for seen in held])))
    latents = group.size * sum(seen.latents for seen in held)
    quantizer.follow(Followed(chosen_PK.sum(0), sums_PKD.sum(0), latents, some_PMD.flatten(0, 1)))


def learning_rate(config: StageConfig, step: int) -> float:
    """Return the learning rate: linear warm-up to `lr`, then cosine decay to `final_lr` at the last step."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    progress = min(1.0, (step - config.warmup) / max(1, config.steps - config.warmup))
    return config.final_lr + (config.lr - config.final_lr) * 0.5 * (1 + math.cos(math.pi * progress))


__all__ = [
    "Draw",
    "Prepare",
    "Reads",
    "Reporter",
    "StepLoss",
    "Stepper",
    "TrainingRun",
    "learning_rate",
    "make_optimizer",
    "train_stage",
]
