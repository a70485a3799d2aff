"""The command `genie compare`: the codes of a new bundle in terms of an old one. Imports torch only when it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from genie_cli.progress import part_progress
from genie_cli.reading_options import reads_data
from genie_cli.shared_options import DataArgument, DeviceOption, EpisodesOption, JsonOption, SeedOption, ThreadsOption
from genie_cli.step_option import found_step, read_step, step_option
from genie_core.data import ReadOptions, open_dataset
from genie_core.evaluation.options import EvaluationOptions

if TYPE_CHECKING:
    from genie_core.evaluation.bundle_comparison import BundleComparison


@reads_data(short=False)
def compare(
    old: Annotated[str, typer.Argument(help="The old bundle: a folder, or the name of a shipped one.")],
    new: Annotated[str, typer.Argument(help="The new one.")],
    data: DataArgument,
    episodes: EpisodesOption = 40,
    step: Annotated[
        str | None,
        step_option("Transition length of both. [default: auto, if latents of OLD measure motion; else rates]"),
    ] = None,
    as_json: JsonOption = False,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 0,
    *,
    reading: ReadOptions,
) -> None:
    """Translate the codes of a new bundle into those of an old one, and say how well the two agree."""
    import contextlib
    import sys

    dataset = open_dataset(data, options=reading)
    import numpy as np
    import torch

    from genie_core.bundles import bundle_folder
    from genie_core.evaluation.bundle_comparison import compare_bundles
    from genie_core.models.bundle import load_bundle

    if threads:
        torch.set_num_threads(threads)
    before, after = (load_bundle(bundle_folder(name), device) for name in (old, new))
    with contextlib.redirect_stdout(sys.stderr):
        chosen = found_step(before, dataset, read_step(step))
    options = EvaluationOptions(episodes=episodes, subset="all", step=chosen, seed=seed)
    with part_progress() as progress:
        found = compare_bundles(before, after, dataset, options, np.random.default_rng(seed), progress)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        _print(found)


def _print(found: BundleComparison) -> None:
    from rich.console import Console
    from rich.table import Table

    headings = (f"{found.new_bundle} code", f"is {found.old_bundle} code", "share", "agree", "else most often")
    table = Table(*headings, box=None)
    for one in found.codes:
        table.add_row(
            str(one.new),
            "" if one.old is None else str(one.old),
            f"{one.share:.1%}",
            "" if one.agreement is None else f"{one.agreement:.0%}",
            "" if one.next_old is None else f"{one.next_old} ({one.next_share:.0%})",
        )
    console = Console(highlight=False)
    console.print(f"{found.transitions:,} transitions of {found.data}", soft_wrap=True)
    console.print(table)
    value, interval = found.agreement.value, found.agreement.ci95
    within = "" if interval is None else f" (95% interval {interval[0]:.0%} to {interval[1]:.0%})"
    where = "episodes that codes were not matched on" if found.held_out else "the episode that codes were matched on"
    console.print(f"translated, the codes agree on {value:.0%}{within} of {where}; kappa {found.kappa:.2f}")


__all__ = ["compare"]
