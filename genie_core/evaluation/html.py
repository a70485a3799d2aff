"""Renders the report as one self-contained HTML page without scripts: tables, plots, images, meaning of each metric."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

from genie_core.evaluation.catalogue import SECTIONS, Entry
from genie_core.evaluation.metrics import Findings, Measured, Metric, Missing
from genie_core.evaluation.report_plots import code_share_plot, horizon_plot, trust_plot

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0; width: 100% }
td, th { padding: .25em .7em; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
th.number { width: 5em } th.interval { width: 12em } .plots { display: flex; flex-wrap: wrap; gap: 1em }
.row { display: inline-block; min-width: 4.5em } td.name { width: 1px; white-space: nowrap } svg { max-width: 100% }
.met { color: #2a7a2a } .unmet { color: #b33 } .missing, .meaning { color: #777 }
img { max-width: 100%; image-rendering: pixelated } figure { margin: 1.5em 0 } code { overflow-wrap: anywhere }
"""


def render_page(provenance: Mapping[str, object], findings: Findings, images: Mapping[str, bytes]) -> str:
    """Render the page.

    Args:
        provenance: what was evaluated and how, as in report.json.
        findings: all metrics, curves and images.
        images: each image as PNG, by name.

    """
    codes = provenance["codes"]
    assert isinstance(codes, int)
    episodes, sampling = provenance["episodes"], provenance["sampling"]
    assert isinstance(episodes, Sequence)
    assert isinstance(sampling, Mapping)
    tables = [
        f"<h2>{escape(title)}</h2>{_table(entries, findings, codes)}{_plots(title, findings)}"
        for title, entries in SECTIONS.items()
    ]
    pictures = [
        f'<figure><h3>{escape(p.title)}</h3><img alt="{escape(p.caption)}" src="data:image/png;base64,'
        f'{base64.b64encode(images[p.name]).decode()}"><figcaption>{escape(p.caption)}</figcaption></figure>'
        for p in findings.images
    ]
    name = escape(str(provenance["bundle"]))
    facts = {k: v for k, v in provenance.items() if k != "episodes"}
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Genie: evaluation of {name}</title>'
        f"<style>{_STYLE}</style><h1>Evaluation of {name}</h1>"
        f"<p>{len(episodes)} episodes of <code>{escape(str(provenance['data']))}</code>. Intervals: 95% bootstrap "
        f"over episodes. Rollouts at temperature {sampling['temperature']}, "
        f"{sampling['maskgit_steps']} MaskGIT steps a frame.</p>"
        f"{''.join(tables)}{_curves(findings)}<h2>Pictures</h2>{''.join(pictures)}"
        f"<h2>How it was made</h2>{_facts(facts)}</html>\n"
    )


def _table(entries: Sequence[Entry], findings: Findings, codes: int) -> str:
    rows = [_row(entry, findings.metrics[entry.key], codes) for entry in entries if entry.key in findings.metrics]
    head = (
        '<tr><th>figure</th><th class="number">value</th><th class="number interval">95% interval</th>'
        '<th class="number">n</th><th class="number">target</th></tr>'
    )
    return f"<table>{head}{''.join(rows)}</table>"


def _row(entry: Entry, metric: Measured, codes: int) -> str:
    title = f'<td>{escape(entry.title)}<br><span class="meaning">{escape(entry.meaning)}</span></td>'
    if isinstance(metric, Missing):
        return f'<tr>{title}<td class="missing" colspan="4">not measured: {escape(metric.reason)}</td></tr>'
    target = entry.target(codes)
    met = {"met": "met", "missed": "unmet"}.get(entry.verdict(metric.value, metric.ci95, codes) or "", "")
    interval = "" if metric.ci95 is None else entry.interval(*metric.ci95)
    cells = (
        f'<td class="number {met}">{entry.words(metric.value)}</td><td class="number">{interval}</td>'
        f'<td class="number">{metric.n:,}</td>'
        f'<td class="number">{"" if target is None else "≥ " + entry.words(target)}</td>'
    )
    return f"<tr>{title}{cells}</tr>"


def _plots(section: str, findings: Findings) -> str:
    plots = ""
    if section == "Dynamics":
        plots = horizon_plot(findings) + horizon_plot(findings, "ssim", "SSIM") + trust_plot(findings)
    if section == "Latent action model":
        plots = code_share_plot(findings)
    return f'<div class="plots">{plots}</div>' if plots else ""


def _curves(findings: Findings) -> str:
    """Return the metrics that are lists, with their numbers side by side."""
    rows = []
    for name, curve in findings.curves.items():
        numbers = " ".join(f'<span class="number row">{_number(metric)}</span>' for metric in curve)
        rows.append(f'<tr><td class="name"><code>{escape(name)}</code></td><td>{numbers}</td></tr>')
    return f"<h2>By dimension, code and horizon</h2><table>{''.join(rows)}</table>"


def _number(metric: Measured) -> str:
    if not isinstance(metric, Metric):
        return "–"
    return f"{metric.value:.3f}" if abs(metric.value) < 10 else f"{metric.value:.1f}"


def _facts(facts: Mapping[str, object]) -> str:
    rows = [f"<tr><td>{escape(k)}</td><td><code>{escape(str(v))}</code></td></tr>" for k, v in facts.items()]
    return f"<table>{''.join(rows)}</table>"


__all__ = ["render_page"]
