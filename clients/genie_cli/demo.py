"""``genie demo``: all that Genie does, on the shipped sample, in under a minute."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genie_cli.server import ModelsOption, ServerOption, connected

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from genie_cli.demo_run import DemoResult


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the outputs.")] = Path("demo-out"),
    server: ServerOption = None,
    models: ModelsOption = None,
    sample: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Robot video (HDF5) to use instead of the shipped sample.")
    ] = None,
) -> None:
    """Start a server, label the shipped sample, simulate the effect of every latent action, and draw the results."""
    from rich.console import Console

    from genie_cli.demo_run import run_demo
    from genie_core.bundles import DEMO

    console = Console(highlight=False)
    began = time.monotonic()
    with connected(server, models, DEMO if server is None and models is None else None) as client:
        ready_s = time.monotonic() - began
        with Console(stderr=True).status("") as status:
            result = run_demo(client, sample or _shipped_sample(), out, lambda what: status.update(f"{what} ..."))
    console.print(_facts(result, ready_s, time.monotonic() - began))
    console.print(_codes(result))
    _print_next(result, console)


def _shipped_sample() -> Path:
    from genie_core.data.samples import sample_path

    return sample_path()


def _facts(result: DemoResult, ready_s: float, total_s: float) -> Table:
    from rich.table import Table

    from genie_cli.demo_run import HORIZON

    report, moment, branches = result.report, result.moment, 1 + result.report.model.num_codes
    used = int((report.histogram > 0).sum())
    times = f"server ready {ready_s:.1f} s, labels {report.seconds:.1f} s, simulation {result.simulated.seconds:.1f} s"
    facts = Table.grid(padding=(0, 2))
    facts.add_row("model", f"{report.model.name}, {report.model.parameters / 1e6:.1f}M parameters")
    facts.add_row(
        "labelled", f"{report.labelled} episodes, {report.frames:,} frames, {report.transitions:,} transitions"
    )
    facts.add_row("codes", f"{used} of {report.model.num_codes} used")
    facts.add_row("simulated", f"{branches} futures of {HORIZON} frames from {moment.episode}, frame {moment.frame}")
    facts.add_row("time", f"{total_s:.1f} s: {times}")
    return facts


def _codes(result: DemoResult) -> Table:
    """Tabulate the codes in the sample, each in its colour."""
    from rich.table import Table
    from rich.text import Text

    report, motions = result.report, result.motions
    table = Table("", "code", "transitions", "confidence", box=None)
    if motions:
        table.add_column("end effector moves")
        table.add_column("agree")
    for code, count in enumerate(report.histogram.tolist()):
        chip = Text("██", style=f"#{report.model.palette[code]:06x}")
        row = [str(code), str(count)]
        if count:
            row.append(f"{report.confidence[code]:.2f}")
            row += [str(motions[code]), f"{motions[code].agreement:.0%}"] if motions else []
        table.add_row(chip, *row)
    return table


def _print_next(result: DemoResult, console: Console) -> None:
    look = f"rerun {result.recording}" if result.recording else "pip install 'genie-latent[view]'"
    lines = [
        f"picture      {result.sheet}",
        f"video        {result.video}",
        f"labels       {result.labelled}",
        f"recording    {result.recording or 'not written: Rerun is not installed'}",
        "",
        "Try next:",
        f"  {look}",
        f"  genie view {result.labelled}",
        "  genie inspect YOUR_DATA",
        "  genie label YOUR_DATA",
        f"  genie simulate --prompt {result.sheet.parent / 'labelled.hdf5'} --actions 0,0,0,1,1,1 --out what-if.mp4",
    ]
    console.print("\n".join(lines), soft_wrap=True, markup=False)


__all__ = ["demo"]
