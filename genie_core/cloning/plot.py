"""Figure 15 of the paper as SVG text: success over labelled steps, on an axis with one place per N."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from genie_core.statistics.intervals import Rate

_WIDTH, _HEIGHT = 780, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 330, 16, 46


@dataclass(frozen=True)
class Curve:
    """Curve of one method: its rates by N, or one rate for all N."""

    name: str
    colour: str
    rates: dict[int, Rate] | Rate


def success_plot(curves: Sequence[Curve], labelled: Sequence[int]) -> str:
    """Return an SVG of success rates from 0 to 1, with shaded 95% intervals and a legend."""
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = []
    for tenth in range(0, 11, 2):
        y = _y(tenth / 10)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{10 * tenth}%</text>')
    for i, n in enumerate(labelled):
        parts.append(f'<text x="{_x(i, len(labelled)):.1f}" y="{bottom + 17}" text-anchor="middle">{n:,}</text>')
    for place, curve in enumerate(curves):
        parts += [*_drawn(curve, labelled), _legend(place, curve)]
    middle = (_LEFT + right) / 2
    parts.append(f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="#888"/>')
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">labelled steps</text>')
    parts.append(
        f'<text transform="translate(14 {(_TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">success</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'font-family="sans-serif" font-size="12"><rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
        f"{''.join(parts)}</svg>\n"
    )


def _x(place: float, places: int) -> float:
    return _LEFT + (place + 0.5) / places * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)


def _drawn(curve: Curve, labelled: Sequence[int]) -> list[str]:
    if isinstance(curve.rates, Rate):  # one rate: a dashed line across the plot
        points = [(float(x), curve.rates) for x in (_LEFT, _WIDTH - _RIGHT)]
    else:
        points = [(_x(i, len(labelled)), curve.rates[n]) for i, n in enumerate(labelled) if n in curve.rates]
    there = [f"{x:.1f},{_y(rate.high):.1f}" for x, rate in points]
    back = [f"{x:.1f},{_y(rate.low):.1f}" for x, rate in reversed(points)]
    line = " ".join(f"{x:.1f},{_y(rate.value):.1f}" for x, rate in points)
    dashes = ' stroke-dasharray="6 4"' if isinstance(curve.rates, Rate) else ""
    parts = [
        f'<polygon points="{" ".join(there + back)}" fill="{curve.colour}" opacity="0.15"/>',
        f'<polyline points="{line}" fill="none" stroke="{curve.colour}" stroke-width="2"{dashes}/>',
    ]
    if not isinstance(curve.rates, Rate):
        parts += [f'<circle cx="{x:.1f}" cy="{_y(rate.value):.1f}" r="3" fill="{curve.colour}"/>' for x, rate in points]
    return parts


def _legend(place: int, curve: Curve) -> str:
    x, y = _WIDTH - _RIGHT + 14, _TOP + 14 + 20 * place
    return (
        f'<rect x="{x}" y="{y - 7}" width="14" height="4" fill="{curve.colour}"/>'
        f'<text x="{x + 20}" y="{y}">{escape(curve.name)}</text>'
    )


__all__ = ["Curve", "success_plot"]
