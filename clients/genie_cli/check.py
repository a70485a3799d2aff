"""The command `genie check`. Imports torch only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genie_cli.progress import part_progress

if TYPE_CHECKING:
    from genie_core.checking.report import CheckReport
    from genie_core.checking.rules import Judged

_LISTED = 10
"""Number of episodes to delete that are listed; the JSON lists all."""


def check(
    labelled: Annotated[str, typer.Argument(metavar="LABELLED", help="A file that `genie label` has written.")],
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle that made the labels. [default: the shipped one of that name]")
    ] = None,
    labels_only: Annotated[
        bool, typer.Option("--labels-only", help="Look at the labels alone: no bundle, no pictures, no actions.")
    ] = False,
    actions_from: Annotated[
        str | None,
        typer.Option(
            metavar="REAL", help="Dataset with the robot's actions. [default: LABELLED, or the source it names]"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    parquet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a Parquet file with a row for each episode.")
    ] = None,
    device: Annotated[str, typer.Option(help="Torch device: cpu, cuda or cuda:N.")] = "cpu",
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random draws.")] = 0,
) -> None:
    """Say whether labels are fit to train on, with reasons: fit, fit with care, or do not use.

    Changes nothing. Exit code 1 if they should not be used.
    """
    from genie_core.bundles import shipped
    from genie_core.checking.report import write_episodes
    from genie_core.checking.run import CheckPlan, check_labelled
    from genie_core.data import open_labelled
    from genie_core.data.storage.location import source_path
    from genie_core.errors import DatasetError, ModelError

    path = source_path(labelled)
    if parquet is not None and parquet.exists():
        raise DatasetError(f"{parquet} exists: choose another name for --parquet")
    if bundle is None and not labels_only:
        try:
            bundle = shipped(open_labelled(path).model.bundle_name)
        except ModelError:
            bundle = None  # told below, as what could not be measured
    plan = CheckPlan(
        None if labels_only else bundle,
        pictures=not labels_only,
        actions_from=None if actions_from is None else source_path(actions_from),
        device=device,
        seed=seed,
    )
    with part_progress() as progress:
        report = check_labelled(path, plan, progress)
    if parquet is not None:
        write_episodes(parquet, report.episodes)
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        _print(report)
        if parquet is not None:
            typer.echo(f"wrote {parquet}")
    if report.verdict == "do not use":
        raise typer.Exit(1)


def _print(report: CheckReport) -> None:
    labels = sum(e.labelled for e in report.episodes)
    typer.echo(f"{report.path}: {len(report.episodes)} episodes, {labels} labels of {report.bundle}")
    shares = ", ".join(f"{code}: {share:.0%}" for code, share in enumerate(report.code_share) if share >= 0.005)
    typer.echo(f"codes: {shares}")
    for one in report.judged:
        typer.echo(f"  {_MARKS[one.level]}  {_number(one)}  {one.about}")
    for name, metric in report.metrics.items():
        if name not in {one.name for one in report.judged}:
            typer.echo(f"        {metric.value:9.3g}  {name}")
    for name, why in report.missing.items():
        typer.echo(f"not measured: {name}: {why}")
    doomed = [e for e in report.episodes if e.delete]
    for episode in doomed[:_LISTED]:
        typer.echo(f"better deleted: {episode.episode}: {episode.why}")
    if len(doomed) > _LISTED:
        typer.echo(f"... and {len(doomed) - _LISTED} more; --json and --parquet have them all")
    if report.delete_command is not None:
        typer.echo(f"to delete them: {report.delete_command}")
    typer.echo(f"\nverdict: {report.verdict}")
    for one in report.decided_by:
        stop = "" if one.stop is None else f", do not use from {one.stop:g}"
        typer.echo(f"  {one.name} {one.value:.3g} (care from {one.care:g}{stop}): {one.about}")
    for advice in dict.fromkeys(one.next for one in report.decided_by if one.next):
        typer.echo(f"next: {advice}")


_MARKS = {"good": "good", "care": "CARE", "stop": "STOP"}


def _number(one: Judged) -> str:
    interval = "" if one.ci95 is None else f"[{one.ci95[0]:.3g}, {one.ci95[1]:.3g}]"
    return f"{one.value:9.3g} {interval:18}"


__all__ = ["check"]
