"""The command `genie scaling`. Imports torch only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genie_cli.reading_options import reads_data
from genie_cli.shared_options import DataArgument, DeviceOption, ThreadsOption
from genie_core.data import ReadOptions, open_dataset
from genie_core.errors import ModelError, RequestError


@reads_data(short=False)
def scaling(
    data: DataArgument,
    out: Annotated[Path, typer.Option(help="Folder of runs, figure and page; run again with the same one to go on.")],
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle whose tokens and latent actions are learnt. [default: the shipped tiny]")
    ] = None,
    sizes: Annotated[
        str, typer.Option(help="Dynamics models to train: LAYERSxWIDTH with commas, from small to large.")
    ] = "1x32,2x64,3x96,4x128",
    batches: Annotated[
        str, typer.Option(help="Clips a step to train the second size with besides --batch, with commas.")
    ] = "2,4,16",
    batch: Annotated[int, typer.Option(min=1, help="Clips a step.")] = 8,
    steps: Annotated[int, typer.Option(min=2, help="Steps of every run.")] = 400,
    clip_frames: Annotated[int, typer.Option(min=2, help="Frames of a clip, at the model's rate.")] = 8,
    most_episodes: Annotated[
        int, typer.Option(min=2, help="Maximum number of episodes of DATA to use, from the first on.")
    ] = 100_000,
    hold_out: Annotated[float, typer.Option(min=0.01, max=0.9, help="Share of episodes held out.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, clips and masks.")] = 0,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 0,
    *,
    reading: ReadOptions,
) -> None:
    """Train dynamics models of several sizes and batches on the same tokens, and draw the paper's Figure 9."""
    from genie_core.bundles import models_dir
    from genie_core.scaling.plan import ScalingPlan, Size

    ladder = tuple(Size(layers=layers, dim=dim) for layers, dim in (_size(part) for part in sizes.split(",")))
    if len({size.name for size in ladder}) < 2:
        raise RequestError("--sizes", f"got {sizes!r}, expected two different sizes or more")
    plan = ScalingPlan(
        sizes=ladder,
        batches=tuple(_number(part) for part in batches.split(",") if part.strip()),
        batch=batch,
        steps=steps,
        clip_frames=clip_frames,
        held_out=hold_out,
        seed=seed,
    )
    episodes = open_dataset(data, options=reading).episodes[:most_episodes]
    import torch

    from genie_core.models.bundle import load_bundle
    from genie_core.scaling.report import FIGURE, PAGE, write_study
    from genie_core.scaling.run import study

    if threads:
        torch.set_num_threads(threads)
    if len(episodes) < 2:
        raise ModelError(f"{data}: got {len(episodes)} episode, expected two or more: one is held out")
    found = study(load_bundle(bundle or models_dir() / "tiny", device), episodes, plan, out, typer.echo)
    write_study(found, out)
    typer.echo(f"{out / PAGE} and {out / FIGURE}")


def _size(text: str) -> tuple[int, int]:
    layers, _, width = text.strip().partition("x")
    if not (layers.isdecimal() and width.isdecimal() and int(layers) and int(width) and int(width) % 16 == 0):
        raise RequestError("--sizes", f"got {text!r}, expected LAYERSxWIDTH with a width that 16 divides: 2x64")
    return int(layers), int(width)


def _number(text: str) -> int:
    if not text.strip().isdecimal() or not int(text):
        raise RequestError("--batches", f"got {text!r}, expected numbers above 0 with commas: 2,4,16")
    return int(text)


__all__ = ["scaling"]
