"""What a training step costs: arithmetic and memory, from the configuration alone. Trains and allocates nothing.

The networks are built on PyTorch's meta device and run there, which counts their matrix products and convolutions; the
backward pass costs twice the forward one, as every product is followed by one for its input and one for its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from genie_core.errors import ModelError
from genie_core.models.config import ModelConfig
from genie_core.models.dynamics import Told, previous_tokens
from genie_core.models.genie import Genie
from genie_core.models.mending import OTHERS, TOLD
from genie_core.models.motion import GRID, Pairs
from genie_core.models.motion_lam import MotionActionModel
from genie_core.models.mover import FrameMover
from genie_core.models.quantizer import Quantized, VectorQuantizer
from genie_core.training.config import StageConfig, TrainingConfig

_STATE_BYTES = 16
"""Of each trained parameter: weight, gradient, and AdamW's two averages, 4 bytes each."""

_BACKWARD = 2
"""Arithmetic of the backward pass over that of the forward pass."""


PEAKS = {
    "L4": 121,
    "RTX4090": 165,
    "A10": 125,
    "A100": 312,
    "L40S": 362,
    "H100": 989,
    "H200": 989,
    "B200": 2250,
}
"""TFLOP/s of dense products in bfloat16, by the makers' data sheets."""

SHARE = 0.3
"""Of that, what training is assumed to reach."""


@dataclass(frozen=True)
class StageCost:
    """One stage of a recipe.

    Attributes:
        name: of the stage.
        steps: as configured.
        batch: clips a step.
        pieces: that a step is computed in.
        parameters: that it trains.
        flops: of one step, with two operations for each multiply-add.
        state_bytes: of weights, gradients and optimizer; the activations come on top of them.
        activation_bytes: what the forward pass of one step keeps for the backward pass.

    """

    name: str
    steps: int
    batch: int
    pieces: int
    parameters: int
    flops: int
    state_bytes: int
    activation_bytes: int

    @property
    def total_flops(self) -> int:
        """Cost of all its steps."""
        return self.steps * self.flops


def stage_costs(model: ModelConfig, training: TrainingConfig) -> list[StageCost]:
    """Return the cost of each stage that the recipe runs, in order; see `genie_core.training.pipeline`."""
    genie = networks_to_count(model)
    if not model.simulates:
        stages = ["lam", *(["mover"] if genie.mover is not None else [])]
        stages += ["refiner"] if genie.mover is not None and genie.mover.refiner is not None else []
        stages += ["tokenizer", "dynamics"] if model.mends else []
    else:
        stages = ["tokenizer", "lam", "dynamics"] if training.lam_training.lead else ["tokenizer", "lam_and_dynamics"]
    return [_cost(genie, training, name) for name in stages]


def networks_to_count(model: ModelConfig) -> Genie:
    """Return the networks without any memory, on the meta device."""
    with torch.device("meta"):
        genie = Genie(model).eval()
    for module in genie.modules():
        if isinstance(module, VectorQuantizer):  # the search for the nearest code costs next to nothing
            setattr(module, "forward", _unquantized)  # noqa: B010
    return genie


def _unquantized(latent: Tensor) -> Quantized:
    code = torch.empty(latent.shape[:-1], dtype=torch.int64, device=latent.device)
    return Quantized(latent, code, latent.new_zeros(()))


def stage_flops(genie: Genie, stage: str, batch: int, frames: int) -> int:
    """Count the operations of one step of a stage on `batch` clips of `frames` frames; `genie` is on meta."""
    flops, _ = _count(genie, stage, batch, frames)
    return flops


def cost_lines(costs: Sequence[StageCost], gpu: str) -> list[str]:
    """Return what stages cost, in words: parameters, memory, arithmetic, and hours on a GPU of `PEAKS`.

    Raises:
        ModelError: there is no such GPU.

    """
    if gpu not in PEAKS:
        raise ModelError(f"gpu: got {gpu!r}, expected one of {', '.join(PEAKS)}")
    lines, hours = [], 0.0
    for cost in costs:
        taken = cost.total_flops / (PEAKS[gpu] * 1e12 * SHARE) / 3600
        hours += taken
        lines.append(
            f"{cost.name}: {cost.parameters:,} parameters; {cost.steps:,} steps of {cost.batch} clips, "
            f"{_short(cost.flops / 1e12)} TFLOP each; {cost.state_bytes / 1e9:,.2f} GB of weights, gradients and "
            f"optimizer, at most {cost.activation_bytes / 1e9:,.2f} GB of activations for a whole batch "
            f"(one piece of {cost.pieces}: {cost.activation_bytes / cost.pieces / 1e9:,.2f}); {_short(taken)} hours"
        )
    lines.append(
        f"in all {_short(hours)} hours of one {gpu}, if it does {SHARE:.0%} of its {PEAKS[gpu]:,} TFLOP/s in bf16: an "
        "assumption, not a measurement; decoding video, and the optical flow that `motion` reads, are not in it"
    )
    return lines


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _cost(genie: Genie, training: TrainingConfig, name: str) -> StageCost:
    config: StageConfig = getattr(training, "dynamics" if name == "lam_and_dynamics" else name)
    parameters = sum(p.numel() for p in _trained_by(genie, name))
    # Counted for one clip: both grow with the batch, and no operation's count depends on it.
    flops, kept = _count(genie, name, 1, config.clip_frames)
    simulated = {"refiner": training.refiner_training.steps}
    if genie.config.mends:
        simulated["dynamics"] = training.mending_training.steps
    if name in simulated:  # counted of one simulated frame
        flops, kept = (simulated[name] * of_frame for of_frame in (flops, kept))
    return StageCost(
        name=name,
        steps=config.steps,
        batch=config.batch,
        pieces=config.pieces,
        parameters=parameters,
        flops=config.batch * flops,
        state_bytes=_STATE_BYTES * parameters,
        activation_bytes=config.batch * kept // (2 if training.precision == "bf16" else 1),
    )


def _trained_by(genie: Genie, stage: str) -> list[nn.Parameter]:
    """Return what a stage trains."""
    if stage == "lam_and_dynamics":
        return [*genie.lam.parameters(), *genie.dynamics.parameters()]
    if stage == "refiner" and genie.mover is not None and genie.mover.refiner is not None:
        return list(genie.mover.refiner.parameters())
    network: nn.Module = getattr(genie, stage)
    return [p for name, p in network.named_parameters() if stage != "mover" or not name.startswith("refiner.")]


def _count(genie: Genie, stage: str, batch: int, frames: int) -> tuple[int, int]:
    """Return the operations of a step, and bytes in float32 that its forward pass keeps."""
    c = genie.config
    with torch.device("meta"):
        pixels = torch.empty(batch, frames, 3, c.height, c.width)
        token = torch.zeros(batch, frames, c.tokens_per_frame, dtype=torch.int64)
        action = torch.empty(batch, frames, c.lam.quantizer.dim)
        pair = torch.empty(batch, GRID, GRID)
    if stage == "lam_and_dynamics":
        (a, kept_a), (b, kept_b) = (_count(genie, name, batch, frames) for name in ("lam", "dynamics"))
        # The joint stage runs the latent action model once for both.
        return a + b - _forward(partial(_latents, genie, pixels, pair))[0], kept_a + kept_b
    if stage == "tokenizer":
        return _trained(partial(_tokenize, genie.tokenizer, pixels))
    if stage == "lam":
        return _trained(partial(_lam, genie, pixels, pair))
    mover = genie.mover
    if stage == "mover" and mover is not None:
        read, _ = _forward(partial(_latents, genie, pixels, pair))
        trained, kept = _trained(partial(mover, pixels[:, 0], action[:, 0]))
        return read + trained, kept
    if stage == "refiner" and mover is not None:
        read, _ = _forward(lambda: (_latents(genie, pixels, pair), mover(pixels[:, 0], action[:, 0])))
        trained, kept = _trained(partial(_shown, mover, pixels, action))
        return read + trained, kept
    if genie.config.mends:
        return _mending(genie, pixels, token[:, 0], action[:, 0])
    read, _ = _forward(lambda: (genie.tokenizer.latents(pixels), _latents(genie, pixels, pair)))
    shown = partial(genie.dynamics, token, previous_tokens(token, genie.dynamics.mask_token), action)
    trained, kept = _trained(shown)
    return read + trained, kept


def _mending(genie: Genie, pixels: Tensor, token: Tensor, action: Tensor) -> tuple[int, int]:
    """Count one simulated frame, moved and mended; latents are read once for all steps, and not counted."""
    mover = genie.mover
    assert mover is not None
    with torch.device("meta"):
        maps = torch.empty(len(pixels), 1, TOLD, *pixels.shape[-2:])
        # The tokens of the moved frame, of the true one and of others; and what was drawn, as the next step moves it.
        pictures = torch.empty(len(pixels), 2 + OTHERS, 3, *pixels.shape[-2:])
    told = Told(maps, token[:, None, :, None].expand(-1, -1, -1, OTHERS))
    read, _ = _forward(
        lambda: (
            mover(pixels[:, 0], action),
            genie.tokenizer.latents(pictures),
            genie.tokenizer.decode(token[:, None]),
        )
    )
    trained, kept = _trained(partial(genie.dynamics, token[:, None], token[:, None], action[:, None], told))
    return read + trained, kept


def dynamics_flops(config: ModelConfig, batch: int, frames: int) -> int:
    """Return the operations of one training step of the dynamics model alone, on tokens that are there already."""
    genie = networks_to_count(config)
    token = torch.zeros(batch, frames, config.tokens_per_frame, dtype=torch.int64, device="meta")
    action = torch.empty(batch, frames, config.lam.quantizer.dim, device="meta")
    previous = previous_tokens(token, genie.dynamics.mask_token)
    return _trained(partial(genie.dynamics, token, previous, action))[0]


def _trained(forward: Callable[[], object]) -> tuple[int, int]:
    flops, kept = _forward(forward, gradients=True)
    return (1 + _BACKWARD) * flops, kept


def _forward(forward: Callable[[], object], *, gradients: bool = False) -> tuple[int, int]:
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            kept[id(tensor.untyped_storage())] = tensor.untyped_storage().nbytes()
            alive.append(tensor)
        return tensor

    alive: list[Tensor] = []
    with (
        torch.set_grad_enabled(gradients),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        FlopCounterMode(display=False) as counter,
    ):
        forward()
    return counter.get_total_flops(), sum(kept.values())


def _tokenize(tokenizer: nn.Module, pixels: Tensor) -> object:
    return tokenizer(pixels)


def _shown(mover: FrameMover, pixels: Tensor, action: Tensor) -> Tensor:
    back = torch.empty(len(pixels), 2, GRID, GRID, device="meta")
    return mover.shown(mover.begin(pixels, action[:, 1:]), back, action[:, 0]).frame_BCHW


def _latents(genie: Genie, pixels: Tensor, pair: Tensor) -> object:
    """Return the latent action model as others read it."""
    if isinstance(genie.lam, MotionActionModel):
        return genie.lam.motion_encoder(*_pairs(pixels, pair).inputs())
    view = pixels if genie.lam.from_pixels else _token_view(genie, pixels)
    return genie.lam.latents(view)


def _lam(genie: Genie, pixels: Tensor, pair: Tensor) -> object:
    """Return the latent action model and the decoder that trains it."""
    if isinstance(genie.lam, MotionActionModel):
        pairs = _pairs(pixels, pair)
        _, latent = genie.lam.motion_encoder(*pairs.inputs())
        return genie.lam.motion_decoder(pairs.before_NCHW, latent)
    return genie.lam(pixels if genie.lam.from_pixels else _token_view(genie, pixels))


def _pairs(pixels: Tensor, pair: Tensor) -> Pairs:
    batch = len(pixels)
    small, flow = (pair[:, None].expand(batch, channels, GRID, GRID) for channels in (3, 2))
    return Pairs(small, small, flow, flow)


def _token_view(genie: Genie, pixels: Tensor) -> Tensor:
    channels = genie.config.tokenizer.quantizer.dim
    return torch.empty(*pixels.shape[:2], channels, *genie.config.token_grid, device="meta")


__all__ = [
    "PEAKS",
    "SHARE",
    "StageCost",
    "cost_lines",
    "dynamics_flops",
    "networks_to_count",
    "stage_costs",
    "stage_flops",
]
