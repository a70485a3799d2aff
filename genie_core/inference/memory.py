"""How this process keeps the memory of tensors that are done with. Changes no result; does nothing without glibc."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of `mallopt` settings (malloc.h)."""

_KEEP = 1 << 30
"""Bytes."""


def keep_freed_memory() -> bool:
    """Let the allocator keep up to 1 GiB that was freed, for the whole process; whether it does.

    By default glibc gives the memory of a block's activations back to the system and asks for it again at the next,
    page by page, which took several lanes on a CPU up to an eighth of their time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(name, _KEEP) == 1 for name in (_TRIM_THRESHOLD, _MMAP_THRESHOLD))


__all__ = ["keep_freed_memory"]
