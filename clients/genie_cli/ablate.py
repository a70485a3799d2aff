"""The command `genie ablate`. Imports torch only when it runs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genie_cli.progress import part_progress
from genie_cli.reading_options import reads_data
from genie_cli.shared_options import DataArgument, DeviceOption, SeedOption, ThreadsOption
from genie_core import __version__
from genie_core.data import Dataset, ReadOptions, open_dataset
from genie_core.errors import DatasetError
from genie_core.evaluation.options import EvaluationOptions

if TYPE_CHECKING:
    from genie_core.ablation.plan import Base, Table
    from genie_core.ablation.report import Setting
    from genie_core.ablation.run import AblationEpisodes

DEFAULTS = EvaluationOptions(supervised_steps=0)


@reads_data(short=False)
def ablate(
    data: DataArgument,
    out: Annotated[
        Path, typer.Option(help="Folder of the tables and of every run; rerun with the same one to resume.")
    ],
    eval_data: Annotated[
        str | None, typer.Option(help="Robot video to measure on, in place of held-out episodes of DATA.")
    ] = None,
    only: Annotated[str, typer.Option(help="Tables to make, separated by commas.")] = "tokenizer,lam,recipe",
    scale: Annotated[float, typer.Option(min=0, help="Factor on the number of steps of every stage.")] = 1.0,
    threads: ThreadsOption = 0,
    seed: SeedOption = DEFAULTS.seed,
    episodes: Annotated[int, typer.Option(min=1, help="Maximum held-out episodes to measure on.")] = DEFAULTS.episodes,
    rollouts: Annotated[
        int, typer.Option(min=1, help="Start frames of rollouts compared with real video.")
    ] = DEFAULTS.rollouts,
    hold_out: Annotated[
        float, typer.Option(min=0.01, max=0.9, help="Share of episodes to hold out if there is no filter key `valid`.")
    ] = 0.1,
    position: Annotated[str, typer.Option(help="Array whose change the probes predict.")] = DEFAULTS.position,
    still: Annotated[
        float, typer.Option(min=0, help="Changes of it below this count as still, in its units.")
    ] = DEFAULTS.still,
    i3d: Annotated[
        Path | None, typer.Option(metavar="FILE", help="I3D weights, i3d_torchscript.pt; without them, no FVD.")
    ] = None,
    device: DeviceOption = "cpu",
    *,
    reading: ReadOptions,
) -> None:
    """Train small models that differ in one choice each, on the same budget, and tabulate the effect."""
    options = EvaluationOptions(
        episodes=episodes,
        rollouts=rollouts,
        position=position,
        still=still,
        i3d=i3d,
        seed=seed,
        supervised_steps=DEFAULTS.supervised_steps,
    )
    dataset = open_dataset(data, options=reading)
    evaluation = None if eval_data is None else open_dataset(eval_data, options=reading)
    import torch

    from genie_core.ablation.plan import scaled, small_base
    from genie_core.ablation.report import MARKDOWN, render_ablation
    from genie_core.ablation.run import Work, read_material, run_ablation
    from genie_core.evaluation.i3d import load_i3d
    from genie_core.models.bundle import torch_device
    from genie_core.training.reporting import TerminalReporter

    tables = _tables(only)
    if threads:
        torch.set_num_threads(threads)
    target = torch_device(device)
    if i3d is not None:
        load_i3d(i3d, target)  # fail now rather than after an hour of training
    base = scaled(small_base(), scale, seed)
    material = read_material(dataset, evaluation, base, options, hold_out)
    command = shlex.join(["genie", *sys.argv[1:]])
    work = Work(out, material, options, device, command, TerminalReporter, part_progress)
    setting = _setting(base, material, (dataset, evaluation or dataset), options, scale, device)
    ablation = run_ablation(base, tables, work, setting)
    typer.echo(render_ablation(ablation))
    typer.echo(f"wrote {out / MARKDOWN}")


def _setting(
    base: Base,
    material: AblationEpisodes,
    data: tuple[Dataset, Dataset],
    options: EvaluationOptions,
    scale: float,
    device: str,
) -> Setting:
    import torch

    from genie_core.ablation.report import Setting

    return Setting(
        genie_version=__version__,
        data=data[0].path.name,
        eval_data=data[1].path.name,
        train_episodes=len(material.train),
        eval_episodes=tuple(film.name for film in material.films),
        scale=scale,
        seed=options.seed,
        threads=torch.get_num_threads(),
        device=device,
        options=options,
        base={
            "model": base.model.model_dump(mode="json"),
            "training": base.training.model_dump(mode="json"),
        },
    )


def _tables(only: str) -> list[Table]:
    """Return the tables named in `only`, in the plan's order."""
    from genie_core.ablation.plan import TABLES

    wanted = {name.strip() for name in only.split(",")}
    unknown = wanted - set(TABLES)
    if unknown:
        raise DatasetError(f"--only: got {sorted(unknown)[0]!r}, expected some of {', '.join(TABLES)}")
    return [table for table in TABLES if table in wanted]


__all__ = ["ablate"]
