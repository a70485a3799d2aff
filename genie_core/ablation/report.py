"""Results of an ablation: ablation.json for scripts and for resuming, ablation.md for people. Knows no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from genie_core.data.storage.atomic import write_text
from genie_core.errors import DatasetError
from genie_core.evaluation.catalogue import ENTRIES
from genie_core.evaluation.metrics import Metric
from genie_core.evaluation.options import EvaluationOptions

FORMAT = 1
"""Version of ablation.json; increases when scripts that read it would have to change."""
JSON, MARKDOWN = "ablation.json", "ablation.md"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Setting(_Frozen):
    """Settings common to all rows, for the record."""

    format: int = FORMAT
    genie_version: str
    data: str = Field(description="name of the training dataset")
    eval_data: str = Field(description="name of the evaluation dataset")
    train_episodes: int
    eval_episodes: tuple[str, ...] = Field(description="names of the held-out episodes")
    scale: float = Field(description="factor on the steps of the base")
    seed: int
    threads: int
    device: str
    options: EvaluationOptions
    base: dict[str, object] = Field(description="model and training that the rows modify")


class RowResult(_Frozen):
    """One row."""

    name: str
    table: Literal["tokenizer", "lam", "recipe"]
    title: str
    identity: str = Field(description="hash of everything that the metrics depend on")
    changes: dict[str, object] = Field(description="fields that differ from the base's, by dotted name")
    compared_parameters: int = Field(description="of the component that the table compares")
    parameters: dict[str, int] = Field(description="by component")
    steps: dict[str, int] = Field(description="by stage; 0: the stage is skipped, its network random")
    seconds: dict[str, float] = Field(description="training time by stage, of whichever row trained it")
    metrics: dict[str, Metric] = Field(alias="figures")  # the name in files of all versions
    missing: dict[str, str] = Field(description="metrics that could not be measured, and why")
    curves: dict[str, list[Metric | None]]


class Ablation(_Frozen):
    """All rows measured so far, in the order of the tables."""

    setting: Setting
    rows: tuple[RowResult, ...]


@dataclass(frozen=True)
class _TableSpec:
    """One table: heading, name of its rows, stages whose seconds it shows, and its metrics."""

    heading: str
    first: str
    stages: tuple[str, ...]
    keys: tuple[str, ...]


_TABLES: dict[str, _TableSpec] = {
    "tokenizer": _TableSpec(
        "Tokenizer (the paper's Table 3)",
        "tokenizer",
        ("tokenizer", "dynamics"),
        (
            "tokenizer.psnr_db",
            "tokenizer.ssim",
            "tokenizer.codebook_use",
            "dynamics.delta_t_psnr_4",
            "dynamics.psnr_4_db",
            "dynamics.worst_psnr_over_copy_db",
            "dynamics.fvd",
        ),
    ),
    "lam": _TableSpec(
        "What the latent action model reads (the paper's Table 2)",
        "input",
        ("lam", "dynamics"),
        (
            "dynamics.delta_t_psnr_4",
            "dynamics.worst_psnr_over_copy_db",
            "lam.code_perplexity",
            "probe.code_to_displacement_r2_mean",
            "probe.latent_to_displacement_r2_mean",
            "probe.nmi",
            "dynamics.fvd",
        ),
    ),
    "recipe": _TableSpec(
        "From the paper's plain recipe to the shipped one",
        "latent action model",
        ("lam",),
        (
            "lam.psnr_over_copy_db",
            "lam.psnr_over_random_db",
            "lam.code_perplexity",
            "probe.code_to_displacement_r2_mean",
            "probe.latent_to_displacement_r2_mean",
            "probe.nmi",
            "lam.unchanged_brightness",
            "lam.unchanged_noise",
            "lam.unchanged_shift",
            "lam.unchanged_crop",
        ),
    ),
}
_ENTRY = {entry.key: entry for entry in ENTRIES}
_SHORT = {
    "tokenizer.psnr_db": "PSNR",
    "tokenizer.ssim": "SSIM",
    "lam.psnr_over_copy_db": "over copying",
    "lam.psnr_over_random_db": "over random codes",
}
"""Headings of metrics whose usual titles need context."""


def read_ablation(folder: Path) -> Ablation | None:
    """Return the earlier results of an ablation in this folder; None if there are none.

    Raises:
        DatasetError: ablation.json cannot be read, or has another format.

    """
    path = folder / JSON
    if not path.exists():
        return None
    try:
        ablation = Ablation.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise DatasetError(f"{path} is not an ablation of this version; choose another --out: {error}") from error
    if ablation.setting.format != FORMAT:
        raise DatasetError(f"{path}: format {ablation.setting.format}, expected {FORMAT}; choose another --out")
    return ablation


def write_ablation(folder: Path, ablation: Ablation) -> None:
    """Write ablation.md and then ablation.json, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        (MARKDOWN, render_ablation(ablation)),
        (JSON, ablation.model_dump_json(indent=2, by_alias=True) + "\n"),
    ):
        write_text(folder / name, text)


def render_ablation(ablation: Ablation) -> str:
    """Render the tables as Markdown, each followed by the settings that its rows share."""
    parts = []
    for name, layout in _TABLES.items():
        rows = [row for row in ablation.rows if row.table == name]
        if rows:
            parts.append("\n".join(["### " + layout.heading, "", *_table(layout, rows), "", _common(ablation, rows)]))
    return "\n\n".join(parts) + "\n"


def _table(layout: _TableSpec, rows: Sequence[RowResult]) -> list[str]:
    """Return the lines of one table; a metric that no row has gets no column."""
    columns: list[tuple[str, Callable[[RowResult], str]]] = [
        (layout.first, lambda row: row.title),
        ("parameters", lambda row: f"{row.compared_parameters:,}"),
        *((f"{stage}, s" if len(layout.stages) > 1 else "training, s", _seconds(stage)) for stage in layout.stages),
        *(
            (_SHORT.get(key, _ENTRY[key].title), _cell(key))
            for key in layout.keys
            if any(key in row.metrics for row in rows)
        ),
    ]
    lines = [_line(title for title, _ in columns), _line("---" for _ in columns)]
    return [*lines, *(_line(cell(row) for _, cell in columns) for row in rows)]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _seconds(stage: str) -> Callable[[RowResult], str]:
    return lambda row: f"{row.seconds[stage]:,.0f}" if stage in row.seconds else ""


def _cell(key: str) -> Callable[[RowResult], str]:
    def cell(row: RowResult) -> str:
        metric = row.metrics.get(key)
        if metric is None:
            return "not measured"
        entry = _ENTRY[key]
        interval = "" if metric.ci95 is None else f" ({entry.interval(*metric.ci95)})"
        return entry.words(metric.value) + interval

    return cell


def _common(ablation: Ablation, rows: Sequence[RowResult]) -> str:
    """Return a paragraph on data, budget and seed of a table's rows."""
    setting = ablation.setting
    training = setting.base["training"]
    assert isinstance(training, dict)
    budgets = [
        f"{stage} {steps:,} steps of {training[stage]['batch']} clips of {training[stage]['clip_frames']} frames"
        for stage, steps in rows[0].steps.items()
        if steps
    ]
    return (
        f"Trained on {setting.train_episodes} episodes of `{setting.data}`, measured on {len(setting.eval_episodes)} "
        f"held-out episodes of `{setting.eval_data}`; in brackets 95% intervals over episodes. The same for all rows: "
        f"{'; '.join(budgets)}; seed {setting.seed}. Wall seconds on {setting.device}, {setting.threads} threads. "
        f"Genie {setting.genie_version}."
    )


__all__ = ["FORMAT", "Ablation", "RowResult", "Setting", "read_ablation", "render_ablation", "write_ablation"]
