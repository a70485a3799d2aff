"""A network divided among processes (FSDP2): each holds a part of its weights, gradients and optimizer.

A block's weights are put together while it computes, and given up again. Whole networks come in and go out: checkpoints
and bundles are those of one process. PyTorch's modules for it take a second or two to import, which only a run that
divides something does.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, TypeGuard, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from genie_core.models.transformer import TransformerBlock
from genie_core.training.parallel import Group

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


_Network = TypeVar("_Network", bound=nn.Module)


@contextmanager
def divided(network: _Network, group: Group, device: torch.device) -> Iterator[_Network]:
    """Yield a copy of `network` that is divided among the processes; at the end `network` takes over its weights.

    Meanwhile `network` lies in the memory of the CPU. Called by all processes at once.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    parts = copy.deepcopy(network)
    network.to("cpu")
    mesh = init_device_mesh(device.type, (group.size,))
    for block in [module for module in parts.modules() if isinstance(module, TransformerBlock)]:
        fully_shard(block, mesh=mesh)
    fully_shard(parts, mesh=mesh)
    yield parts
    network.load_state_dict({name: whole(tensor) for name, tensor in parts.state_dict().items()})
    network.to(device)


def is_divided(network: nn.Module) -> bool:
    """Return whether some of a network's parameters are divided among processes."""
    return any(_is_part(parameter) for parameter in network.parameters())


def _is_part(tensor: Tensor) -> TypeGuard[DTensor]:
    if "torch.distributed.tensor" not in sys.modules:
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor whole, in the memory of the CPU if it was divided: then called by all processes at once."""
    return tensor.full_tensor().cpu() if _is_part(tensor) else tensor


def divided_like(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor as `like` lies: divided, if that is and has its shape."""
    if not _is_part(like) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


def in_groups(parameters: Iterable[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Return the parameters in order, cut where divided ones follow others: no kernel takes both at once."""
    return [list(some) for _, some in groupby(parameters, _is_part)]


def average_gradients(parameters: Sequence[nn.Parameter], group: Group) -> None:
    """Replace the gradients of parameters that every process holds whole by their mean; FSDP2 does so with others."""
    for parameter in parameters:
        if parameter.grad is not None and not _is_part(parameter):
            dist.all_reduce(parameter.grad)
            parameter.grad /= group.size


def clip_gradients(parameters: Sequence[nn.Parameter], most: float) -> None:
    """Scale gradients down so that their norm over all parameters, whole or divided, is at most `most`."""
    groups = in_groups(parameter for parameter in parameters if parameter.grad is not None)
    norms = [nn.utils.get_total_norm([p.grad for p in some if p.grad is not None]) for some in groups]
    norm = torch.stack([whole(norm).to(groups[0][0].device) for norm in norms]).norm()
    for some in groups:
        nn.utils.clip_grads_with_norm_(some, most, norm)


__all__ = [
    "average_gradients",
    "clip_gradients",
    "divided",
    "divided_like",
    "in_groups",
    "is_divided",
    "whole",
]
