"""The command `genie bc`. Imports torch and the simulator only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genie_cli.progress import part_progress
from genie_core.errors import RequestError
from genie_core.sim import LookStyle
from genie_core.sim.task_reach import ExpertStyle

if TYPE_CHECKING:
    from genie_core.cloning.plan import Extent


def bc(
    bundle: Annotated[
        str, typer.Argument(help="Bundle whose latent actions are cloned: a folder, or the name of a shipped one.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for everything made; rerun with the same one to resume.")],
    labelled: Annotated[
        str, typer.Option(metavar="N,N,...", help="Numbers of labelled steps, separated by commas.")
    ] = "10,50,200,1000",
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds; each trains policies and draws labels anew.")] = 5,
    episodes: Annotated[int, typer.Option(min=1, help="Rollouts per condition, from the same start states.")] = 100,
    only: Annotated[
        str,
        typer.Option(
            metavar="POLICY,...",
            help="Policies to compare: oracle, codes, expected, fine, latents, vpt, flow_codes, flow, labels, random. "
            "By default all that the bundle allows.",
        ),
    ] = "",
    looks: Annotated[
        LookStyle, typer.Option(help="One fixed room, or looks drawn anew for each episode.")
    ] = "laboratory",
    expert: Annotated[
        ExpertStyle, typer.Option(help="How the expert moves: one axis at a time, or straight, which mixes them.")
    ] = "axes",
    demonstrations: Annotated[int, typer.Option(min=2, help="Number of the expert's episodes, as video.")] = 400,
    steps: Annotated[int, typer.Option(min=1, help="Training steps per policy.")] = 1000,
    frames: Annotated[int, typer.Option(min=1, max=16, help="Number of last frames that a policy sees.")] = 2,
    jobs: Annotated[int, typer.Option(min=1, help="Number of processes, one thread each.")] = 1,
) -> None:
    """Clone behaviour from action-free video, map it to actions by N labelled steps, count success (extra `sim`)."""
    extent = _extent(only, labelled, seeds, episodes)
    from genie_core.bundles import bundle_folder
    from genie_core.cloning.experiment import run_experiment
    from genie_core.cloning.plan import CloningConfig
    from genie_core.cloning.policy import PolicyConfig
    from genie_core.cloning.report import PLOT, TABLE, make_report, render_table, write_report
    from genie_core.cloning.task import ReachTask
    from genie_core.models.bundle import load_bundle

    task = ReachTask(looks=looks, expert=expert)
    task.check()
    config = CloningConfig(demonstrations=demonstrations, policy=PolicyConfig(steps=steps, frames=frames))
    loaded = load_bundle(bundle_folder(bundle))
    if not only and loaded.info.fine_codebook is None:
        extent = extent.model_copy(update={"methods": tuple(m for m in extent.methods if m != "fine")})
    with part_progress() as progress:
        store = run_experiment(task, loaded, config, extent, out, jobs, progress)
    report = make_report(store, task.max_steps, extent)
    write_report(out, report)
    typer.echo(render_table(report))
    typer.echo(f"wrote {out / TABLE} and {out / PLOT}")


def _extent(only: str, labelled: str, seeds: int, episodes: int) -> Extent:
    """Parse what to run. Raises RequestError unless both are lists of known values."""
    from genie_core.cloning.plan import METHODS, Extent

    wanted = [name.strip() for name in only.split(",")] if only else list(METHODS)
    unknown = [name for name in wanted if name not in METHODS]
    if unknown:
        raise RequestError("--only", f"got {unknown[0]!r}, expected some of {', '.join(METHODS)}")
    try:
        numbers = sorted({int(word) for word in labelled.split(",")})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < 1:
        raise RequestError("--labelled", f"got {labelled!r}, expected whole numbers from 1, separated by commas")
    return Extent(
        methods=tuple(method for method in METHODS if method in wanted),
        labelled=tuple(numbers),
        seeds=seeds,
        episodes=episodes,
    )


__all__ = ["bc"]
