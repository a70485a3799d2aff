"""Progress bar of all commands, on stderr; it disappears when the work is done."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rich.progress

    from genie_core.progress import Progress


class Bar:
    """A progress bar. Thread-safe."""

    def __init__(self, progress: rich.progress.Progress, row: rich.progress.TaskID) -> None:
        self._progress = progress
        self._row = row
        self._shown = not progress.disable
        self._notice: str | None = None

    def advance(self, by: float) -> None:
        """Add `by` to the work done."""
        self._progress.advance(self._row, by)

    def set(self, what: str, done: float, total: float) -> None:
        """Set the current stage and how much of it is done."""
        self._progress.update(self._row, description=what, completed=done, total=total)

    def notice(self, what: str, why: str | None, cause: object = None) -> None:
        """Show `why` the work is waiting instead of `what` is being done; None: it continues.

        Without a terminal, prints a line when the wait begins, with its cause, and one when it ends.
        """
        if not self._shown and (why is None) != (self._notice is None):
            print("going on" if why is None else f"{why}: {cause}", file=sys.stderr, flush=True)
        self._notice = why
        self._progress.update(self._row, description=what if why is None else why)


@contextmanager
def progress_bar(what: str = "", total: float | None = None, unit: str = "") -> Iterator[Bar]:
    """Show a bar while the block runs.

    Args:
        what: description of the work.
        total: amount of work; None: unknown (yet).
        unit: unit of the amounts, in the plural.

    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.text import Text

    class Count(TextColumn):
        def render(self, task: object) -> Text:
            done, total = getattr(task, "completed", 0.0), getattr(task, "total", None)
            of = "" if total is None else f" of {total:.0f}"
            return Text(f"{done:.0f}{of} {unit}".rstrip())

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        Count(""),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress, progress.add_task(what, total=total))


@contextmanager
def part_progress() -> Iterator[Progress]:
    """Show a bar for work in stages; yields a callback for the stage, the amount done, and the total."""
    with progress_bar() as bar:
        yield bar.set


__all__ = ["Bar", "part_progress", "progress_bar"]
