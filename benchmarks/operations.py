"""Where a core's time goes when frames are encoded, operation by operation, beside what the core can do at most.

The limits are measured on the same core in the same run: the fastest matrix product, and copying memory. An operation
of PyTorch can take no less time than its arithmetic at the one and its bytes at the other; optical flow and resizing
are OpenCV's, of which nothing is counted but the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
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

from benchmarks.encoder import in_precision, run_ours
from benchmarks.matmul import matmul_sides
from benchmarks.measured import Measured
from benchmarks.networks import BATCH, WINDOW, coinrun, lam_of, make_genie
from benchmarks.row import Samples
from benchmarks.timing import ROUNDS, Action, interleaved, ratios
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


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operation of PyTorch that runs while it is entered."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
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
    if func.overloadpacket is torch.ops.aten.scaled_dot_product_attention:
        query, key = args[:2]
        return int(4 * query.numel() * key.shape[-2])  # every key for every query, masked or not
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
    before = {name: vars(motion_lam)[name] for name in ("optical_flow", "shrink")}

    def noted(name: str, *arguments: Any) -> Any:
        began = time.thread_time()
        done = before[name](*arguments)
        operations.note(f"OpenCV: {name.replace('_', ' ')}", time.thread_time() - began)
        return done

    try:
        for name in before:
            setattr(motion_lam, name, partial(noted, name))
        yield
    finally:
        for name, work in before.items():
            setattr(motion_lam, name, work)


def of_default_bundle(quick: bool) -> list[Measured]:
    """Return the share of its time in which the limits would allow what labels are made of, and the table."""
    labeller = Labeller(load_bundle(shipped()))
    frames = np.concatenate([e.frames(0, e.num_frames) for e in open_dataset(sample_path()).episodes])
    starts = range(0, (2 if quick else _BLOCKS) * BLOCK, BLOCK)
    blocks = [Block(frames[at : at + BLOCK], labeller.initial_state()) for at in starts]
    facts = {"batch": f"{len(blocks)} blocks of {BLOCK} frames", "opencv": cv2.__version__}
    return _account(partial(labeller.encode, blocks), len(blocks) * BLOCK, facts, quick)


def of_paper_encoder(quick: bool) -> list[Measured]:
    """Return the same of the latent action encoder that `benchmarks.encoder` compares, in fp32."""
    lam = in_precision(lam_of(make_genie(coinrun())), "fp32")
    batch = 1 if quick else BATCH
    pixels = torch.rand(batch, WINDOW, 3, 64, 64, generator=torch.Generator().manual_seed(1)) - 0.5
    facts = {"batch": f"{batch} clips of {WINDOW} frames"}
    return _account(partial(run_ours, lam, pixels), batch * WINDOW, facts, quick)


def _account(work: Callable[[], object], frames: int, facts: Mapping[str, str], quick: bool) -> list[Measured]:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rounds = 2 if quick else ROUNDS
    products = matmul_sides("fp32", 4e9 if quick else 1e10)
    source, target = torch.rand(_COPIED_FLOATS), torch.empty(_COPIED_FLOATS)
    seen: list[Operations] = []

    def noted() -> None:
        seen.append(operations := Operations())
        with noting_opencv(operations), operations:
            work()

    copied: Action = partial(target.copy_, source)
    seconds = interleaved(
        {"work": work, "noted": noted, "copy": copied, **{shape: side for shape, (side, _) in products.items()}},
        rounds,
        clock=time.thread_time,
    )
    # The fastest product of each round, and a copy reads and writes.
    matmul = [max(count / seconds[shape][i] for shape, (_, count) in products.items()) for i in range(rounds)]
    memory = [2 * 4 * _COPIED_FLOATS / s for s in seconds["copy"]]
    found = seen[-rounds:]
    shares = ratios(list(map(_least_s, found, matmul, memory)), seconds["work"])
    measured = {
        "frame": Samples.of([1000 * s / frames for s in seconds["work"]], "ms"),
        "matmul": Samples.of(matmul, "FLOP/s"),
        "copying": Samples.of([rate / 1e9 for rate in memory], "GB/s"),
        "share": Samples.of(shares, "x"),
    }
    table = _table(found, frames, median(matmul), median(memory))
    return [Measured(value=median(shares), measured=measured, facts={"threads": 1, **facts}, table=table)]


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


__all__ = ["Operations", "Spent", "noting_opencv", "of_default_bundle", "of_paper_encoder"]
