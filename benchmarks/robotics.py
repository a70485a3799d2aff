"""Times rollouts of the paper's robotics model on a GPU. The weights are random: speed does not depend on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.measured import Measured
from benchmarks.networks import STEPS
from benchmarks.row import Samples
from benchmarks.timing import ROUNDS, interleaved
from genie_core.data import Precision
from genie_core.inference import Sampling, Simulator
from genie_core.models.bundle import Bundle, BundleInfo, in_precision
from genie_core.models.config import ModelConfig
from genie_core.models.genie import Genie, count_parameters
from genie_core.models.presets import preset

_BRANCHES = 8


def rollout(quick: bool) -> list[Measured]:
    """Return frames a second of one rollout of the `robotics` preset, on the first GPU."""
    steps, rounds = (2, 2) if quick else (STEPS, 2 * ROUNDS)
    return [time_rollouts(random_bundle(preset("robotics"), torch.device("cuda")), steps, rounds)]


def random_bundle(config: ModelConfig, device: torch.device, precision: Precision = "float32") -> Bundle:
    """Return a bundle with random weights, made on `device`."""
    torch.manual_seed(0)
    with device:
        genie = in_precision(Genie(config).eval().requires_grad_(False), precision)
    info = BundleInfo(config.name, Path(), "0" * 64, config, "", genie.lam.quantizer.codebook.cpu().numpy(), 0)
    return Bundle(info, genie, device, precision)


def time_rollouts(bundle: Bundle, steps: int, rounds: int, *, branches: int = _BRANCHES) -> Measured:
    """One rollout, and several that branch from one prompt (0: none); the window is full from the prompt on."""
    config, device = bundle.config, bundle.device
    simulator = Simulator(bundle)
    size = (config.context_frames, config.height, config.width, 3)
    prompt = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    sampling = Sampling(maskgit_steps=steps)
    one = simulator.start(prompt, 1, sampling)
    # `step` ends with the frames on the CPU, so that nothing is still running when the clock stops.
    sides: dict[str, Callable[[], object]] = {"frame": lambda: one.step([0])}
    if branches:
        many = simulator.start(prompt, branches, sampling)
        sides[f"frames_of_{branches}_branches"] = lambda: many.step([0] * branches)
    seconds = interleaved(sides, rounds, warm_ups=2)
    facts: dict[str, float | int | str] = {
        "parameters": count_parameters(config).total,
        "maskgit_steps": steps,
        "frame_size": f"{config.height} x {config.width}",
        "precision": str(next(bundle.genie.parameters()).dtype).removeprefix("torch."),
    }
    if branches:
        facts["frames_per_s_of_branches"] = round(branches / median(seconds[f"frames_of_{branches}_branches"]), 3)
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    measured = {name: Samples.of(taken, "s") for name, taken in seconds.items()}
    return Measured(value=1 / median(seconds["frame"]), measured=measured, facts=facts, gpu=gpu)


__all__ = ["random_bundle", "rollout", "time_rollouts"]
