"""Reporters of training: a progress bar in the terminal, TensorBoard's log, and a warning where latents collapse."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from genie_core.training.collapse import collapse, is_time

_LOG_EVERY = 500


class TerminalReporter:
    """A rich progress bar per stage (plain lines without a terminal) and scalars in `folder`."""

    def __init__(self, folder: Path, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._folder = folder
        self._writer: SummaryWriter | None = None
        self._progress = Progress(
            TextColumn("{task.description:>16}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._judged = 0  # step of the stage's last report

    def __enter__(self) -> TerminalReporter:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if self._writer is not None:
            self._writer.close()

    def start(self, stage: str, step: int, steps: int) -> None:
        """Show that a stage starts, or resumes, at `step`."""
        self._task = self._progress.add_task(stage, total=steps, completed=step, metrics="")
        self._judged = step
        if not self._console.is_terminal:
            self._console.print(f"{stage}: from {step} to {steps}")

    def step(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        """Show smoothed metrics after `step` steps."""
        text = "  ".join(f"{name} {value:.3g}" for name, value in metrics.items())
        if self._task is not None:
            self._progress.update(self._task, completed=step, metrics=text)
        if metrics:
            self._scalars(stage, step, metrics)
            if not self._console.is_terminal and step % _LOG_EVERY <= 1:
                self._console.print(f"{stage} {step}: {text}")
            found = collapse(stage, step, metrics) if is_time(self._judged, step) else None
            self._judged = step
            if found is not None:
                self._console.print(f"warning: {stage}, step {step}: {found}", style="yellow", markup=False)

    def _scalars(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        if self._writer is None:
            self._writer = SummaryWriter(str(self._folder / "tensorboard"))
        for name, value in metrics.items():
            self._writer.add_scalar(f"{stage}/{name}", value, step)


__all__ = ["TerminalReporter"]
