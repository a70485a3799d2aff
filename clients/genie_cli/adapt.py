"""The command `genie adapt`: a bundle fitted to one's own video, without labels. Imports torch only when it runs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genie_cli.reading_options import reads_data
from genie_cli.shared_options import DeviceOption, SeedOption, ThreadsOption
from genie_cli.sources import listed_sources, split_episodes
from genie_core.data import ReadOptions
from genie_core.errors import DatasetError

if TYPE_CHECKING:
    from genie_core.training.adapt import AdaptReport


@reads_data(short=False)
def adapt(
    bundle: Annotated[str, typer.Argument(help="The bundle to start from: a folder, or the name of a shipped one.")],
    data: Annotated[list[str] | None, typer.Argument(help="Your robot video: files, folders or URLs.")] = None,
    out: Annotated[Path | None, typer.Option(help="The derived bundle's folder.")] = None,
    minutes: Annotated[
        float,
        typer.Option("--train", min=0, metavar="MINUTES", help="Also tune the networks, for this long; 0: codes only."),
    ] = 0.0,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Tune each for this many steps instead, which gives the same weights on any machine."),
    ] = None,
    fine_codes: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Number of fine codes. [default: as many as BUNDLE has]")
    ] = None,
    keep_codes: Annotated[
        bool, typer.Option("--keep-codes", help="Leave the codes as they are, fit fine ones.")
    ] = False,
    sources: Annotated[
        Path | None, typer.Option(help="More DATA, each read in its own way: a JSON list, as for `genie train`.")
    ] = None,
    hold_out: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of each dataset's episodes kept out, for the scores.")
    ] = 0.2,
    seed: SeedOption = 0,
    force: Annotated[bool, typer.Option("--force", help="Write the bundle even if it is not better.")] = False,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 0,
    *,
    reading: ReadOptions,
) -> None:
    """Fit a bundle to your own robot video, without labels: codes in seconds, its networks in minutes if asked.

    Writes a derived bundle if its labels predict more of the motion in held-out video than those of BUNDLE.
    """
    wanted = [(path, reading) for path in data or ()]
    wanted += listed_sources(sources, reading) if sources is not None else []
    if not wanted or out is None:
        raise DatasetError("adapting needs DATA (or --sources) and --out BUNDLE")
    import torch

    from genie_core.bundles import bundle_folder
    from genie_core.training.adapt import AdaptJob
    from genie_core.training.adapt import adapt as run
    from genie_core.training.pipeline import TrainingSplit
    from genie_core.training.reporting import TerminalReporter

    if threads:
        torch.set_num_threads(threads)
    job = AdaptJob(
        parent=bundle_folder(bundle),
        data=TrainingSplit(*split_episodes(wanted, hold_out, seed)),
        out=out,
        minutes=minutes,
        steps=steps,
        seed=seed,
        fine_codes=fine_codes,
        keep_codes=keep_codes,
        force=force,
        device=device,
        command=shlex.join(["genie", *sys.argv[1:]]),
    )
    with TerminalReporter(out.with_name(out.name + ".run")) as reporter:
        report = run(job, reporter)
    print_report(report)
    typer.echo(
        f"bundle {report.info.bundle_id[:12]} written to {out}: genie label DATA --models {shlex.quote(str(out))}"
    )


def print_report(report: AdaptReport) -> None:
    """Print how a bundle was fitted, and its scores beside its parent's."""
    from rich.console import Console
    from rich.table import Table

    from genie_core.training.adapt_card import KINDS, tuned_names

    train, held_out = report.transitions
    table = Table("of what moves in held-out video, labels tell", "before", "after", box=None)
    for kind, after in report.after.items():
        before = report.before.get(kind)
        table.add_row(KINDS[kind], "" if before is None else f"{before:.3f}", f"{after:.3f}")
    table.add_row("most frequent code where something moves", f"{report.top_before:.0%}", f"{report.top_after:.0%}")
    console = Console(highlight=False)
    console.print(f"fitted to {train:,} transitions, scored on {held_out:,}")
    for found in () if report.auto_steps is None else report.auto_steps.found:
        rate = "" if found.fps is None else f" at {found.fps:g} frames/s"
        console.print(f"transitions of {found.step} frames{rate}, as genie label --step auto")
    if report.tuned_steps:
        console.print(f"{tuned_names(report.info.config)}: tuned for {report.tuned_steps:,} steps each")
    console.print(table)
    if report.tuned_steps and report.after["latent"] < report.before["latent"]:
        console.print("latents tell less than the parent's did: to learn from latents, leave out --train")
    if max(report.after.values()) <= 0:
        console.print(
            "note: below 0 labels tell less than the mean motion does: the video held out is unlike the rest, or there "
            "is too little of it; hold the labels against the video, or add more",
            soft_wrap=True,
        )
    for level, renumbered in report.renumbered.items():
        same = int(renumbered.same_K.sum())
        console.print(f"{same} of {len(renumbered.same_K)} {KINDS[level]}s mean what they mean in the parent")


__all__ = ["adapt", "print_report"]
