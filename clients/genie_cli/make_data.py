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
    """Parse "LOW:HIGH", or one number for both."""
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
    robot: Annotated[Robot, typer.Option(help="The robot: one arm; Baxter, GR1ArmsOnly: two.")] = "Panda",
    task: Annotated[Task, typer.Option(help="Lift one cube, or Stack two.")] = "Lift",
    episodes: Annotated[int, typer.Option(min=1, help="How many.")] = 20,
    frames: Annotated[int, typer.Option(help="Frames per episode, at 10 Hz.")] = 50,
    size: Annotated[int, typer.Option(help="Height and width of frames, pixels.")] = 64,
    looks: Annotated[
        LookStyle, typer.Option(help="Draw colours, light and camera anew for each episode, or keep one room.")
    ] = "randomised",
    camera_jitter: Annotated[
        float | None, typer.Option(help="Scale of the camera's random displacement; default: by --looks.")
    ] = None,
    azimuth: Annotated[
        str,
        typer.Option(
            help=_range_help("azimuth", "Azimuth of the camera, degrees, 0 facing the robot and 90 on its left"),
            rich_help_panel=VIEW,
        ),
    ] = "32",
    elevation: Annotated[
        str,
        typer.Option(
            help=_range_help("elevation", "Elevation of the camera, degrees above the horizon"), rich_help_panel=VIEW
        ),
    ] = "33",
    distance: Annotated[
        str,
        typer.Option(
            help=_range_help("distance", "Distance of the camera from what it looks at, metres"), rich_help_panel=VIEW
        ),
    ] = "0.9",
    motion: Annotated[
        list[str] | None,
        typer.Option(
            help="Motion: axes (one at a time), mixed (all at once), smooth, play (axes, now and then mixed) or script"
            " (pick and place). Repeat it to draw from several; a repeated one has double odds. Default: 60 % play,"
            " 30 % script, 10 % smooth.",
            rich_help_panel=MOTION,
        ),
    ] = None,
    speed: Annotated[
        str, typer.Option(help=_range_help("speed", "Fraction of full speed"), rich_help_panel=MOTION)
    ] = "1",
    distractors: Annotated[
        int, typer.Option(help="Number of bodies that move beside the workspace.", rich_help_panel=NOISE)
    ] = 0,
    shake: Annotated[
        float,
        typer.Option(help="Camera shake: standard deviation in pixels, drawn anew each frame.", rich_help_panel=NOISE),
    ] = 0.0,
    pan: Annotated[float, typer.Option(help="Slow camera pan, pixels per frame.", rich_help_panel=NOISE)] = 0.0,
    flicker: Annotated[
        float,
        typer.Option(help="Flicker: standard deviation of each frame's relative brightness.", rich_help_panel=NOISE),
    ] = 0.0,
    depth: Annotated[bool, typer.Option("--depth", help="Also store depth, metres.", rich_help_panel=TRUTH)] = False,
    flow: Annotated[
        bool,
        typer.Option(
            "--flow", help="Also store the true optical flow to the next frame, pixels.", rich_help_panel=TRUTH
        ),
    ] = False,
    shadows: Annotated[
        bool, typer.Option(help="Cast shadows, which take most of the rendering time.", rich_help_panel=COST)
    ] = True,
    mesh_faces: Annotated[
        int, typer.Option(help="Maximum triangles per part of the robot; 0: no limit.", rich_help_panel=COST)
    ] = 2000,
    supersample: Annotated[
        int,
        typer.Option(help="Supersampling: rendered pixels per stored pixel, along each side.", rich_help_panel=COST),
    ] = 2,
    physics_step_ms: Annotated[
        int,
        typer.Option(
            help="Physics step, 2, 4 or 5 ms: a longer one is cheaper and follows commands less exactly.",
            rich_help_panel=COST,
        ),
    ] = 2,
    seed: Annotated[int, typer.Option(help="Random seed; an episode depends on it and its number alone.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Number of processes; 0: one per core.")] = 0,
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
