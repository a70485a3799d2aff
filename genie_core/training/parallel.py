"""Training in several processes at once, as torchrun starts them: their ranks, and what they exchange.

A step is divided into pieces of its batch (`StageConfig.pieces`), each with random numbers of its own; every process
takes as many, in order. What a step computes therefore does not depend on how many processes there are, but for the
order in which numbers are added up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from genie_core.errors import ModelError

_PATIENCE = timedelta(hours=2)
"""How long processes wait for each other: the first one writes the frames and evaluates the bundle alone."""


@dataclass(frozen=True)
class Group:
    """The processes of one run; by default there is one.

    Attributes:
        rank: number of this process, from 0; the first one writes files and reports.
        size: number of processes.
        local: number of this process on its machine, by which it takes a GPU.

    """

    rank: int = 0
    size: int = 1
    local: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """Return the device of this process where the run was given `name`."""
        return f"cuda:{self.local}" if name == "cuda" and self.size > 1 else name

    def own(self, pieces: int, what: str) -> range:
        """Return the pieces of a step that this process computes.

        Raises:
            ModelError: they cannot be divided evenly.

        """
        if pieces % self.size:
            raise ModelError(
                f"{what}: got {pieces} pieces a step for {self.size} processes, expected a multiple of {self.size}: "
                "set --pieces"
            )
        each = pieces // self.size
        return range(self.rank * each, (self.rank + 1) * each)

    def gathered(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensors of all processes, of one shape, by rank."""
        if self.size == 1:
            return [tensor]
        found = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(found, tensor.contiguous())
        return found

    def mean(self, values: Mapping[str, float], device: torch.device) -> dict[str, float]:
        """Return the means over all processes of values that each has by the same names."""
        if self.size == 1:
            return dict(values)
        total = torch.tensor([values[name] for name in sorted(values)], dtype=torch.float64, device=device)
        dist.all_reduce(total)
        return dict(zip(sorted(values), (total / self.size).tolist(), strict=True))

    def of_first(self, flag: bool, device: torch.device) -> bool:
        """Return what the first process says."""
        if self.size == 1:
            return flag
        said = torch.tensor([flag], dtype=torch.uint8, device=device)
        dist.broadcast(said, 0)
        return bool(said)

    def share(self, network: nn.Module) -> None:
        """Copy the first process's parameters and buffers to all others."""
        if self.size > 1:
            for tensor in (*network.parameters(), *network.buffers()):
                dist.broadcast(tensor.data, 0)

    def wait(self) -> None:
        """Return once every process has come here."""
        if self.size > 1:
            dist.barrier()


ALONE = Group()


@contextmanager
def process_group(device: str) -> Iterator[Group]:
    """Join the processes that torchrun has started; without torchrun this one is alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    group = Group(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))
    if torch.device(device).type == "cuda":
        torch.cuda.set_device(group.local)
    dist.init_process_group("nccl" if torch.device(device).type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield group
    finally:
        dist.destroy_process_group()


__all__ = ["ALONE", "Group", "process_group"]
