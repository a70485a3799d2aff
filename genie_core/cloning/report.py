"""Results of an experiment, from the files in its folder: report.json, a table and the paper's plot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from genie_core import __version__
from genie_core.cloning.plan import METHODS, TITLES, WITH_LABELS, Condition, Extent, Method
from genie_core.cloning.plot import Curve, success_plot
from genie_core.cloning.store import Store
from genie_core.data.storage.atomic import write_bytes
from genie_core.statistics.intervals import Rate, difference, success_rate

Steps = NDArray[np.int64]
"""Steps to success, -1 for none."""

REPORT, TABLE, PLOT = "report.json", "bc.md", "bc.svg"
OURS: tuple[Method, ...] = ("expected", "fine", "latents")
RIVALS: tuple[Method, ...] = ("vpt", "flow_codes", "flow", "labels")
"""What our methods are compared with, pair by pair, in `RivalRow`s."""
TARGET_LABELLED = 200
"""Number of labelled steps from which the paper's policy equals the oracle."""

_COLOURS: dict[Method, str] = {
    "oracle": "#444444",
    "codes": "#c0392b",
    "expected": "#2471a3",
    "fine": "#17a589",
    "latents": "#7d3c98",
    "vpt": "#ca6f1e",
    "flow_codes": "#5d6d7e",
    "flow": "#1f8f3a",
    "labels": "#b7950b",
    "random": "#909090",
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ConditionRow(_Frozen):
    """One method at one number of labelled steps (0 if it uses none).

    `against_oracle` is its success minus the oracle's, on the same seeds and start states.
    """

    method: Method
    labelled: int
    success: float
    ci95: tuple[float, float]
    seeds: int
    episodes: int
    by_seed: tuple[float, ...]
    mean_steps: float | None
    against_oracle: float | None = None
    against_oracle_ci95: tuple[float, float] | None = None


class RivalRow(_Frozen):
    """Success of one method minus that of a rival that learns from something else, on the same seeds and starts."""

    method: Method
    rival: Method
    labelled: int
    difference: float
    ci95: tuple[float, float]

    @property
    def verdict(self) -> str:
        """Whether the interval clears zero."""
        low, high = self.ci95
        return "✓ better" if low > 0 else "✗ worse" if high < 0 else "no difference shown"


class CloningReport(_Frozen):
    """All finished rows, and what they were made with (`plan.json`)."""

    genie_version: str
    plan: dict[str, object]
    max_steps: int
    rows: tuple[ConditionRow, ...]
    rivals: tuple[RivalRow, ...] = ()

    def row(self, method: Method, labelled: int = 0) -> ConditionRow | None:
        """Return the row of a method at N; None if it is not finished."""
        return next((r for r in self.rows if (r.method, r.labelled) == (method, labelled)), None)


def make_report(store: Store, max_steps: int, extent: Extent) -> CloningReport:
    """Gather the results of all conditions that are complete, whichever methods this run was asked for."""
    oracle_SE = _successes(store, extent, "oracle", 0)
    rows = []
    for method in METHODS:
        for labelled in extent.labelled if method in WITH_LABELS else (0,):
            steps_SE = _successes(store, extent, method, labelled)
            if len(steps_SE):
                rows.append(_row(method, labelled, steps_SE, None if method == "oracle" else oracle_SE))
    return CloningReport(
        genie_version=__version__,
        plan=store.plan(),
        max_steps=max_steps,
        rows=tuple(rows),
        rivals=tuple(_rivals(store, extent)),
    )


def _rivals(store: Store, extent: Extent) -> Iterator[RivalRow]:
    """Compare each of our methods with each rival, where both are finished."""
    for labelled in extent.labelled:
        for method in OURS:
            ours_SE = _successes(store, extent, method, labelled)
            for rival in RIVALS:
                theirs_SE = _successes(store, extent, rival, labelled)
                shared = min(len(ours_SE), len(theirs_SE))
                if shared:
                    gap = difference(ours_SE[:shared] > 0, theirs_SE[:shared] > 0, seed=0)
                    yield RivalRow(
                        method=method,
                        rival=rival,
                        labelled=labelled,
                        difference=gap.value,
                        ci95=(gap.low, gap.high),
                    )


def _successes(store: Store, extent: Extent, method: Method, labelled: int) -> Steps:
    """Return the results (S, E) of the finished seeds, in order from the first; S may be 0."""
    found = []
    for seed in range(extent.seeds):
        steps = store.results(Condition(method, labelled, seed))
        if len(steps) < extent.episodes:
            break
        found.append(steps[: extent.episodes])
    return np.array(found, np.int64).reshape(len(found), extent.episodes)


def _row(method: Method, labelled: int, steps_SE: Steps, oracle_SE: Steps | None) -> ConditionRow:
    success_SE = steps_SE > 0
    rate = success_rate(success_SE, seed=0)
    gap = None
    if oracle_SE is not None and len(oracle_SE):
        shared = min(len(oracle_SE), len(success_SE))
        gap = difference(success_SE[:shared], oracle_SE[:shared] > 0, seed=0)
    return ConditionRow(
        method=method,
        labelled=labelled,
        success=rate.value,
        ci95=(rate.low, rate.high),
        seeds=success_SE.shape[0],
        episodes=success_SE.shape[1],
        by_seed=tuple(success_SE.mean(axis=1).tolist()),
        mean_steps=float(steps_SE[success_SE].mean()) if success_SE.any() else None,
        against_oracle=None if gap is None else gap.value,
        against_oracle_ci95=None if gap is None else (gap.low, gap.high),
    )


def write_report(folder: Path, report: CloningReport) -> None:
    """Write report.json, the table and the plot."""
    write_bytes(folder / REPORT, (report.model_dump_json(indent=2) + "\n").encode())
    write_bytes(folder / TABLE, (render_table(report) + "\n").encode())
    write_bytes(folder / PLOT, render_plot(report).encode())


def render_plot(report: CloningReport) -> str:
    """Render Figure 15: success over labelled steps."""
    labelled = sorted({row.labelled for row in report.rows if row.labelled})
    curves = []
    for method, title in TITLES.items():
        rates = {r.labelled: Rate(r.success, *r.ci95) for r in report.rows if r.method == method}
        if rates:
            curves.append(Curve(title, _COLOURS[method], rates if method in WITH_LABELS else rates[0]))
    return success_plot(curves, labelled or [0])


def render_table(report: CloningReport) -> str:
    """Render a Markdown table and, below it, whether the target is met."""
    heads = (
        "policy",
        "labelled steps",
        "success",
        "95% interval",
        "minus oracle, paired",
        "steps taken",
        "seeds x starts",
    )
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join('---' for _ in heads)} |"]
    for row in report.rows:
        gap = (
            ""
            if row.against_oracle is None or row.against_oracle_ci95 is None
            else (
                f"{100 * row.against_oracle:+.1f} ({100 * row.against_oracle_ci95[0]:+.1f} to "
                f"{100 * row.against_oracle_ci95[1]:+.1f})"
            )
        )
        cells = (
            TITLES[row.method],
            f"{row.labelled:,}" if row.labelled else "",
            f"{100 * row.success:.1f}%",
            f"{100 * row.ci95[0]:.1f} to {100 * row.ci95[1]:.1f}%",
            gap,
            "" if row.mean_steps is None else f"{row.mean_steps:.1f}",
            f"{row.seeds} x {row.episodes}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *_verdicts(report), *_rival_lines(report)])


def _rival_lines(report: CloningReport) -> list[str]:
    if not report.rivals:
        return []
    lines = ["", "| policy | minus | labelled steps | success, paired | |", "| --- | --- | --- | --- | --- |"]
    for row in report.rivals:
        low, high = row.ci95
        gap = f"{100 * row.difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        lines.append(f"| {TITLES[row.method]} | {TITLES[row.rival]} | {row.labelled:,} | {gap} | {row.verdict} |")
    return lines


def _verdicts(report: CloningReport) -> list[str]:
    oracle = report.row("oracle")
    if oracle is None:
        return []
    low, high = oracle.ci95
    words = []
    for method in ("codes", *OURS):
        row = report.row(method, TARGET_LABELLED)
        if row is not None:
            # A share of 1 can exceed the upper end of its own interval by a rounding error.
            met = "below" if row.success < low else "above" if row.success > high + 1e-9 else "within"
            words.append(
                f"At {TARGET_LABELLED} labelled steps {TITLES[method]} is {met} the oracle's interval"
                f" ({100 * row.success:.1f}%; {100 * low:.1f} to {100 * high:.1f}%)."
            )
    return words


__all__ = [
    "CloningReport",
    "ConditionRow",
    "RivalRow",
    "make_report",
    "render_plot",
    "render_table",
    "write_report",
]
