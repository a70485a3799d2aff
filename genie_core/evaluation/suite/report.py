"""Writes a suite's results to a folder: suite.json for scripts, suite.md and index.html for people."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path

from genie_core.evaluation.metrics import Measured, Metric, Missing
from genie_core.evaluation.suite.run import ONE, SuiteResult
from genie_core.evaluation.suite.tables import Table, TableCell, suite_tables

FORMAT = 1
"""Of suite.json; grows when a script that reads it would have to change."""

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; max-width: 1500px; margin: 2em auto; padding: 0 1em; color: #222 }
div { overflow-x: auto } table { border-collapse: collapse; margin: 1em 0 }
td, th { padding: .25em .6em; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top }
td, th { white-space: nowrap }
td:first-child, th:first-child { text-align: left } small { display: block; color: #777 } p { max-width: 60em }
"""


def one_number(result: SuiteResult) -> Measured:
    """Return the mean over all sets of the error over variance of the latents' linear probe."""
    return result.means["all"][ONE]


def to_json(result: SuiteResult) -> dict[str, object]:
    """Return what suite.json holds: each metric as ``{"value", "ci95", "n", "episodes"}``, null where there is none."""
    return {
        "format": FORMAT,
        **result.facts,
        "one_number": _plain(one_number(result)) if "all" in result.means else None,
        "still_code": result.still_code,
        "means": {name: _metrics(of) for name, of in result.means.items()},
        "bounds": {name: _metrics(of) for name, of in result.bounds.items()},
        "sets": {
            s.entry.name: {
                "set": s.entry.model_dump(mode="json", exclude_none=True),
                "episodes": s.episodes,
                "transitions": s.transitions,
                "steps": list(s.steps),
                "fps": list(s.fps),
                "figures": _metrics(s.metrics),
                "missing": {name: f.reason for name, f in s.metrics.items() if isinstance(f, Missing)},
                "frozen": dict(result.frozen[s.entry.name]),
                "parts": {kind: {name: _metrics(of) for name, of in parts.items()} for kind, parts in s.parts.items()},
            }
            for s in result.sets
        },
    }


def to_markdown(result: SuiteResult) -> str:
    """Return the tables as Markdown, with intervals of comparisons only; suite.json has them all."""
    lines = [f"# {_title(result)}", "", _headline(result), ""]
    for table in suite_tables(result):
        lines += [f"## {table.title}", "", table.note, "", *_markdown_table(table), ""]
    return "\n".join(lines)


def write_report(result: SuiteResult, folder: Path) -> None:
    """Write suite.md, index.html and, last, suite.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suite.md").write_text(to_markdown(result), encoding="utf-8")
    (folder / "index.html").write_text(_html(result), encoding="utf-8")
    temporary = folder / f".suite.json.tmp-{os.getpid()}"
    temporary.write_text(json.dumps(to_json(result), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    temporary.replace(folder / "suite.json")


def _title(result: SuiteResult) -> str:
    return f"{result.facts['bundle']} on the suite {result.facts['suite']}"


def _headline(result: SuiteResult) -> str:
    metric = one_number(result) if "all" in result.means else None
    some = f" at most {result.facts['most_episodes']} episodes a set;" if result.facts["most_episodes"] else ""
    made = f"Bundle {str(result.facts['bundle_id'])[:12]};{some} {result.facts['seconds']:.0f} s."
    if not isinstance(metric, Metric):
        return f"No set has a truth to probe. {made}"
    low, high = metric.ci95 or (metric.value, metric.value)
    probed = sum(bool(s.errors) for s in result.sets)
    return (
        f"One number: error over variance {metric.value:.3f} ({low:.3f} to {high:.3f}), the mean over {probed} sets of "
        f"a linear probe of the latents. {made}"
    )


def _markdown_table(table: Table) -> list[str]:
    def text(cell: TableCell) -> str:
        return f"{cell.text} {cell.interval}" if cell.interval[:1] in ("+", "-") else cell.text

    head = f"| {' | '.join(table.headings)} |"
    rule = f"| --- |{' ---: |' * (len(table.headings) - 1)}"
    return [head, rule, *(f"| {name} | {' | '.join(map(text, cells))} |" for name, cells in table.rows)]


def _html(result: SuiteResult) -> str:
    body = []
    for table in suite_tables(result):
        head = "".join(f"<th>{escape(h)}</th>" for h in table.headings)
        rows = "".join(
            f"<tr><td>{escape(name)}</td>{''.join(map(_html_cell, cells))}</tr>" for name, cells in table.rows
        )
        body.append(
            f"<h2>{escape(table.title)}</h2><p>{escape(table.note)}</p><div><table><tr>{head}</tr>{rows}</table></div>"
        )
    title = escape(_title(result))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Genie: {title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1><p>{escape(_headline(result))} Small figures are 95% bootstrap intervals over episodes.</p>"
        f"{''.join(body)}</html>\n"
    )


def _html_cell(cell: TableCell) -> str:
    small = f"<small>{escape(cell.interval)}</small>" if cell.interval else ""
    return f"<td>{escape(cell.text)}{small}</td>"


def _metrics(metrics: Mapping[str, Measured]) -> dict[str, object]:
    return {name: _plain(metric) for name, metric in metrics.items()}


def _plain(metric: Measured) -> object:
    return metric.model_dump(mode="json") if isinstance(metric, Metric) else None


__all__ = ["FORMAT", "one_number", "to_json", "to_markdown", "write_report"]
