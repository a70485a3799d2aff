"""Memory of the process: the container's limit, and the resident size."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

MIB = 1 << 20

_KEPT_BYTES = 128 * MIB
"""Two of the largest messages (`max_message_mib`): gRPC holds one twice while it is read."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""mallopt(3)."""

_CGROUP = Path("/sys/fs/cgroup")
_SHARE_OF_LIMIT = 0.8
"""Share of a container's limit to use: the kernel's own buffers count against it too."""

_SHARE_OF_MACHINE = 0.5
_MOST_BY_DEFAULT = 4096 * MIB
"""Default without a limit: more than messages at the default limits ever need."""


def default_memory_bytes(cgroup: Path = _CGROUP, own: Path = Path("/proc/self/cgroup")) -> int:
    """Return the server's default memory limit: four fifths of its control group's limit.

    Without a limit, half of the machine's memory and at most 4 GiB.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = cgroup_limit_bytes(cgroup, own)
    if limit is not None and limit < machine:
        return int(limit * _SHARE_OF_LIMIT)
    return min(int(machine * _SHARE_OF_MACHINE), _MOST_BY_DEFAULT)


def cgroup_limit_bytes(cgroup: Path = _CGROUP, own: Path = Path("/proc/self/cgroup")) -> int | None:
    """Return the smallest memory limit of this process's control groups (version 2 or 1), bytes; None: no limit."""
    found = []
    for folder, name in _limit_files(cgroup, own):
        try:
            text = (folder / name).read_text().strip()
        except OSError:
            continue
        if text.isdigit():  # not "max"
            found.append(int(text))
    return min(found, default=None)


def resident_bytes() -> int:
    """Return the resident memory of the process, bytes; 0 if it cannot be determined."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def keep_freed_memory() -> bool:
    """Have the C library keep up to 128 MiB of what is freed; False where it is not GNU's.

    By default a message of 60 MiB is returned to the system when it is freed, and the next costs 30,000 page faults
    while gRPC assembles it on the event loop, for which everybody waits: 70 ms of processor time in place of 19.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES) and mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES))


def _limit_files(cgroup: Path, own: Path) -> list[tuple[Path, str]]:
    """Return the files that may state limits: those of this process's group and of all groups above it."""
    files = [(cgroup, "memory.max"), (cgroup / "memory", "memory.limit_in_bytes")]
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return files
    for line in lines:
        _, controllers, path = line.split(":", 2)
        parts = Path(path.lstrip("/"))
        if not controllers:
            files += [(cgroup / part, "memory.max") for part in (parts, *parts.parents)]
        elif "memory" in controllers.split(","):
            files += [(cgroup / "memory" / part, "memory.limit_in_bytes") for part in (parts, *parts.parents)]
    return files


__all__ = ["cgroup_limit_bytes", "default_memory_bytes", "keep_freed_memory", "resident_bytes"]
