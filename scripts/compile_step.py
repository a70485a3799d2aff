"""What `torch.compile` gains a step of training: the dynamics model of a preset, eager and compiled, in turn.

    python scripts/compile_step.py [--preset tiny] [--batch 4] [--frames 8] [--rounds 5]

Random tokens; forward, backward and a step of fused AdamW, on one thread. Times are of the CPU, compilers included.
"""

from __future__ import annotations

import argparse
import copy
import resource
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.timing import interleaved, ratios
from genie_core.models.dynamics import DynamicsModel, previous_tokens
from genie_core.models.genie import Genie
from genie_core.models.presets import preset
from genie_core.models.transformer import compile_blocks


def main() -> None:
    """Print seconds a step of both, what compiling took, and how far the gradients are apart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="tiny")
    for name, default in (("batch", 4), ("frames", 8), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = preset(options.preset)
    eager = Genie(config).dynamics.train()
    compiled = copy.deepcopy(eager)
    compile_blocks(compiled)
    token_BTN = torch.randint(eager.codes, (options.batch, options.frames, eager.tokens_per_frame))
    action_BTD = torch.randn(options.batch, options.frames, config.lam.quantizer.dim)
    gradients = [backward(model, token_BTN, action_BTD) for model in (eager,)]
    began = cpu_seconds()
    gradients.append(backward(compiled, token_BTN, action_BTD))
    print(f"compiled in {cpu_seconds() - began:.0f} s of CPU")
    apart = max(float((a - b).abs().max() / a.abs().max().clamp(min=1e-12)) for a, b in zip(*gradients, strict=True))
    print(f"gradients are the same bits: {apart == 0}; at most {apart:.1e} of the largest in a tensor apart")
    steps = {"eager": stepping(eager, token_BTN, action_BTD), "compiled": stepping(compiled, token_BTN, action_BTD)}
    seconds = interleaved(steps, options.rounds, clock=time.process_time)
    for name, taken in seconds.items():
        print(f"{name}: {median(taken):.3f} s a step")
    print(f"eager over compiled: {median(ratios(seconds['eager'], seconds['compiled'])):.2f}")


def backward(model: DynamicsModel, token_BTN: Tensor, action_BTD: Tensor) -> list[Tensor]:
    """Return the gradients of all weights."""
    logits_BTNK = model(token_BTN, previous_tokens(token_BTN, model.mask_token), action_BTD)
    model.zero_grad(set_to_none=True)
    F.cross_entropy(logits_BTNK.flatten(0, 2), token_BTN.flatten()).backward()
    return [weight.grad for weight in model.parameters() if weight.grad is not None]


def stepping(model: DynamicsModel, token_BTN: Tensor, action_BTD: Tensor) -> Callable[[], object]:
    """Return what takes a step of training."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step(draw: Callable[[], object]) -> None:
        draw()
        optimizer.step()

    return partial(step, partial(backward, model, token_BTN, action_BTD))


def cpu_seconds() -> float:
    """Return the CPU time of this process and of those that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main()
