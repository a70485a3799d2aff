"""``genie demo``: everything that Genie does, on the sample that ships with it, in under a minute."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genie_client.cli.server import ModelsOption, ServerOption, connected

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from genie_client.demo import DemoResult


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for what is written.")] = Path("demo-out"),
    server: ServerOption = None,
    models: ModelsOption = None,
    sample: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Other robot video (HDF5) in place of the shipped sample.")
    ] = None,
) -> None:
    """Start a server, label the shipped sample, simulate what every action would do, and draw it."""
    from rich.console import Console

    from genie_client.demo import run_demo
    from genie_core.data.samples import sample_path

    console = Console(highlight=False)
    began = time.monotonic()
    with connected(server, models) as client:
        ready_s = time.monotonic() - began
        with Console(stderr=True).status("") as status:
            result = run_demo(client, sample or sample_path(), out, lambda what: status.update(f"{what} ..."))
    console.print(_facts(result, ready_s, time.monotonic() - began))
    console.print(_codes(result))
    _print_next(result, console)


def _facts(result: DemoResult, ready_s: float, total_s: float) -> Table:
    from rich.table import Table

    from genie_client.demo import HORIZON

    report, moment, branches = result.report, result.moment, 1 + result.report.model.num_codes
    facts = Table.grid(padding=(0, 2))
    facts.add_row("model", f"{report.model.name}, {report.model.parameters / 1e6:.1f}M parameters")
    facts.add_row("labelled", f"{report.labelled} episodes, {report.transitions:,} transitions, {report.frames:,} frames")
    facts.add_row("", f"{np_count(report.histogram)} of {report.model.num_codes} codes used")
    facts.add_row("simulated", f"{branches} futures of {HORIZON} frames from {moment.episode}, frame {moment.frame}")
    simulated_s = result.simulated.seconds
    facts.add_row("time", f"server ready {ready_s:.1f} s, labels {report.seconds:.1f} s, simulation {simulated_s:.1f} s")
    facts.add_row("", f"{total_s:.1f} s in all")
    return facts
