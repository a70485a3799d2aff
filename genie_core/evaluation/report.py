"""The report of an evaluation, and its folder: report.json for scripts, index.html and images for people."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from genie_core.data import encode_image
from genie_core.data.storage.atomic import write_bytes, write_text
from genie_core.evaluation.html import render_page
from genie_core.evaluation.metrics import Findings, Measured, Missing
from genie_core.evaluation.options import EvaluationOptions
from genie_core.evaluation.report_plots import horizon_plot
from genie_core.inference import Sampling

FORMAT = 1
"""Of report.json; grows when a script that reads it would have to change."""


class EvaluationFacts(BaseModel):
    """What was evaluated, on what, and how; `sampling` applies to every rollout, each with its own seed."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    genie_version: str
    bundle: str
    bundle_id: str
    fps: float
    codes: int
    parameters: int
    data: str
    camera: str
    subset: str
    episodes: tuple[str, ...]
    transitions: int
    sampling: Sampling
    options: EvaluationOptions
    seconds: float
    device: str


@dataclass(frozen=True)
class EvaluationReport:
    """A whole evaluation."""

    provenance: EvaluationFacts
    findings: Findings

    def to_json(self) -> dict[str, object]:
        """Return the contents of report.json.

        A metric is found under its dotted name, ``{"lam": {"code_perplexity": {"value", "ci95", "n", "episodes"}}}``;
        it is null if it could not be measured, and `missing` says why, by dotted name. Curves are lists of metrics.
        """
        content: dict[str, object] = self.provenance.model_dump(mode="json")
        missing: dict[str, str] = {}
        for name, metric in self.findings.metrics.items():
            _place(content, name, _plain(metric))
            if isinstance(metric, Missing):
                missing[name] = metric.reason
        for name, curve in self.findings.curves.items():
            _place(content, name, [_plain(metric) for metric in curve])
        content["missing"] = missing
        return content

    def write(self, folder: Path) -> None:
        """Write report.json (last), index.html (self-contained), horizon.svg, and a PNG per image.

        `genie_view` shows the videos of the findings.
        """
        folder.mkdir(parents=True, exist_ok=True)
        images = {p.name: encode_image(p.image_HWC) for p in self.findings.images}
        for name, data in images.items():
            write_bytes(folder / f"{name}.png", data)
        write_text(folder / "horizon.svg", horizon_plot(self.findings))
        write_text(folder / "index.html", render_page(self.provenance.model_dump(mode="json"), self.findings, images))
        write_text(folder / "report.json", json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n")


def _place(content: dict[str, object], name: str, value: object) -> None:
    """Put a value where its dotted name says."""
    section, _, key = name.partition(".")
    inner = content.setdefault(section, {})
    assert isinstance(inner, dict)
    inner[key] = value


def _plain(metric: Measured) -> object:
    return None if isinstance(metric, Missing) else metric.model_dump(mode="json")


__all__ = ["FORMAT", "EvaluationFacts", "EvaluationReport"]
