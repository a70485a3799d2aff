"""Progress reports of long-running work, which whoever starts the work displays."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Callback that receives the current stage, the number of finished pieces, and their total."""


def silent(part: str, done: int, total: int) -> None:
    """Ignore progress: a `Progress` that shows nothing."""


__all__ = ["Progress", "silent"]
