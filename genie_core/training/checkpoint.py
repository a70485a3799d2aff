"""Checkpoints of one stage as one .safetensors file: network, optimizer and step; no pickle. Written atomically."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from genie_core.data.storage.atomic import new_file
from genie_core.errors import ModelError
from genie_core.training.sharding import divided_like, whole


def save_checkpoint(
    path: Path, network: nn.Module, optimizer: Optimizer, step: int, run: str, *, writes: bool = True
) -> None:
    """Write what resuming at step `step` needs; `run` identifies the configuration that it belongs to.

    Of a network that is divided among processes all call this, and one `writes` what they put together.
    """
    tensors: dict[str, Tensor] = {}
    for key, tensor in _tensors(network, optimizer):
        value = whole(tensor.detach())
        if writes:
            tensors[key] = value.contiguous().clone()
    if writes:
        with new_file(path) as temporary:
            save_file(tensors, temporary, metadata={"step": str(step), "run": run})


def _tensors(network: nn.Module, optimizer: Optimizer) -> Iterator[tuple[str, Tensor]]:
    for key, value in network.state_dict().items():
        yield f"network.{key}", value
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            yield f"optimizer.{index}.{key}", torch.as_tensor(value)


def load_checkpoint(path: Path, network: nn.Module, optimizer: Optimizer | None, run: str) -> int:
    """Restore `network` (and `optimizer`, unless None) in place and return the step to resume at.

    Raises:
        ModelError: the file is not a checkpoint, or belongs to another configuration.

    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except Exception as error:
        raise ModelError(f"{path} is not a checkpoint that can be read: {error}") from error
    if metadata.get("run") != run:
        raise ModelError(
            f"{path} belongs to a run with another configuration or other data; "
            "delete that folder or choose another --out"
        )
    there = network.state_dict()
    ours = {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")}
    network.load_state_dict({k: divided_like(v, there[k]) if k in there else v for k, v in ours.items()})
    if optimizer is not None:
        _restore(optimizer, tensors)
    return int(metadata["step"])


def _restore(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = divided_like(value, parameters[int(index)])
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def run_identity(*parts: str) -> str:
    """Return a short string that changes when any of `parts` (configurations, data) does."""
    import hashlib

    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


__all__ = ["load_checkpoint", "run_identity", "save_checkpoint"]
