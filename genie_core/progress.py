"""How long work says how far it is; whoever started it shows it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Told the part at work, and how many of how many pieces of it are done."""


def silent(part: str, done: int, total: int) -> None:
    """A `Progress` that shows nothing."""


__all__ = ["Progress", "silent"]
