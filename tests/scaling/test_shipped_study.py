"""The study in docs/: its page and figure say what its points say."""

from __future__ import annotations

from pathlib import Path

from genie_core.scaling.report import figure, page, size_law
from genie_core.scaling.run import ScalingStudy

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_page_and_figure_are_those_of_the_points() -> None:
    study = ScalingStudy.model_validate_json((DOCS / "scaling.json").read_text())
    assert (DOCS / "scaling.svg").read_text() == figure(study) + "\n"
    said = (DOCS / "scaling.md").read_text()
    made = page(study)
    rows = [line for line in made.splitlines() if line.startswith("| ") and "--" not in line]
    assert len(rows) > len(study.runs)
    assert [row for row in rows if row not in said] == []
    law = size_law(study)
    assert f"{law.factor:.3g} N^{law.exponent:.4f} (R2 {law.r2:.3f}, {law.points} points)" in " ".join(said.split())
    assert len({run.size for run in study.runs}) >= 4
    assert max(run.body for run in study.runs) > 30 * min(run.body for run in study.runs)
