"""Describes the machine that measures, without naming it; most fully on Linux."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "asimd", "sve", "bf16")
"""CPU features that decide how fast matrices multiply."""


class Machine(BaseModel):
    """What measured a row.

    Attributes:
        cpu: the model's name, with family and model number where the name says little.
        cores: that this process may use.
        flags: of `_FLAGS`, those that the CPU has.
        memory_gib: in all.
        gpu: name of the accelerator that was used; "" for none.
        system: operating system and architecture.
        python: version.
        torch: version.
        grpcio: version.
        load: mean number of running processes over the last minute, as the measurement began.

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu: str
    cores: int
    flags: tuple[str, ...]
    memory_gib: float
    gpu: str = ""
    system: str
    python: str
    torch: str
    grpcio: str
    load: float


def describe_machine(gpu: str = "") -> Machine:
    """Describe this machine; `gpu`: name of the GPU, from the caller that uses one."""
    cpu = _cpu_info(Path("/proc/cpuinfo"))
    return Machine(
        cpu=_cpu_name(cpu),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        flags=tuple(f for f in _FLAGS if f in cpu.get("flags", cpu.get("Features", "")).split()),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        gpu=gpu,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        torch=_version("torch"),
        grpcio=_version("grpcio"),
        load=round(os.getloadavg()[0], 2),
    )


def _cpu_info(path: Path) -> dict[str, str]:
    """Return the first processor's entries; none where the file is missing."""
    if not path.exists():
        return {}
    first = path.read_text().split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _cpu_name(cpu: dict[str, str]) -> str:
    name = cpu.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in cpu and "model" in cpu:
        return f"{name} (family {cpu['cpu family']}, model {cpu['model']})"
    return name


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


__all__ = ["Machine", "describe_machine"]
