"""What is fuzzed: a function of bytes, and the bytes that it begins with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Mutator = Callable[[bytes, int, int], bytes]
"""Changes bytes, given the most bytes of the result and a seed."""


class Read(Protocol):
    """Reads bytes as a user's file or request would be read; may only raise the project's own errors."""

    def __call__(self, data: bytes, folder: Path) -> None: ...


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

    """

    name: str
    read: Read
    seeds: Callable[[Path], list[bytes]]
    inputs: int
    largest: int = 4096
    mutate: Mutator | None = None
    memory_mib: int = 64
