"""Line plots with intervals and bar plots, as SVG text made by string formatting alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 520, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 120, 16, 40
_TICKS = 6
"""Most ticks on the y axis."""


@dataclass(frozen=True)
class Point:
    """A value at x, with its interval."""

    x: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """A series of points; `colour` is any SVG colour."""

    name: str
    colour: str
    points: Sequence[Point]


def line_plot(lines: Sequence[Line], x_label: str, y_label: str) -> str:
    """Return an SVG of lines with shaded intervals and a legend; without points, one that says so.

    The x axis has a tick for every x if all are whole numbers, else for round ones.
    """
    points = [p for line in lines for p in line.points]
    if not points:
        return _svg([f'<text x="{_LEFT}" y="{_TOP + 20}">nothing to show</text>'])
    axes = _Axes.around(points)
    xs = sorted({p.x for p in points})
    ticks = xs if all(float(x).is_integer() for x in xs) else round_ticks(min(xs), max(xs))
    parts = [axes.frame(ticks, x_label, y_label)]
    for i, line in enumerate(lines):
        if line.points:
            parts += [_band(axes, line), _stroke(axes, line)]
        y = _TOP + 12 + 18 * i
        parts.append(
            f'<rect x="{_WIDTH - _RIGHT + 12}" y="{y - 8}" width="14" height="4" fill="{line.colour}"/>'
            f'<text x="{_WIDTH - _RIGHT + 32}" y="{y}">{escape(line.name)}</text>'
        )
    return _svg(parts)


def bar_plot(bars: Sequence[tuple[str, str, Point]], y_label: str) -> str:
    """Return an SVG of bars (name, colour, value from 0 with its interval), side by side."""
    if not bars:
        return _svg([f'<text x="{_LEFT}" y="{_TOP + 20}">nothing to show</text>'])
    axes = _Axes(-0.5, len(bars) - 0.5, 0.0, max(p.high for _, _, p in bars) or 1.0)
    parts = [axes.frame([], "", y_label)]
    half = axes.x(0.35) - axes.x(0)
    for i, (name, colour, point) in enumerate(bars):
        x, y, tall = axes.x(i), axes.y(point.value), axes.y(0) - axes.y(point.value)
        parts.append(
            f'<rect x="{x - half:.1f}" y="{y:.1f}" width="{2 * half:.1f}" height="{tall:.1f}" fill="{colour}"/>'
            f'<path d="M{x:.1f} {axes.y(point.low):.1f}V{axes.y(point.high):.1f}" stroke="black"/>'
            f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{escape(name)}</text>'
        )
    return _svg(parts)


@dataclass(frozen=True)
class _Axes:
    """Mapping from values to coordinates in the picture."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    @staticmethod
    def around(points: Sequence[Point]) -> _Axes:
        xs, lows, highs = [p.x for p in points], [p.low for p in points], [p.high for p in points]
        margin = 0.05 * (max(highs) - min(lows)) or 1.0
        return _Axes(min(xs) - 0.3, max(xs) + 0.3, min(lows) - margin, max(highs) + margin)

    def x(self, value: float) -> float:
        share = (value - self.x_low) / (self.x_high - self.x_low)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.y_low) / (self.y_high - self.y_low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def frame(self, x_ticks: Sequence[float], x_label: str, y_label: str) -> str:
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        parts = [f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="#888"/>']
        for value in round_ticks(self.y_low, self.y_high):
            y = self.y(value)
            parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#eee"/>')
            parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
        for tick in x_ticks:
            parts.append(f'<text x="{self.x(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
        middle = (_TOP + bottom) / 2
        parts.append(f'<text x="{(_LEFT + right) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
        parts.append(
            f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
        )
        return "".join(parts)


def round_ticks(low: float, high: float) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten from low to high, low < high; 2 to `_TICKS` of them."""
    least = (high - low) / (_TICKS - 1)
    power = 10 ** math.floor(math.log10(least))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= least * (1 - 1e-9))
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _band(axes: _Axes, line: Line) -> str:
    there = [f"{axes.x(p.x):.1f},{axes.y(p.high):.1f}" for p in line.points]
    back = [f"{axes.x(p.x):.1f},{axes.y(p.low):.1f}" for p in reversed(line.points)]
    return f'<polygon points="{" ".join(there + back)}" fill="{line.colour}" opacity="0.15"/>'


def _stroke(axes: _Axes, line: Line) -> str:
    places = " ".join(f"{axes.x(p.x):.1f},{axes.y(p.value):.1f}" for p in line.points)
    return f'<polyline points="{places}" fill="none" stroke="{line.colour}" stroke-width="2"/>'


def _svg(parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'font-family="sans-serif" font-size="12"><rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
        f"{''.join(parts)}</svg>"
    )


__all__ = ["Line", "Point", "bar_plot", "line_plot", "round_ticks"]
