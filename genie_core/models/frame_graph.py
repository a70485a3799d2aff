"""A transformer's pass over one frame, recorded once and replayed: for GPUs, where thousands of small kernels a frame
take longer to launch than to run (CUDA graphs).

Only of single streams: more of them fill the device by themselves, and every size would need a recording of its own,
with memory for keys and values.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, RLock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

Work = Callable[[Tensor, list[Tensor]], Tensor]
"""A pass: the frame's input (1, 1, N, D) and its past -> output of the same shape. Writes the frame's own into it."""

Record = Callable[[Callable[[], None]], Callable[[], None]]
"""Records work on tensors that stay where they are; returns what does the same work again."""


def record_on_gpu(work: Callable[[], None], pool: Any = None) -> Callable[[], None]:
    """Record work as a CUDA graph, once it has been done twice, as libraries need to choose their kernels.

    What a graph needs on the way is its own, or of a `pool` (`torch.cuda.graph_pool_handle()`) that it shares with
    graphs that never run beside it.
    """
    apart = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    apart.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(apart):
        for _ in range(2):
            work()
    torch.cuda.current_stream().wait_stream(apart)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool, capture_error_mode="thread_local"):
        work()
    replay: Callable[[], None] = graph.replay
    return replay


class FrameGraph:
    """A recorded pass over one frame, whose past lies in tensors of its own.

    Attributes:
        lock: held by the thread that draws a frame with it, from `begin` until the frame is done.
        past: tensors that hold the past of the frame.

    """

    def __init__(self, past: list[Tensor], record: Record = record_on_gpu) -> None:
        self.lock = RLock()
        self.past = [torch.empty_like(tensor) for tensor in past]
        self._record = record
        self._seen: tuple[Tensor, Tensor] | None = None
        self._replay: Callable[[], None] | None = None

    def begin(self, past: list[Tensor]) -> None:
        """Take over the past of another frame, of the same shapes."""
        for ours, theirs in zip(self.past, past, strict=True):
            ours.copy_(theirs)

    def run(self, x_11ND: Tensor, work: Work) -> Tensor:
        """Process one version of the frame; `work` is the same in all calls. The next call overwrites the result."""
        if self._seen is None or self._replay is None:
            x, y = x_11ND.clone(), torch.empty_like(x_11ND)

            def once() -> None:
                y.copy_(work(x, self.past))

            self._seen, self._replay = (x, y), self._record(once)
        self._seen[0].copy_(x_11ND)
        self._replay()
        return self._seen[1]


_MADE: WeakKeyDictionary[nn.Module, FrameGraph] = WeakKeyDictionary()
_MAKING = Lock()


def graph_for(network: nn.Module, past: list[Tensor]) -> FrameGraph | None:
    """Return the recorded pass of a network for pasts of this shape; None where recording does not pay."""
    if not past[0].is_cuda or len(past[0]) != 1:
        return None
    with _MAKING:
        made = _MADE.get(network)
        if made is None or made.past[0].shape != past[0].shape:
            made = _MADE[network] = FrameGraph(past)
        return made


__all__ = ["FrameGraph", "Record", "Work", "graph_for", "record_on_gpu"]
