"""Where a core's time goes when the default bundle labels, operation by operation, beside what the core can do at most.

The limits are measured on the same core in the same run: the fastest matrix product, and copying memory. An operation
of PyTorch can take no less time than its arithmetic at the one and its bytes at the other; optical flow and resizing
are OpenCV's, of which nothing is counted but the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmarks.matmul import matmul_sides
from benchmarks.measured import Measured
from benchmarks.row import Samples
from benchmarks.timing import ROUNDS, interleaved, ratios
from genie_core.bundles import shipped
from genie_core.data import open_dataset
from genie_core.data.samples import sample_path
from genie_core.inference import BLOCK, Labeller
from genie_core.inference.labeller import Block
from genie_core.models import motion_lam
from genie_core.models.bundle import load_bundle

_BLOCKS = 8
"""Blocks of 16 frames that are encoded together, of which a server takes as many."""

_COPIED_FLOATS = 16 * 2**20
"""Numbers that a copy moves: 64 MiB, more than caches hold."""

_CONVOLUTIONS = (torch.ops.aten.conv2d, torch.ops.aten.convolution)
_WEIGHTED = (*_CONVOLUTIONS, torch.ops.aten.linear)
"""Operations whose second argument is a weight, of which each row makes one number of the output."""

_SHOWN = 12
"""Operations in the table; the rest is summed up."""


@dataclass
class Spent:
    """What one operation took in all: seconds, calls, arithmetic, and bytes of its inputs and outputs."""

    seconds: float = 0.0
    calls: int = 0
    flops: int = 0
    bytes: int = 0


class Operations(TorchDispatchMode):
    """Notes every operation of PyTorch that runs while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.spent: dict[str, Spent] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operation, and note it."""
        began = time.thread_time()
        out = func(*args, **(kwargs or {}))
        seconds = time.thread_time() - began
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
        if not func.is_view:
            moved = sum(t.numel() * t.element_size() for t in tensors)
            self.note(_name(func, args), seconds, _flops(func, args, out), moved)
        return out

    def note(self, name: str, seconds: float, flops: int = 0, moved: int = 0) -> None:
        """Add one call of an operation."""
        spent = self.spent.setdefault(name, Spent())
        spent.seconds += seconds
        spent.calls += 1
        spent.flops += flops
        spent.bytes += moved


def _flops(func: Any, args: tuple[Any, ...], out: Any) -> int:
    """Return the arithmetic of a product or convolution, two operations a multiply-add; 0 of others."""
    if func.overloadpacket in _WEIGHTED:
        return int(2 * out.numel() * args[1][0].numel())
    counted = flop_registry.get(func.overloadpacket)
    return 0 if counted is None else int(counted(*args, out_val=out))


def _name(func: Any, args: tuple[Any, ...]) -> str:
    """Return the name of an operation; of a convolution with its kernel and channels."""
    name = str(func.overloadpacket).removeprefix("aten.")
    if func.overloadpacket in _CONVOLUTIONS:
        out, into, height, width = args[1].shape
        return f"convolution {height}x{width}, {into} to {out}"
    return name


@contextmanager
def noting_opencv(operations: Operations) -> Iterator[None]:
    """Note what the model asks of OpenCV while the block lasts."""
    flow, shrink = motion_lam.optical_flow, motion_lam.shrink

    def noted(name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        began = time.thread_time()
        done = work(*arguments)
        operations.note(name, time.thread_time() - began)
        return done

    try:
        for name, work in (("optical_flow", flow), ("shrink", shrink)):
            setattr(motion_lam, name, partial(noted, f"OpenCV: {name.replace('_', ' ')}", work))
        yield
    finally:
        setattr(motion_lam, "optical_flow", flow)  # noqa: B010
        setattr(motion_lam, "shrink", shrink)  # noqa: B010


def of_default_bundle(quick: bool) -> list[Measured]:
    """Return the share of the time in which the limits would allow the default bundle's labels, and the table."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    labeller = Labeller(load_bundle(shipped()))
    frames = np.concatenate([e.frames(0, e.num_frames) for e in open_dataset(sample_path()).episodes])
    blocks = [
        Block(frames[at : at + BLOCK], labeller.initial_state()) for at in range(0, (_BLOCKS - 1) * BLOCK + 1, BLOCK)
    ]
    rounds = 2 if quick else ROUNDS
    products = matmul_sides("fp32", 4e9 if quick else 1e10)
    source, target = torch.rand(_COPIED_FLOATS), torch.empty(_COPIED_FLOATS)
    seen: list[Operations] = []

    def noted() -> None:
        seen.append(operations := Operations())
        with noting_opencv(operations), operations:
            labeller.encode(blocks)

    seconds = interleaved(
        {
            "encode": lambda: labeller.encode(blocks),
            "noted": noted,
            "copy": lambda: target.copy_(source),
            **{shape: side for shape, (side, _) in products.items()},
        },
        rounds,
        clock=time.thread_time,
    )
    matmul = [
        max(count / seconds[shape][i] for shape, (_, count) in products.items()) for i in range(rounds)
    ]  # the fastest of each round
    memory = [2 * 4 * _COPIED_FLOATS / s for s in seconds["copy"]]
    table = _table(seen[-rounds:], len(blocks) * BLOCK, median(matmul), median(memory))
    least = [_least_s(found, m, c) for found, m, c in zip(seen[-rounds:], matmul, memory, strict=True)]
    shares = ratios(least, seconds["encode"])
    per_frame = [1000 * s / (len(blocks) * BLOCK) for s in seconds["encode"]]
    measured = {
        "encode": Samples.of(per_frame, "ms/frame"),
        "matmul": Samples.of(matmul, "FLOP/s"),
        "memory": Samples.of([m / 1e9 for m in memory], "GB/s"),
        "share": Samples.of(shares, "x"),
    }
    facts: dict[str, float | int | str] = {
        "threads": 1,
        "batch": f"{len(blocks)} blocks of {BLOCK} frames",
        "opencv": cv2.__version__,
    }
    return [Measured(value=median(shares), measured=measured, facts=facts, table=table)]


def _least_s(found: Operations, matmul: float, memory: float) -> float:
    """Return the seconds in which the limits would allow all of it: OpenCV's as they are."""
    return sum(_least_of(name, spent, matmul, memory) for name, spent in found.spent.items())


def _least_of(name: str, spent: Spent, matmul: float, memory: float) -> float:
    return spent.seconds if name.startswith("OpenCV") else max(spent.flops / matmul, spent.bytes / memory)


def _table(rounds: list[Operations], frames: int, matmul: float, memory: float) -> tuple[tuple[str, ...], ...]:
    """Return the operations that take longest, each with its rates: a line of titles, and one for each."""
    names = {name for found in rounds for name in found.spent}
    seconds = {name: median([f.spent[name].seconds if name in f.spent else 0.0 for f in rounds]) for name in names}
    spent = {name: next(f.spent[name] for f in rounds if name in f.spent) for name in names}
    total = sum(seconds.values())
    lines: list[tuple[str, ...]] = [
        ("operation", "calls", "ms/frame", "of all", "GFLOP/s", "of the fastest product", "GB/s", "of copying")
    ]
    by_time = sorted(names, key=lambda name: -seconds[name])
    for name in by_time[:_SHOWN]:
        took, of = seconds[name], spent[name]
        flops, moved = of.flops / max(took, 1e-9), of.bytes / max(took, 1e-9)
        lines.append(
            (
                name,
                str(of.calls),
                f"{1000 * took / frames:.3f}",
                f"{took / total:.1%}",
                f"{flops / 1e9:.1f}" if of.flops else "",
                f"{flops / matmul:.0%}" if of.flops else "",
                f"{moved / 1e9:.1f}" if of.bytes else "",
                f"{moved / memory:.0%}" if of.bytes else "",
            )
        )
    rest = sum(seconds[name] for name in by_time[_SHOWN:])
    lines.append(
        (f"{len(by_time) - _SHOWN} others", "", f"{1000 * rest / frames:.3f}", f"{rest / total:.1%}", *[""] * 4)
    )
    return tuple(lines)


__all__ = ["Operations", "Spent", "noting_opencv", "of_default_bundle"]
