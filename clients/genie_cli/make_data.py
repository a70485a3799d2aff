"""The command `genie make-data`. Imports the simulator only when it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from genie_core.errors import DatasetError
from genie_core.sim.config import LookStyle, Robot, SimConfig, Task


def make_data(
    out: Annotated[Path, typer.Argument(help="HDF5 file to write, in robomimic's layout.")],
    robot: Annotated[Robot, typer.Option(help="The arm.")] = "Panda",
    task: Annotated[Task, typer.Option(help="Lift one cube, or Stack two.")] = "Lift",
    episodes: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    frames: Annotated[int, typer.Option(help="Frames an episode, 10 a second.")] = 50,
    size: Annotated[int, typer.Option(help="Height and width of a frame, pixels.")] = 64,
    looks: Annotated[
        LookStyle, typer.Option(help="Everything drawn anew for each episode, or one room.")
    ] = "randomised",
    camera_jitter: Annotated[
        float | None, typer.Option(help="Scale of the camera's displacement; by looks if not given.")
    ] = None,
    seed: Annotated[int, typer.Option(help="An episode depends on the seed and its number alone.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 for one a core.")] = 0,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
) -> None:
    """Make simulated robot video with known actions (needs the extra `sim`). Run again to resume."""
    from genie_core.sim.generate import generate

    try:
        config = SimConfig(
            robot=robot, task=task, frames=frames, size=size, seed=seed, looks=looks, camera_jitter=camera_jitter
        )
    except ValidationError as error:
        raise DatasetError("; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())) from error
    columns = (TextColumn("episodes"), BarColumn(), MofNCompleteColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        row = bar.add_task("episodes", total=episodes)
        generate(
            config,
            episodes,
            out,
            workers=workers or os.cpu_count() or 1,
            progress=lambda done, total: bar.update(row, completed=done, total=total),
            overwrite=overwrite,
        )
    typer.echo(f"{out}: {episodes} episodes, {episodes * frames} frames, {out.stat().st_size / 2**20:.1f} MiB")


__all__ = ["make_data"]
