"""What labels say of how they were computed: precision, processor, version of PyTorch. Computes nothing itself."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch

from genie_core.data import Computation, Precision

_CPU_INFO = Path("/proc/cpuinfo")


def computation_on(device: str | torch.device, precision: Precision) -> Computation:
    """How networks compute on `device` in `precision`; whether it is there is for `torch_device` to say."""
    return Computation(precision=precision, processor=_processor(device), torch_version=str(torch.__version__))


def _processor(device: str | torch.device) -> str:
    """The kind of a device: the name of a GPU; of a CPU its name and the vector instructions that PyTorch uses."""
    try:
        found = torch.device(device)
        if found.type == "cuda":
            return torch.cuda.get_device_name(found)
    except (RuntimeError, AssertionError):  # not there, as whoever loads a model on it is told
        return str(device)
    return _cpu() if found.type == "cpu" else found.type


@cache
def _cpu() -> str:
    lines = _CPU_INFO.read_text().splitlines() if _CPU_INFO.is_file() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    name = named or platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


__all__ = ["computation_on"]
