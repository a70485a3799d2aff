"""The progress bar of the commands that evaluate. Knows no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def shown_progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr while the block runs; what it gives is told the part at work and how much of it is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task("")
        yield lambda part, done, total: bar.update(row, description=part, completed=done, total=total)


__all__ = ["shown_progress"]
