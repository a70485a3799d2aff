"""Figure 9 of a scaling study: three panels as SVG, and a page that says what the points show and what they cannot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from genie_core.data.storage.atomic import write_text
from genie_core.evaluation.plots import Line, Point, line_plot
from genie_core.scaling.fit import Best, PowerLaw, best_sizes, power_law
from genie_core.scaling.run import ScalingRun, ScalingStudy

STUDY, FIGURE, PAGE = "study.json", "fig9.svg", "scaling.md"

_COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#17becf")
_PANEL_WIDTH, _PANEL_HEIGHT = 520, 300
_BUDGETS = 5
_FITS = 0.8
"""Share of the variance of log loss from which on a power law is taken for one."""


def write_study(study: ScalingStudy, folder: Path) -> None:
    """Write the study's data, figure and page into `folder`."""
    write_text(folder / STUDY, study.model_dump_json(indent=1) + "\n")
    write_text(folder / FIGURE, figure(study) + "\n")
    write_text(folder / PAGE, page(study))


def of_sizes(study: ScalingStudy) -> list[ScalingRun]:
    """Return the runs that differ in size alone."""
    return [run for run in study.runs if run.batch == study.plan.batch]


def of_batches(study: ScalingStudy) -> list[ScalingRun]:
    """Return the runs that differ in batch alone, by batch."""
    size = study.plan.sizes[study.plan.size_of_batches]
    return sorted((run for run in study.runs if run.size == size), key=lambda run: run.batch)


def size_law(study: ScalingStudy) -> PowerLaw:
    """Return held-out loss over the parameters of the blocks."""
    runs = of_sizes(study)
    return power_law([run.body for run in runs], [run.held_out for run in runs])


def optima(study: ScalingStudy) -> list[Best]:
    """Return the best size for budgets evenly spaced in logarithms, from the smallest model's to the largest's."""
    curves = {run.body: [(step * run.flops, loss) for step, loss in run.curve] for run in of_sizes(study)}
    low = sorted(curve[0][0] for curve in curves.values())[1]
    high = sorted(curve[-1][0] for curve in curves.values())[-2]
    return best_sizes(curves, np.geomspace(low, high, _BUDGETS).tolist()) if low < high else []


def figure(study: ScalingStudy) -> str:
    """Three panels: training curves over arithmetic, held-out loss over size with its power law, loss over batches."""
    curves = [
        _line(run.size.name, place, [(math.log10(step * run.flops), loss) for step, loss in run.curve])
        for place, run in enumerate(of_sizes(study))
    ]
    law, runs = size_law(study), of_sizes(study)
    sizes = [
        _line("measured", 0, [(math.log10(run.body), run.held_out) for run in runs]),
        _line("power law", 1, [(math.log10(run.body), law.at(run.body)) for run in runs]),
    ]
    batches = [_line("held out", 0, [(math.log2(run.batch), run.held_out) for run in of_batches(study)])]
    panels = (
        line_plot(curves, "log10 of operations", "training loss"),
        line_plot(sizes, "log10 of parameters", "held-out loss"),
        line_plot(batches, "log2 of clips a step", "held-out loss"),
    )
    placed = [
        panel.replace("<svg ", f'<svg x="{i * _PANEL_WIDTH}" height="{_PANEL_HEIGHT}" ', 1)
        for i, panel in enumerate(panels)
    ]
    width = len(panels) * _PANEL_WIDTH
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_PANEL_HEIGHT}" width="{width}">'
        f"{''.join(placed)}</svg>"
    )


def page(study: ScalingStudy) -> str:
    """Return the study in Markdown."""
    law, runs, plan = size_law(study), of_sizes(study), study.plan
    span = max(run.body for run in runs) / min(run.body for run in runs)
    lines = [
        "# Scaling of the dynamics model",
        "",
        f"![Figure 9]({FIGURE})",
        "",
        f"{len(runs)} sizes, a factor {span:,.0f} apart, {plan.steps:,} steps of {plan.batch} clips of "
        f"{plan.clip_frames} frames each, on {study.frames:,} frames as tokens of the bundle "
        f"`{study.bundle_id[:12]}`; losses are cross-entropies of hidden tokens, in nats, held-out ones on "
        f"{plan.evaluated} clips of {study.held_out_frames:,} frames, the same hidden tokens for all.",
        "",
        *_table(study.runs),
        "",
        f"Held-out loss over parameters of the blocks: {law.factor:.3g} N^{law.exponent:.4f} (R2 {law.r2:.3f}, "
        f"{law.points} points).{_doubt(law)}",
        "",
    ]
    best = optima(study)
    if best:
        lines += ["| operations | best size, parameters in blocks | training loss |", "| -- | -- | -- |"]
        lines += [f"| {b.flops:.3g} | {b.parameters:,}{' (edge)' if b.at_edge else ''} | {b.loss:.4f} |" for b in best]
        lines.append("")
    inside = [b for b in best if not b.at_edge]
    if len({b.parameters for b in inside}) > 2:
        found = power_law([b.flops for b in inside], [b.parameters for b in inside])
        lines.append(f"Best size for a budget C within the range: {found.factor:.3g} C^{found.exponent:.2f}.")
    else:
        lines.append(
            "No law of the best size for a budget: it takes three best sizes that are neither the smallest nor the "
            "largest tried."
        )
    lines += ["", *_limits(study, span)]
    return "\n".join(lines) + "\n"


def _doubt(law: PowerLaw) -> str:
    """Say that the points do not follow the law, if the loss does not fall with size, or not along a line."""
    if law.exponent < 0 and law.r2 >= _FITS:
        return ""
    return " **That is no law**: these points do not fall along a line, so nothing follows for other sizes."


def _limits(study: ScalingStudy, span: float) -> list[str]:
    seen = study.plan.steps * study.plan.batch * study.plan.clip_frames / study.frames
    return [
        f"What this cannot show: every frame was seen {seen:.1f} times in a run, so that the largest models may be "
        f"held back by data; a factor {span:,.0f} is a small part of the paper's 40M to 2.7B; one seed each, one "
        "learning rate rule for all, and the learning rate falls to zero at the last step, so that points within a "
        "curve lie above what a run of that length would have reached.",
    ]


def _table(runs: Sequence[ScalingRun]) -> list[str]:
    head = "| layers x width | batch | parameters | in blocks | operations a step | training loss | held-out loss | s |"
    return [head, "| -- | -- | -- | -- | -- | -- | -- | -- |"] + [
        f"| {run.size.name} | {run.batch} | {run.parameters:,} | {run.body:,} | {run.flops:.3g} | {run.final:.4f} | "
        f"{run.held_out:.4f} | {run.seconds:,.0f} |"
        for run in runs
    ]


def _line(name: str, place: int, points: Sequence[tuple[float, float]]) -> Line:
    return Line(name, _COLOURS[place % len(_COLOURS)], [Point(x, y, y, y) for x, y in points])


__all__ = ["figure", "of_batches", "of_sizes", "optima", "page", "size_law", "write_study"]
