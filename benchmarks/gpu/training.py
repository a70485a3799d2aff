"""Time of a training step on a GPU, in bf16 autocast as recipes have it, and its share of the fastest product."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu.found import Found
from benchmarks.gpu.parts import Setting
from benchmarks.gpu.precisions import finish
from genie_core.models.config import ModelConfig
from genie_core.models.genie import Genie
from genie_core.models.lam import LatentActionModel
from genie_core.models.presets import preset
from genie_core.models.transformer import compile_blocks, recompute_activations
from genie_core.training.config import StageConfig, TrainingConfig, training_preset
from genie_core.training.cost import networks_to_count, stage_flops
from genie_core.training.loop import StepLoss, Stepper, TrainingRun, make_optimizer
from genie_core.training.losses import Metrics, dynamics_loss, lam_loss, tokenizer_loss
from genie_core.training.stages import read_tokens

GOAL = 0.5
"""Share of the fastest matrix product."""

ROBOTICS_BATCHES = (4, 2, 1)
"""Clips a step of `robotics` to try, as many as fit: its recipe's 512 are those of many devices together."""

_SIDE = 8192
"""Of the square matrices that the peak is measured with."""


class _Silent:
    def start(self, stage: str, step: int, steps: int) -> None:
        """Say nothing."""

    def step(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        """Say nothing."""


def measure(setting: Setting) -> Iterator[Found]:
    """Yield the fastest matrix product, then a step of each stage of each preset."""
    peak = fastest_product(setting)
    yield Found("bf16 matrix product", peak / 1e12, "TFLOP/s", None, f"{_side(setting)} x {_side(setting)}")
    for name in ("nano",) if setting.dry else ("tiny", "base"):
        training = training_preset(name)
        for stage in ("tokenizer", "lam", "dynamics"):
            config: StageConfig = getattr(training, stage)
            yield _step(setting, preset(name), training, stage, config, peak)
    if setting.dry:
        return
    yield _robotics(setting, peak)
    for stage in ("dynamics", "tokenizer"):
        config = getattr(training_preset("base"), stage)
        yield _step(setting, preset("base"), training_preset("base"), stage, config, peak, compiled=True)
    yield _robotics(setting, peak, compiled=True)


def fastest_product(setting: Setting) -> float:
    """Return operations a second of a large product in bfloat16, the best of three tries."""
    side, times = _side(setting), 3 if setting.dry else 20
    a, b = (torch.randn(side, side, device=setting.device, dtype=torch.bfloat16) for _ in range(2))
    rates = []
    for _ in range(4):
        finish(setting.device)
        began = time.perf_counter()
        for _ in range(times):
            F.linear(a, b)
        finish(setting.device)
        rates.append(times * 2 * side**3 / (time.perf_counter() - began))
    return max(rates[1:])


def _side(setting: Setting) -> int:
    return 128 if setting.dry else _SIDE


def _robotics(setting: Setting, peak: float, *, compiled: bool = False) -> Found:
    """Return the dynamics model, which is most of it: its blocks' activations are computed again, to fit one device."""
    model, training = preset("robotics"), training_preset("robotics")
    for batch in ROBOTICS_BATCHES:
        config = training.dynamics.model_copy(update={"batch": batch})
        try:
            return _step(setting, model, training, "dynamics", config, peak, recompute=True, compiled=compiled)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
    return Found("robotics: dynamics, training step", float("nan"), "s", None, "does not fit this device's memory")


def _step(
    setting: Setting,
    model: ModelConfig,
    training: TrainingConfig,
    stage: str,
    config: StageConfig,
    peak: float,
    *,
    recompute: bool = False,
    compiled: bool = False,
) -> Found:
    """One row: the share of the peak, with the step's time beside it."""
    torch.manual_seed(0)
    device = torch.device(setting.device)
    with device:
        genie = Genie(model).eval()
    network = getattr(genie, stage).train()
    recompute_activations(network, recompute)
    if compiled:
        compile_blocks(network)
    run = TrainingRun(Path(), 0, device, training.precision == "bf16", _Silent())
    size = (config.batch, config.clip_frames, model.height, model.width, 3)
    clips = torch.from_numpy(np.random.default_rng(0).integers(0, 256, size, np.uint8))
    loss = _loss(genie, stage, _with_codes(training))
    stepper = Stepper(run, stage, network, loss, make_optimizer(network.parameters(), config), config)
    taken = []
    for step in range(3 if setting.dry else 12):
        finish(setting.device)
        began = time.perf_counter()
        stepper.take(clips, step)
        finish(setting.device)
        taken.append(time.perf_counter() - began)
    seconds = median(taken[2:])
    flops = stage_flops(networks_to_count(model), stage, config.batch, config.clip_frames)
    note = f"{1000 * seconds:.1f} ms a step of {config.batch} clips of {config.clip_frames}, {flops / 1e12:.3g} TFLOP"
    note += "; activations computed again, whose arithmetic does not count" if recompute else ""
    note += "; blocks compiled" if compiled else ""
    if device.type == "cuda":
        note += f"; {torch.cuda.max_memory_allocated() / 1e9:.1f} GB"
    how = ", compiled" if compiled else ""
    return Found(f"{model.name}: {stage}{how}, share of the product", flops / seconds / peak, "x", GOAL, note)


def _with_codes(training: TrainingConfig) -> TrainingConfig:
    """Return the recipe without its steps before there are codes: what most steps of a run are."""
    tokenizer = training.tokenizer_training.model_copy(update={"continuous_steps": 0})
    lam = training.lam_training.model_copy(update={"continuous_steps": 0})
    return training.model_copy(update={"tokenizer_training": tokenizer, "lam_training": lam})


def _loss(genie: Genie, stage: str, training: TrainingConfig) -> StepLoss:
    if stage == "tokenizer":
        return lambda x, step: tokenizer_loss(genie.tokenizer, x, training.tokenizer_training, step=step)
    if stage == "lam" and isinstance(genie.lam, LatentActionModel):
        lam = genie.lam
        return lambda x, step: lam_loss(lam, genie.lam_view(x), training.lam_training, step=step)

    def dynamics(pixels: Tensor, _step: int) -> tuple[Tensor, Metrics]:
        token, action = read_tokens(genie, pixels, genie.lam_view(pixels))
        return dynamics_loss(genie.dynamics, token, action, training.dynamics_training)

    return dynamics


__all__ = ["measure"]
