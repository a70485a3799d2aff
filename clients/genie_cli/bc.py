"""The command `genie bc`. Imports torch and the simulator only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genie_cli.progress import part_progress
from genie_core.errors import RequestError
from genie_core.sim import LookStyle

if TYPE_CHECKING:
    from genie_core.cloning.plan import Extent


def bc(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle whose latent actions are cloned.")],
    out: Annotated[Path, typer.Option(help="Folder of everything that is made; the same one goes on.")],
    labelled: Annotated[
        str, typer.Option(metavar="N,N,...", help="Numbers of labelled steps, with commas between.")
    ] = "10,50,200,1000",
    seeds: Annotated[int, typer.Option(min=1, help="Policies trained and labels drawn anew, seed by seed.")] = 5,
    episodes: Annotated[int, typer.Option(min=1, help="Rolled out for each condition, from the same starts.")] = 100,
    only: Annotated[
        str, typer.Option(help="Policies to compare, with commas between.")
    ] = "oracle,codes,expected,latents,labels,random",
    looks: Annotated[
        LookStyle, typer.Option(help="One room, or everything drawn anew for each episode.")
    ] = "laboratory",
    demonstrations: Annotated[int, typer.Option(min=2, help="The expert's episodes, as video.")] = 400,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of every policy.")] = 1000,
    frames: Annotated[int, typer.Option(min=1, max=16, help="Last frames that a policy sees.")] = 2,
    jobs: Annotated[int, typer.Option(min=1, help="Processes at work, one thread each.")] = 1,
) -> None:
    """Clone behaviour from video without actions, give it N labelled steps, count success (needs the extra `sim`)."""
    extent = _extent(only, labelled, seeds, episodes)
    from genie_core.cloning.experiment import run_experiment
    from genie_core.cloning.plan import CloningConfig
    from genie_core.cloning.policy import PolicyConfig
    from genie_core.cloning.report import PLOT, TABLE, make_report, render_table, write_report
    from genie_core.cloning.task import ReachTask
    from genie_core.models.bundle import load_bundle

    task = ReachTask(looks=looks)
    task.check()
    config = CloningConfig(demonstrations=demonstrations, policy=PolicyConfig(steps=steps, frames=frames))
    loaded = load_bundle(bundle)
    with part_progress() as progress:
        store = run_experiment(task, loaded, config, extent, out, jobs, progress)
    report = make_report(store, task.max_steps, extent)
    write_report(out, report)
    typer.echo(render_table(report))
    typer.echo(f"wrote {out / TABLE} and {out / PLOT}")


def _extent(only: str, labelled: str, seeds: int, episodes: int) -> Extent:
    """What is asked for. Raises RequestError where it is no list of known things."""
    from genie_core.cloning.plan import METHODS, Extent

    wanted = [name.strip() for name in only.split(",")]
    unknown = [name for name in wanted if name not in METHODS]
    if unknown:
        raise RequestError("--only", f"there is no policy {unknown[0]!r}; there are: {', '.join(METHODS)}")
    try:
        numbers = sorted({int(word) for word in labelled.split(",")})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < 1:
        raise RequestError("--labelled", f"got {labelled!r}, expected whole numbers from 1 with commas between")
    return Extent(
        methods=tuple(method for method in METHODS if method in wanted),
        labelled=tuple(numbers),
        seeds=seeds,
        episodes=episodes,
    )


__all__ = ["bc"]
