"""The plots of a report, made from its findings."""

from __future__ import annotations

from collections.abc import Sequence

from genie_core.data.frames.palette import code_palette
from genie_core.evaluation.metrics import Findings, Measured, Metric
from genie_core.evaluation.plots import Line, Point, bar_plot, line_plot
from genie_core.evaluation.rollouts import VIDEOS
from genie_core.evaluation.trust import CURVES

_COLOURS = dict(zip(VIDEOS, ("#4e79a7", "#b07aa1", "#e15759", "#888888", "#59a14f"), strict=True))
_NAMES = {
    "inferred": "rollout",
    "latents": "with latents",
    "random": "random codes",
    "copy": "copying",
    "tokenizer": "tokenizer",
}


def horizon_plot(findings: Findings, metric: str = "psnr_db", label: str = "PSNR, dB") -> str:
    """Return rollouts against random codes, copying and the tokenizer's own limit, by horizon; SVG text."""
    lines = []
    for video in VIDEOS:
        curve = findings.curves.get(f"dynamics.{video}_{metric}_by_horizon", ())
        if not curve:
            continue
        lines.append(Line(_NAMES[video], _COLOURS[video], _points(curve)))
    return line_plot(lines, "frames after the start", label)


def trust_plot(findings: Findings) -> str:
    """Return the confidence of simulated frames beside the share that is right, by horizon; SVG text."""
    names = dict(zip(CURVES, (("confidence", "#4e79a7"), ("right", "#59a14f")), strict=True))
    lines = [
        Line(name, colour, _points(findings.curves[key]))
        for key, (name, colour) in names.items()
        if findings.curves.get(key)
    ]
    return line_plot(lines, "frames after the start", "share")


def code_share_plot(findings: Findings) -> str:
    """Return the bar plot of the frequency of each code, in its colour, as SVG text."""
    points = _points(findings.curves.get("lam.code_share", ()))
    colours = code_palette(len(points))
    bars = [(str(i), f"#{colours[i]:06x}", point) for i, point in enumerate(points)]
    return bar_plot(bars, "share of labels")


def _points(curve: Sequence[Measured]) -> list[Point]:
    """Return the measured ones, at 1, 2, 3 ...; without an interval where there is none."""
    points = []
    for x, metric in enumerate(curve, start=1):
        if isinstance(metric, Metric):
            low, high = metric.ci95 or (metric.value, metric.value)
            points.append(Point(x, metric.value, low, high))
    return points


__all__ = ["code_share_plot", "horizon_plot", "trust_plot"]
