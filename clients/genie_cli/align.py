"""The command `genie align`. Imports torch only when it runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from genie_cli.progress import part_progress
from genie_cli.shared_options import DeviceOption, SeedOption, ThreadsOption
from genie_core.bundles import shipped
from genie_core.data import open_labelled
from genie_core.data.storage.location import source_path
from genie_core.errors import DatasetError, ModelError

if TYPE_CHECKING:
    from genie_core.alignment.alignment import Alignment
    from genie_core.alignment.report import AlignmentReport

TABLE_WIDTH = 100
"""Fewest characters per line: without a terminal the table is not squeezed."""


def align(
    labelled: Annotated[str, typer.Argument(metavar="LABELLED", help="A file that `genie label` has written.")],
    actions_from: Annotated[
        str | None,
        typer.Option(
            metavar="REAL", help="Dataset with the robot's actions. [default: LABELLED, or the source it names]"
        ),
    ] = None,
    budget: Annotated[
        int | None, typer.Option(min=1, help="Number of labelled transitions to fit on. [default: all]")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle that made the labels. [default: the shipped one of that name]")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the alignment. [default: REAL's name and the budget]")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File to write. [default: <bundle>/alignments/<name>.safetensors]"),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the report. [default: alignment-<name>]")
    ] = None,
    reduce: Annotated[
        Literal["mean", "first", "last", "change"],
        typer.Option(help="How to combine the actions within a transition; `change`: for absolute targets."),
    ] = "mean",
    observation: Annotated[
        bool, typer.Option(help="Whether the regressor may read the frame too; otherwise it reads labels alone.")
    ] = True,
    draw: Annotated[
        Literal["transitions", "episodes"], typer.Option(help="Draw labelled transitions singly, or by whole episodes.")
    ] = "transitions",
    hold_out: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the episodes to score on; 0: none, and no report.")
    ] = 0.25,
    budgets: Annotated[str, typer.Option(help="Budgets to compare in the report.")] = "10,50,200,1000",
    seeds: Annotated[int, typer.Option(min=1, help="Draws of labelled transitions per budget.")] = 5,
    mlp: Annotated[bool, typer.Option(help="Whether to compare with a small network (MLP).")] = True,
    supervised_steps: Annotated[
        int, typer.Option(min=0, help="Most training steps of supervised inverse dynamics; 0: leave it out.")
    ] = 1000,
    camera: Annotated[str | None, typer.Option(help="Camera of REAL to read if LABELLED holds no frames.")] = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing alignment.")] = False,
    seed: SeedOption = 0,
) -> None:
    """Learn to decode latent actions into robot actions, from a few transitions with known actions."""
    wanted_budgets = _numbers(budgets)
    labels = open_labelled(source_path(labelled))
    folder = bundle if bundle is not None else _shipped(labels.model.bundle_name)
    import torch

    from genie_core.alignment.fit import Plan, check_bundle
    from genie_core.alignment.fit import align as run
    from genie_core.alignment.store import alignment_path, save_alignment
    from genie_core.alignment.study import StudyOptions
    from genie_core.alignment.transitions import Wanted
    from genie_core.models.bundle import load_bundle, read_bundle_info

    if threads:
        torch.set_num_threads(threads)
    info = read_bundle_info(folder)
    check_bundle(labels, info)
    chosen = name or _default_name(actions_from or labelled, budget)
    target = out or alignment_path(folder, chosen)
    if target.exists() and not overwrite:
        raise ModelError(f"{target} exists: choose another --name, or --overwrite it")
    plan = Plan(
        Wanted(
            None if actions_from is None else source_path(actions_from),
            info.config.height,
            info.config.width,
            reduce,
            camera,
            observations=observation,
            keep_frames=bool(supervised_steps and hold_out),
        ),
        budget,
        hold_out,
        StudyOptions(budgets=wanted_budgets, seeds=seeds, draw=draw, mlp=mlp, seed=seed),
        supervised_steps,
    )
    with part_progress() as progress:
        alignment, found = run(labels, load_bundle(folder, device), plan, progress)
    save_alignment(target, alignment, overwrite=overwrite)
    console = Console(highlight=False, width=max(Console().width, TABLE_WIDTH))
    if found is not None:
        where = report or Path(f"alignment-{chosen}")
        found.write(where)
        print_report(found, console)
        typer.echo(f"wrote {where / 'report.json'} and {where / 'report.md'}")
    typer.echo(_summary(alignment))
    typer.echo(f"wrote {target}")


def print_report(report: AlignmentReport, console: Console) -> None:
    """Print the error of every method by number of labels; the best of each is bold."""
    table = Table(box=None)
    for heading, side in (("labels", "right"), ("way", "left"), ("error", "right"), ("95% interval", "right")):
        table.add_column(heading, justify="right" if side == "right" else "left", no_wrap=True)
    rows = report.rows()
    best = {labels: min(error for of, _, error, _ in rows if of == labels) for labels, *_ in rows}
    before = ""
    for labels, way, error, interval in rows:
        style = "bold" if error == best[labels] else ""
        table.add_row("" if labels == before else labels, way, error, interval, style=style)
        before = labels
    console.print(table)
    for labels, way, error, interval in report.rows_back():
        console.print(f"{labels:>6} labels, {way}: {error} ({interval})")
    console.print(
        "error: squared error over variance on held-out episodes, mean over the action's components (of the way back, "
        "over the latent's); 1 is the mean"
    )


def _summary(alignment: Alignment) -> str:
    """Summarise the fitted alignment in a line."""
    info = alignment.info
    reads = "label and frame" if alignment.needs_frames else "the label alone"
    scored = info.held_out.get("regressor")
    error = "not scored" if scored is None or scored.nmse is None else f"error {scored.nmse:.3f}"
    return (
        f"alignment to {len(info.actions)} numbers from {info.budget:,} labelled transitions (step {info.step}), "
        f"reads {reads}, {error}"
    )


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise DatasetError(f"--budgets: got {text!r}, expected whole numbers above 0 with commas between them")
    return tuple(int(part) for part in parts)


def _shipped(name: str) -> Path:
    try:
        return shipped(name)
    except ModelError as error:
        raise ModelError(
            f"the labels are of bundle {name}, which does not ship with Genie: give it with --bundle"
        ) from error


def _default_name(data: str, budget: int | None) -> str:
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(data).name.removesuffix(".hdf5").removesuffix(".labelled")).strip(
        "-._"
    )
    return f"{stem or 'actions'}-{budget or 'all'}"


__all__ = ["align", "print_report"]
