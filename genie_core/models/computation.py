"""How labels were computed, as recorded in them: precision, processor, PyTorch version. Computes nothing itself."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch

from genie_core.data import Computation, Precision

_CPU_INFO = Path("/proc/cpuinfo")


def computation_on(device: str | torch.device, precision: Precision) -> Computation:
    """Describe how networks compute on `device` in `precision`; `torch_device` checks that the device exists."""
    return Computation(precision=precision, processor=_processor(device), torch_version=str(torch.__version__))


def _processor(device: str | torch.device) -> str:
    """Return the name of a GPU, or of a CPU with the vector instructions that PyTorch uses."""
    try:
        found = torch.device(device)
        if found.type == "cuda":
            return torch.cuda.get_device_name(found)
    except (RuntimeError, AssertionError):  # no such device: loading a model on it raises the proper error
        return str(device)
    return _cpu() if found.type == "cpu" else found.type


@cache
def _cpu() -> str:
    lines = _CPU_INFO.read_text().splitlines() if _CPU_INFO.is_file() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    name = named or platform.processor() or platform.machine()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


__all__ = ["computation_on"]
