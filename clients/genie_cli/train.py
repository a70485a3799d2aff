"""The command `genie train`. Imports torch only when it runs."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from pydantic import ValidationError

from genie_cli.reading_options import reads_data
from genie_cli.shared_options import DeviceOption, ThreadsOption
from genie_cli.sources import listed_sources, split_episodes
from genie_core.data import ReadOptions, open_dataset
from genie_core.errors import DatasetError, ModelError

if TYPE_CHECKING:
    from genie_core.models.config import ModelConfig
    from genie_core.training.config import TrainingConfig


@reads_data(short=False)
def train(
    data: Annotated[list[str] | None, typer.Argument(help="Datasets to train on: files, folders or URLs.")] = None,
    preset: Annotated[
        str, typer.Option(help="Preset of model and recipe: nano, tiny, base, motion, coinrun or robotics.")
    ] = "tiny",
    out: Annotated[
        Path | None, typer.Option(help="Folder of the bundle; the run's own folder is created beside it.")
    ] = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 0,
    lam_data: Annotated[
        list[str] | None,
        typer.Option(help="More data for the latent action model alone; may be repeated."),
    ] = None,
    sources: Annotated[
        Path | None,
        typer.Option(
            help="More DATA with options of their own: a JSON list of objects with `path` (relative to the file) and, "
            "optionally, `camera` and `fps`."
        ),
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="Start from the weights of this bundle, whose networks must be the same.")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(metavar="BUNDLE", help="Number the codes as this bundle's where they mean the same."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, clips and masks.")] = 0,
    hold_out: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of each dataset's episodes held out for validation.")
    ] = 0.1,
    scale: Annotated[float, typer.Option(min=0, help="Factor on the number of steps of every stage.")] = 1.0,
    recipe: Annotated[
        Path | None,
        typer.Option(help="JSON file that overrides fields of the recipe and, under `model`, of the networks."),
    ] = None,
    only: Annotated[
        Literal["tokenizer", "lam"] | None,
        typer.Option(help="Train this stage alone and stop, so that two processes can train two stages at once."),
    ] = None,
    pieces: Annotated[
        int,
        typer.Option(
            min=1,
            help="Compute each step's batch in this many pieces, one after another in as little memory as one needs, "
            "or in as many processes (torchrun); the result depends on it, but not on the number of processes.",
        ),
    ] = 1,
    recompute: Annotated[
        bool, typer.Option(help="Compute activations again in the backward pass: less memory, a third more work.")
    ] = False,
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="Compile the transformers' blocks (torch.compile): faster on GPUs, other bits."),
    ] = False,
    shard: Annotated[
        bool,
        typer.Option(
            "--shard",
            help="Divide weights, gradients and optimizer of the dynamics model among the processes (torchrun): for a "
            "model that is larger than a device.",
        ),
    ] = False,
    stream: Annotated[
        bool,
        typer.Option(
            "--stream",
            help="Decode frames whenever they are drawn, instead of once to disk: for data that do not fit there; "
            "slower, with the same result.",
        ),
    ] = False,
    half: Annotated[bool, typer.Option(help="Store weights as float16, for shipping.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            help="Print configuration, parameter counts, the cost of every stage and what the data hold, and stop."
        ),
    ] = False,
    gpu: Annotated[str, typer.Option(help="GPU whose hours --dry-run estimates: a name in its table.")] = "H100",
    *,
    reading: ReadOptions,
) -> None:
    """Train tokenizer, latent action model and dynamics model, and write a bundle. Run again to resume."""
    from genie_core.models.genie import count_parameters
    from genie_core.models.presets import preset as model_preset
    from genie_core.training.config import training_preset
    from genie_core.training.cost import cost_lines, stage_costs

    model, training = adjusted(model_preset(preset), training_preset(preset), scale, seed, recipe, pieces)
    count = count_parameters(model)
    typer.echo(
        f"{preset}: tokenizer {count.tokenizer:,}  latent action model {count.lam:,}  dynamics {count.dynamics:,}  "
        f"mover {count.mover:,}  total {count.total:,} parameters"
    )
    wanted = [(path, reading) for path in data or ()] + (
        listed_sources(sources, reading) if sources is not None else []
    )
    if dry_run:
        typer.echo(model.model_dump_json(indent=2))
        typer.echo(training.model_dump_json(indent=2))
        typer.echo("\n".join(cost_lines(stage_costs(model, training), gpu)))
        for path, options in [*wanted, *((path, reading) for path in lam_data or ())]:
            _say_what_would_be_read(path, options)
        return
    if not wanted or out is None:
        raise DatasetError("training needs DATA (or --sources) and --out BUNDLE (or --dry-run)")
    import torch

    from genie_core.bundles import bundle_folder
    from genie_core.training.pipeline import TrainingJob, TrainingSplit, train_alone
    from genie_core.training.pipeline import train as run_training
    from genie_core.training.reporting import TerminalReporter

    if threads:
        torch.set_num_threads(threads)
    job = TrainingJob(
        model,
        training,
        data=TrainingSplit(*split_episodes(wanted, hold_out, seed)),
        lam_data=TrainingSplit(*split_episodes([(path, reading) for path in lam_data or ()], hold_out, seed)),
        out=out,
        device=device,
        half=half,
        init=init,
        like=None if like is None else bundle_folder(like),
        command=shlex.join(["genie", *sys.argv[1:]]),
        recompute=recompute,
        compiled=compiled,
        stream=stream,
        shard=shard,
    )
    with TerminalReporter(out.with_name(out.name + ".run")) as reporter:
        if only is not None:
            train_alone(job, only, reporter)
            return
        info = run_training(job, reporter)
    if int(os.environ.get("RANK", "0")):
        return  # the first process says it
    typer.echo(info.card)
    typer.echo(f"bundle {info.bundle_id[:12]} written to {out}")


def _say_what_would_be_read(path: str, options: ReadOptions) -> None:
    """Open a dataset as training would, and print what it holds. Raises DatasetError if it cannot be trained on."""
    episodes = open_dataset(path, options=options).episodes
    lengths = [episode.num_frames for episode in episodes]
    if max(lengths, default=0) < 2:
        raise DatasetError(f"{path}: no episode has two frames, expected some")
    size = f"{episodes[0].height} x {episodes[0].width}"
    typer.echo(f"{path}: {len(episodes)} episodes, {sum(lengths):,} frames of {size}")


def adjusted(
    model: ModelConfig, training: TrainingConfig, scale: float, seed: int, recipe: Path | None, pieces: int = 1
) -> tuple[ModelConfig, TrainingConfig]:
    """Scale the steps, set the seed, and override fields as in the JSON file; ``model`` in it overrides the networks'.

    More `pieces` than 1 are those of every stage.

    Raises:
        ModelError: the file cannot be read, or its fields are not valid.

    """
    networks, values = model.model_dump(), training.model_dump()
    if recipe is not None:
        try:
            changes = json.loads(recipe.read_text())
        except (OSError, ValueError) as error:
            raise ModelError(f"--recipe {recipe}: cannot be read: {error}") from error
        if not isinstance(changes, dict):
            raise ModelError(f"--recipe {recipe}: got a {type(changes).__name__}, expected an object")
        of_networks = changes.pop("model", {})
        if not isinstance(of_networks, dict):
            raise ModelError(f"--recipe {recipe}: `model`: got a {type(of_networks).__name__}, expected an object")
        _merge(networks, of_networks)
        _merge(values, changes)
    for stage in ("tokenizer", "lam", "dynamics", "mover", "refiner"):
        values[stage]["steps"] = round(values[stage]["steps"] * scale)
        if pieces > 1:
            values[stage]["pieces"] = pieces
    for part in ("tokenizer_training", "lam_training"):
        values[part]["continuous_steps"] = round(values[part]["continuous_steps"] * scale)
    values["seed"] = seed
    try:
        return type(model).model_validate(networks), type(training).model_validate(values)
    except ValidationError as error:
        raise ModelError(f"{'--pieces' if recipe is None else f'--recipe {recipe}'}: {error}") from error


def _merge(values: dict[str, object], changes: dict[str, object]) -> None:
    for key, change in changes.items():
        inner = values.get(key)
        if isinstance(inner, dict) and isinstance(change, dict):
            _merge(inner, change)
        else:
            values[key] = change


__all__ = ["adjusted", "train"]
