"""A loss and its gradients, recorded once and replayed: for GPUs, where a step of thousands of small kernels takes
longer to launch than to run (CUDA graphs).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from genie_core.models.frame_graph import Record, record_on_gpu
from genie_core.training.losses import Metrics

Work = Callable[..., tuple[Tensor, Metrics]]
"""Computes a loss and values to report from tensors alone: nothing that it does may depend on their values."""


@dataclass(frozen=True)
class _Recording:
    """One recording: tensors that it reads, tensors that it writes, and what does its work again."""

    inputs: tuple[Tensor, ...]
    loss: Tensor
    metrics: dict[str, Tensor]
    gradients: list[Tensor]
    replay: Callable[[], None]


class RecordedLoss:
    """A loss of tensors of few shapes, with a recording of its own for each of them.

    Random numbers are drawn anew by every replay. Parameters must stay where they are, as they do in optimizers.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], work: Work, record: Record | None = None) -> None:
        self._parameters, self._work = list(parameters), work
        self._record = record or partial(record_on_gpu, pool=torch.cuda.graph_pool_handle())
        self._made: dict[Hashable, _Recording] = {}

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, Metrics]:
        """Return the loss, whose backward pass hands over the gradients that were computed with it, and the metrics.

        Both are overwritten by the next call of the same shapes.
        """
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self._made:
            self._made[shapes] = self._recorded(inputs)
        made = self._made[shapes]
        for ours, theirs in zip(made.inputs, inputs, strict=True):
            ours.copy_(theirs)
        made.replay()
        loss: Tensor = _Computed.apply(made.loss, made.gradients, *self._parameters)  # type: ignore[no-untyped-call]
        return loss, dict(made.metrics)

    def _recorded(self, given: Sequence[Tensor]) -> _Recording:
        inputs = tuple(tensor.clone() for tensor in given)
        gradients = [torch.zeros_like(parameter) for parameter in self._parameters]
        loss, metrics = given[0].new_zeros(()), dict[str, Tensor]()
        device = given[0].device
        dtype, is_cast = torch.get_autocast_dtype(device.type), torch.is_autocast_enabled(device.type)

        def once() -> None:
            # Weights that autocast keeps would be those of the time of recording.
            cast = torch.autocast(device.type, dtype, enabled=is_cast, cache_enabled=False)
            with torch.enable_grad(), cast:
                value, found = self._work(*inputs)
            computed = torch.autograd.grad(value, self._parameters, materialize_grads=True)
            loss.copy_(value.detach())
            for name, metric in found.items():
                assert isinstance(metric, Tensor)  # as all work is on tensors
                metrics.setdefault(name, torch.zeros_like(metric)).copy_(metric)
            for ours, theirs in zip(gradients, computed, strict=True):
                ours.copy_(theirs)

        drawn = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
        replay = self._record(once)
        # What was drawn to record is drawn again by the first replay, so that a resumed run repeats its steps.
        if device.type == "cuda":
            torch.cuda.set_rng_state(drawn, device)
        else:
            torch.set_rng_state(drawn)
        return _Recording(inputs, loss, metrics, gradients, replay)


class _Computed(torch.autograd.Function):
    """A loss whose gradients are there already."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor], *_parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *given: Tensor) -> Any:
        return None, None, *(given[0] * gradient for gradient in ctx.gradients)


__all__ = ["RecordedLoss", "Work"]
