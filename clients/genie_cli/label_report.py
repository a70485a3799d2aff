"""Summary of `genie label`: totals, histogram of codes, and mismatch of frame rates."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from genie_client.bulk import LabelReport
from genie_client.records import ModelInfo, Timing
from genie_core.data import AutoSteps, FoundStep, Step
from genie_core.data.auto_step import LONGEST_S, SHORTEST_S
from genie_core.data.frames.palette import code_palette

_LARGE_MISMATCH = 0.1
"""Relative deviation from the model's frame rate beyond which to warn."""

_SLACK = 1.1
"""Ratio to the shortest or longest transition of the training beyond which to warn."""

_BAR = 40
"""Length of the longest bar, in characters."""


def print_report(report: LabelReport) -> None:
    """Print the summary of a finished run."""
    console = Console(highlight=False)
    if report.was_complete:
        number = f"{report.found} of {report.episodes}" if report.skipped else f"all {report.episodes}"
        there = f"{report.output} is complete: it holds these labels of {number} episodes"
        console.print(f"{there}; --overwrite makes them again", soft_wrap=True, markup=False)
        _print_skipped(console, report)
        return
    console.print(_totals(report))
    if report.transitions:
        console.print(_histogram(report))
    _print_skipped(console, report)
    for step in _ordered(report):
        mismatch = None if report.auto_steps else step_warning(report.model, step)
        if mismatch is not None:
            console.print(f"[yellow]warning:[/] {mismatch}")
    for note in report.notes:
        console.print(f"[cyan]note:[/] {escape(note)}", soft_wrap=True)
    for warning in report.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}", soft_wrap=True)
    console.print(f"wrote {report.output}", soft_wrap=True, markup=False)


def _print_skipped(console: Console, report: LabelReport) -> None:
    for name, reason in report.skipped:
        console.print(f"[yellow]left out[/] {escape(f'{name}: {reason}')}")


def print_steps(steps: AutoSteps) -> None:
    """Say which transition lengths were found on the data."""
    for found in steps.found:
        rate = "" if found.seconds is None else f" of {found.fps:g} frames/s, {found.seconds:.2g} s"
        print(f"step: {found.step} frames{rate}: {_why(found)}", flush=True)
    if not steps.found:
        print("step: too little moves to go by; from the frame rates", flush=True)


def _why(found: FoundStep) -> str:
    if found.size is None:
        return "as an earlier run found"
    return "the shortest at which motion is as large as in the model's training"


def step_warning(model: ModelInfo, step: Step) -> str | None:
    """Describe how far transitions are from those of the model's training; None: not far."""
    if model.usual_norm is None:
        mismatch = step.mismatch(model.fps)
        far = mismatch is not None and abs(mismatch) > _LARGE_MISMATCH
        return mismatch_words(mismatch, step, model.fps) if far and mismatch is not None else None
    if step.effective_fps is None:
        return None
    trained = f"the model was trained on {SHORTEST_S:g} to {LONGEST_S:g} s"
    if 1 / step.effective_fps < SHORTEST_S / _SLACK:
        return f"with step {step.step} transitions are {1 / step.effective_fps:.2g} s long; {trained}"
    apart_s = 1 / (step.effective_fps * step.step)  # long transitions are sums of those from frame to frame
    return f"frames are {apart_s:.2g} s apart; {trained}" if apart_s > LONGEST_S * _SLACK else None


def mismatch_words(mismatch: float, step: Step, model_fps: float) -> str:
    """Describe how far the data's frame rate is from the model's, and its effect."""
    direction = "faster" if mismatch > 0 else "slower"
    return (
        f"with step {step.step} the model sees {step.effective_fps:.3g} frames/s, {abs(mismatch):.0%} {direction} than "
        f"the {model_fps:g} of its training: the same motion looks {'smaller' if mismatch > 0 else 'larger'} to it"
    )


def _totals(report: LabelReport) -> Table:
    table = Table.grid(padding=(0, 2))
    earlier = f", {report.found} of them by an earlier run" if report.found else ""
    table.add_row("episodes", f"{report.found + report.labelled} of {report.episodes} labelled{earlier}")
    rate = report.frames / report.seconds if report.seconds else 0.0
    table.add_row("frames", f"{report.frames:,} in {report.seconds:.1f} s: {rate:,.0f} frames/s")
    table.add_row("time", _times(report.timing))
    table.add_row("transitions", f"{report.transitions:,}")
    for step in _ordered(report):
        rate_words = "" if step.effective_fps is None else f", {step.effective_fps:.3g} frames/s"
        trained = f"{report.model.fps:g} frames/s"
        if report.model.usual_norm is not None:
            rate_words = "" if step.effective_fps is None else f", {1 / step.effective_fps:.2g} s"
            trained = f"{SHORTEST_S:g} s and longer"
        why = "" if report.auto_steps else f" (model: {trained})"  # auto goes by motion, and was told at the start
        table.add_row("step", f"{step.step}{rate_words}{why}")
    table.add_row("model", f"{report.model.name} {report.model.bundle_id[:12]}")
    if report.fine_histogram is not None:
        used, there = int(np.count_nonzero(report.fine_histogram)), len(report.fine_histogram)
        table.add_row("fine codes", f"{used} of {there} used")
    if report.alignment is not None:
        numbers = len(report.alignment.action_names)
        table.add_row("actions", f"{numbers} numbers by {report.alignment.name} {report.alignment.alignment_id[:12]}")
    return table


def _times(timing: Timing) -> str:
    """Return how the time of the episodes was spent, in shares: many run at once, so sums mean little."""
    total = timing.total_ms or 1.0
    shares = {"computing": timing.device_ms, "waiting for the device": timing.queue_ms + timing.batch_ms}
    shares["on the way"] = timing.transport_ms
    return ", ".join(f"{ms / total:.0%} {what}" for what, ms in shares.items())


def _histogram(report: LabelReport) -> Table:
    """Draw a bar per code, in the code's colour."""
    table = Table("code", "transitions", "share", "confidence", "", box=None)
    colors, most = code_palette(report.model.num_codes), int(report.histogram.max())
    for code, count in enumerate(report.histogram.tolist()):
        bar = Text("█" * round(_BAR * count / most), style=f"#{colors[code]:06x}")
        table.add_row(
            str(code), f"{count:,}", f"{count / report.transitions:.1%}", f"{report.confidence[code]:.2f}", bar
        )
    return table


def _ordered(report: LabelReport) -> list[Step]:
    return sorted(report.steps, key=lambda step: (step.step, step.effective_fps or 0.0))


__all__ = ["mismatch_words", "print_report", "print_steps", "step_warning"]
