"""The command `genie make-data`. Imports the simulator only when it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from genie_cli.progress import progress_bar
from genie_core.errors import DatasetError, problems_of
from genie_core.sim.config import LIMITS, LookStyle, Range, Robot, SimConfig, Task

VIEW, MOTION, NOISE, COST, TRUTH = "Camera", "Motion", "Disturbances", "Cost", "Truth"
"""Panels of the help page."""


def read_range(option: str, text: str) -> Range:
    """The two ends of "LOW:HIGH", or one number for both."""
    low, _, high = text.partition(":")
    try:
        return float(low), float(high or low)
    except ValueError:
        raise DatasetError(f"{option}: got {text!r}, expected a number or LOW:HIGH, such as 80 or -120:120") from None


def _range_help(name: str, meaning: str) -> str:
    least, most = LIMITS[name]
    return f"{meaning}: a number, or LOW:HIGH to draw from for each episode ({least:g} to {most:g})."


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
    azimuth: Annotated[
        str,
        typer.Option(
            help=_range_help("azimuth", "Where the camera stands, degrees, 0 facing the robot and 90 on its left"),
            rich_help_panel=VIEW,
        ),
    ] = "32",
    elevation: Annotated[
        str,
        typer.Option(help=_range_help("elevation", "Degrees above the horizon"), rich_help_panel=VIEW),
    ] = "33",
    distance: Annotated[
        str, typer.Option(help=_range_help("distance", "Metres from the table's middle"), rich_help_panel=VIEW)
    ] = "0.9",
    motion: Annotated[
        list[str] | None,
        typer.Option(
            help="What an episode does: axes (one at a time), mixed (all at once), smooth, play (axes, now and then"
            " mixed) or script (pick and place). Give it several times to draw from, one twice for double odds. If not"
            " given: 60 % play, 30 % script, 10 % smooth.",
            rich_help_panel=MOTION,
        ),
    ] = None,
    speed: Annotated[str, typer.Option(help=_range_help("speed", "Part of full speed"), rich_help_panel=MOTION)] = "1",
    distractors: Annotated[
        int, typer.Option(help="Bodies that move about beside the workspace.", rich_help_panel=NOISE)
    ] = 0,
    shake: Annotated[
        float,
        typer.Option(help="Camera shake: standard deviation in pixels, anew each frame.", rich_help_panel=NOISE),
    ] = 0.0,
    pan: Annotated[float, typer.Option(help="Slow pan, pixels a frame.", rich_help_panel=NOISE)] = 0.0,
    flicker: Annotated[
        float, typer.Option(help="Standard deviation of each frame's relative brightness.", rich_help_panel=NOISE)
    ] = 0.0,
    depth: Annotated[bool, typer.Option("--depth", help="Store depth in metres too.", rich_help_panel=TRUTH)] = False,
    flow: Annotated[
        bool,
        typer.Option("--flow", help="Store the true optical flow to the next frame, pixels.", rich_help_panel=TRUTH),
    ] = False,
    shadows: Annotated[
        bool, typer.Option(help="Cast shadows: most of what a frame costs to draw.", rich_help_panel=COST)
    ] = True,
    mesh_faces: Annotated[
        int, typer.Option(help="Most triangles in a robot's part; 0: as they come.", rich_help_panel=COST)
    ] = 2000,
    supersample: Annotated[
        int, typer.Option(help="Rendered pixels for each stored one, a side.", rich_help_panel=COST)
    ] = 2,
    physics_step_ms: Annotated[
        int,
        typer.Option(
            help="The simulator's own step, 2, 4 or 5: longer is cheaper, and commands are followed less exactly.",
            rich_help_panel=COST,
        ),
    ] = 2,
    seed: Annotated[int, typer.Option(help="An episode depends on the seed and its number alone.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 for one a core.")] = 0,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
) -> None:
    """Make simulated robot video with known actions (needs the extra `sim`). Run again to resume."""
    from genie_core.sim.generate import generate

    try:
        config = SimConfig(
            robot=robot,
            task=task,
            frames=frames,
            size=size,
            seed=seed,
            looks=looks,
            camera_jitter=camera_jitter,
            shadows=shadows,
            mesh_faces=mesh_faces,
            supersample=supersample,
            physics_step_ms=physics_step_ms,  # pydantic says which there are
            azimuth=read_range("--azimuth", azimuth),
            elevation=read_range("--elevation", elevation),
            distance=read_range("--distance", distance),
            motions=tuple(motion or ()),  # pydantic says which there are
            speed=read_range("--speed", speed),
            distractors=distractors,
            shake_px=shake,
            pan_px=pan,
            flicker=flicker,
            depth=depth,
            flow=flow,
        )
    except ValidationError as error:
        raise DatasetError(problems_of(error)) from error
    with progress_bar("simulating", episodes, "episodes") as bar:
        generate(
            config,
            episodes,
            out,
            workers=workers or os.cpu_count() or 1,
            progress=bar.set,
            overwrite=overwrite,
        )
    typer.echo(f"{out}: {episodes} episodes, {episodes * frames} frames, {out.stat().st_size / 2**20:.1f} MiB")


__all__ = ["make_data"]
