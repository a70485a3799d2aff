"""Search for batch sizes and thread counts that give identical bits: a label must not depend on concurrent work.

Matrix kernels are chosen by shape, and another kernel may sum in another order. A size is therefore used only after it
has been tried against the reference, on this machine and with these weights. Which kernel runs depends on shapes alone,
so one trial of a size holds for all data.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from genie_core.inference.asked import Sampling
from genie_core.inference.labeller import BLOCK, Block, Encoded, Labeller
from genie_core.inference.simulator import SimulatedStream, Simulator, draw_together
from genie_core.models.mover import Moving
from genie_core.models.transformer import TemporalState

_SEED = 20240223
"""Seed of the noise that sizes are tried on; any will do."""

_SMALL_PARAMETERS, _SMALL_BATCH = 200_000_000, 8
"""Largest model for which one frame is too little work for a GPU, and how many are then drawn together.

A fixed rule, not a measurement: results must be the same after a restart.
"""


_TRIED_STEPS = (2, 6)
"""MaskGIT steps of the trial: the fewer, the more tokens each reveals, so that most numbers of tokens are tried."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class ExactShapes:
    """Ways to batch work without changing a bit.

    Attributes:
        sizes: batch sizes, ascending; smaller batches are filled up to the first.
        in_threads: whether work on its own is best computed in several threads, which gives the same bits as one
            thread, sooner. (Small work is done before other threads have woken up.)

    """

    sizes: tuple[int, ...]
    in_threads: bool

    def fit(self, count: int) -> int:
        """Return the next batch size for `count` >= 1 waiting pieces: at most `count`, or else the smallest."""
        return max((size for size in self.sizes if size <= count), default=self.sizes[0])


def label_shapes(labeller: Labeller, *, largest: int, threads: int, within_s: float = 2.0) -> ExactShapes:
    """Find the exact batch sizes of `Labeller.encode` among the powers of 2 up to `largest`.

    On a CPU the reference is one block in one thread. On a GPU small batches are wasteful, so the reference is the
    largest size, to which batches are filled up.

    Args:
        labeller: labeller to try.
        largest: largest batch size, at least 1.
        threads: most threads per batch, at least 1.
        within_s: stop trying larger sizes after this many seconds.

    """
    rng = np.random.default_rng(_SEED)
    frames = rng.integers(256, size=(largest, BLOCK, labeller.height, labeller.width, 3), dtype=np.uint8)
    seen = labeller.encode([Block(block, labeller.initial_state()) for block in frames])
    # Two blocks each, so that the second has a past.
    blocks = [Block(block[::-1], done.state) for block, done in zip(frames, seen, strict=True)]
    if labeller.bundle.device.type != "cpu":
        return ExactShapes((largest,), in_threads=True)
    began = time.perf_counter()
    with threads_of_this_thread(1):
        reference, in_one = _timed(lambda: [labeller.encode([block])[0] for block in blocks])
        sizes = [1]
        while sizes[-1] * 2 <= largest and time.perf_counter() - began < within_s:
            size = sizes[-1] * 2
            if not _same_labels(_in_batches(labeller.encode, blocks, size), reference):
                break
            sizes.append(size)
    with threads_of_this_thread(threads):
        alone, in_all = _timed(lambda: [labeller.encode([block])[0] for block in blocks])
        batches = (_in_batches(labeller.encode, blocks[:n], n) for n in sizes[1:])
        same = all(_same_labels(found, reference) for found in (alone, *batches))
    return ExactShapes(tuple(sizes), in_threads=same and in_all < in_one)


def draw_shapes(simulator: Simulator, *, largest: int, threads: int) -> ExactShapes:
    """Return how to batch simulated streams: singly, unless a small model would leave most of a GPU idle."""
    if not simulator.bundle.config.context_frames:
        return ExactShapes((1,), in_threads=False)
    if simulator.bundle.device.type != "cpu":
        small = simulator.bundle.parameters <= _SMALL_PARAMETERS
        return ExactShapes((min(largest, _SMALL_BATCH) if small else 1,), in_threads=True)
    config = simulator.bundle.config
    frames = np.random.default_rng(_SEED).integers(256, size=(1, config.height, config.width, 3), dtype=np.uint8)

    some_steps = tuple(min(steps, config.tokens_per_frame) for steps in _TRIED_STEPS)
    # A model that only moves frames unless it is asked for more is to be fast at that, and the same bits at both.
    usual = some_steps if config.maskgit_steps else (0,)

    def draw(count: int, several: Sequence[int]) -> list[SimulatedStream]:
        with threads_of_this_thread(count):
            return [drawn(steps) for steps in several]

    def drawn(steps: int) -> SimulatedStream:
        (stream,) = simulator.start(frames, 1, Sampling(steps, seed=_SEED)).branches
        draw_together([(stream, 0)])
        return stream

    drawn(usual[0])  # warms up
    (reference, in_one), (found, in_all) = _timed(lambda: draw(1, usual)), _timed(lambda: draw(threads, usual))
    if in_all < in_one and usual != some_steps:
        reference, found = [*reference, *draw(1, some_steps)], [*found, *draw(threads, some_steps)]
    return ExactShapes((1,), in_threads=all(map(_same_streams, found, reference)) and in_all < in_one)


def _timed(work: Callable[[], _T]) -> tuple[_T, float]:
    """Return the result of `work`, and the seconds that it took."""
    began = time.perf_counter()
    return work(), time.perf_counter() - began


@contextmanager
def threads_of_this_thread(count: int) -> Iterator[None]:
    """Let the calling thread compute with `count` torch threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _in_batches(run: Callable[[Sequence[Block]], list[Encoded]], blocks: Sequence[Block], size: int) -> list[Encoded]:
    return [done for at in range(0, len(blocks) - size + 1, size) for done in run(blocks[at : at + size])]


def _same_labels(some: Sequence[Encoded], reference: Sequence[Encoded]) -> bool:
    """Return whether labels and states agree bit for bit over the length of `some`."""
    return all(
        np.array_equal(a.latent, b.latent)
        and np.array_equal(a.confidence, b.confidence)
        and _same_states(a.state.temporal, b.state.temporal)
        and torch.equal(a.state.last_BCHW, b.state.last_BCHW)
        for a, b in zip(some, reference, strict=False)
    )


def _same_streams(a: SimulatedStream, b: SimulatedStream) -> bool:
    one, other = a.past, b.past
    if isinstance(one, Moving) and isinstance(other, Moving):
        return all(map(torch.equal, one.tensors, other.tensors))
    if isinstance(one, Moving) or isinstance(other, Moving):
        return False
    return (
        torch.equal(one.token_BN, other.token_BN)
        and _same_states(one.dynamics, other.dynamics)
        and _same_states(one.decoder, other.decoder)
    )


def _same_states(a: TemporalState, b: TemporalState) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.keys + a.values, b.keys + b.values, strict=True))


__all__ = ["ExactShapes", "draw_shapes", "label_shapes", "threads_of_this_thread"]
