"""``genie inspect``: contents of a dataset, and whether and how it can be labelled."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from genie_cli.reading_options import each_camera, reads_data, said_words
from genie_cli.shared_options import DataArgument, JsonOption
from genie_core.data.dataset import ReadOptions

if TYPE_CHECKING:
    from genie_core.data import DatasetReport

_LISTED = 20
"""Number of episodes listed; the JSON lists all."""


@reads_data(short=True)
def inspect(
    data: DataArgument,
    reading: ReadOptions,
    thorough: Annotated[bool, typer.Option("--thorough", help="Read every frame, to find damaged ones.")] = False,
    find_step: Annotated[
        bool,
        typer.Option("--step", help="Find the transition length that genie label --step auto would; needs extra core."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Describe a dataset, and say whether it can be labelled. Exit code 1 if it cannot."""
    from genie_core.data import inspect_dataset

    readings = each_camera(data, reading)
    reports = [inspect_dataset(data, options=options, thorough=thorough) for options in readings]
    for report, options in zip(reports, readings, strict=True):
        if as_json:
            typer.echo(report.model_dump_json(indent=2))
            continue
        _print_report(report, options)
        if find_step and report.episodes:
            _print_step(data, options)
    if not all(report.can_label for report in reports):
        raise typer.Exit(1)


def _print_report(report: DatasetReport, reading: ReadOptions) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    facts = Table.grid(padding=(0, 2))
    facts.add_row("format", f"{report.format}, {report.files} file{'s' if report.files != 1 else ''}")
    facts.add_row("", escape(f"recognised: {report.why}"))
    if report.episodes:
        facts.add_row("episodes", f"{len(report.episodes)}, {report.frames:,} frames")
    facts.add_row("cameras", ", ".join(report.cameras) or "none")
    if report.camera and len(report.cameras) > 1:
        facts.add_row("", f"{report.camera} is labelled unless --camera names another")
    known = {episode.fps for episode in report.episodes}
    rate = (
        f"{report.fps:g}, {report.fps_source}" if report.fps else "unknown" if known == {None} else "not all the same"
    )
    if report.episodes:
        facts.add_row("frames/s", rate)
        facts.add_row("pictures", _pictures(report))
    if report.labelled_by:
        facts.add_row("labels", f"carries those of {', '.join(report.labelled_by)}")
    console.print(facts)
    episodes = Table("episode", "frames", "size", "frames/s", "", box=None)
    for episode in report.episodes[:_LISTED]:
        size = "" if episode.height is None else f"{episode.height} x {episode.width}"
        frames = "" if episode.frames is None else str(episode.frames)
        rate = "" if episode.fps is None else f"{episode.fps:g}"
        episodes.add_row(escape(episode.name), frames, size, rate, escape(episode.problem or ""))
    console.print(episodes)
    if len(report.episodes) > _LISTED:
        console.print(f"and {len(report.episodes) - _LISTED} more episodes (--json lists all)")
    for fact in report.facts:
        console.print(f"[cyan]note:[/] {escape(fact)}")
    for warning in report.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}")
    for obstacle in report.obstacles:
        console.print(f"[red]in the way:[/] {escape(obstacle)}")
    console.print(_verdict(report, reading), soft_wrap=True, markup=False)


def _print_step(data: str, reading: ReadOptions) -> None:
    from genie_cli.label_report import print_steps
    from genie_core.bundles import shipped
    from genie_core.data import open_dataset
    from genie_core.inference.auto_step import find_steps_with
    from genie_core.models.bundle import load_bundle

    episodes = open_dataset(data, options=reading, check=False).episodes
    print_steps(find_steps_with(load_bundle(shipped()), episodes))


def _pictures(report: DatasetReport) -> str:
    way = "upside down, turned over when read" if report.upside_down else "taken to be the right way up"
    turned = "" if report.rotate is None else f", turned by {report.rotate} degrees clockwise as you said"
    return f"stored as {report.colour.upper()}, {way}{turned}"


def _verdict(report: DatasetReport, reading: ReadOptions) -> str:
    if not report.can_label:
        return "cannot be labelled as it is"
    skip = " --skip-bad" if any(episode.problem for episode in report.episodes) else ""
    return f"can be labelled: genie label {shlex.join([report.path, *said_words(reading)])}{skip}"


__all__ = ["inspect"]
