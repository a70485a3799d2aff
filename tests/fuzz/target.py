"""What is fuzzed: a function of bytes, and the bytes that it begins with; and what reading may cost."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_PROC = Path("/proc/self")

Mutator = Callable[[bytes, int, int], bytes]
"""Changes bytes, given the most bytes of the result and a seed."""


class Read(Protocol):
    """Reads bytes as a user's file or request would be read; may only raise the project's own errors."""

    def __call__(self, data: bytes, folder: Path) -> None: ...


@dataclass
class Taken:
    """What a defect of a library has taken, which is known and in its documentation: processor time and memory."""

    why: str
    seconds: float = 0.0
    memory_mib: float = 0.0


def _nothing(_says: bool) -> AbstractContextManager[Taken]:
    return nullcontext(Taken(""))


@dataclass(frozen=True)
class Target:
    """One parser, or several that read the same kind of bytes.

    Attributes:
        name: what it is called on the command line, and its folder of finds.
        read: reads one input; files go into the folder, which is the same for all inputs.
        seeds: makes whole inputs, in a folder that is empty at first.
        inputs: how many inputs a whole run of all targets tries.
        largest: bytes of the largest input.
        mutate: changes an input in a way that the format likes, tried in turn with changes of single bytes.
        memory_mib: by how much one input may raise the peak of the process's memory.
        taken: measures, while its block lasts, what a library's known defect takes.

    """

    name: str
    read: Read
    seeds: Callable[[Path], list[bytes]]
    inputs: int
    largest: int = 4096
    mutate: Mutator | None = None
    memory_mib: int = 64
    taken: Callable[[bool], AbstractContextManager[Taken]] = _nothing


def peak_mib() -> float:
    """The most memory that this process has had since `forget_peak`, MiB; where there is no /proc, ever."""
    if not _PROC.is_dir():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    status = _status()
    at = status.index(b"VmHWM:") + 6
    return int(status[at : status.index(b"kB", at)]) / 1024


def forget_peak() -> None:
    """Begin anew, from the memory that the process has now; where the system can."""
    with suppress(OSError):
        (_PROC / "clear_refs").write_bytes(b"5")


def _status() -> bytes:
    file = os.open(_PROC / "status", os.O_RDONLY)
    try:
        return os.read(file, 4096)
    finally:
        os.close(file)
