"""The command `genie figure`: draws one of the paper's figures with the code of the evaluation report.

Measures nothing. Imports torch only when it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from genie_cli.progress import part_progress
from genie_cli.reading_options import reads_data
from genie_cli.shared_options import DeviceOption, SeedOption, ThreadsOption
from genie_core.data import Frames, ReadOptions, encode_image, open_dataset
from genie_core.data.storage.atomic import write_bytes
from genie_core.errors import DatasetError, RequestError
from genie_core.evaluation.options import EvaluationOptions
from genie_core.progress import Progress

if TYPE_CHECKING:
    from genie_core.data import Dataset
    from genie_core.evaluation.metrics import ReportImage
    from genie_core.models.bundle import Bundle

FigureName = Literal["fig10", "fig13", "fig14"]

IMAGE_SUFFIXES = frozenset({".jpeg", ".jpg", ".png"})
DEFAULTS = EvaluationOptions()
_ROWS = {"fig10": 2, "fig13": 8, "fig14": 8}
_WANTED = {
    "fig10": "one picture or more (PNG, JPEG)",
    "fig13": "one dataset of robot video",
    "fig14": "one picture (PNG, JPEG) or dataset",
}


@reads_data(short=False)
def figure(
    name: Annotated[
        FigureName,
        typer.Argument(
            help="fig10: rollouts from pictures. fig13: every code from many frames. fig14: many futures of one frame."
        ),
    ],
    bundle: Annotated[str, typer.Argument(help="The bundle's folder, or the name of a shipped one.")],
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...|DATA", help="fig10: pictures. fig13: robot video. fig14: one of either."),
    ],
    out: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Picture to write. [default: NAME.png]")] = None,
    rows: Annotated[
        int | None,
        typer.Option(min=1, help="fig10: rollouts per picture (2). fig13: start frames (8). fig14: sequences (8)."),
    ] = None,
    codes: Annotated[
        str | None, typer.Option(metavar="0,3,5", help="Latent actions to use: fig13's columns. [default: all]")
    ] = None,
    applications: Annotated[
        int, typer.Option(min=1, help="fig13: number of times to apply each code.")
    ] = DEFAULTS.applications,
    seed: SeedOption = DEFAULTS.seed,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature. [default: the bundle's]")] = None,
    maskgit_steps: Annotated[int | None, typer.Option(help="MaskGIT steps per frame. [default: the model's]")] = None,
    episodes: Annotated[int, typer.Option(min=1, help="Maximum episodes of DATA to draw from.")] = DEFAULTS.episodes,
    subset: Annotated[
        str | None,
        typer.Option(help="Robomimic filter key of the episodes, or `all`. [default: `valid` if there is one]"),
    ] = None,
    step: Annotated[int | None, typer.Option(min=1, help="Transition length in frames, in place of fps.")] = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing picture.")] = False,
    *,
    reading: ReadOptions,
) -> None:
    """Draw one of the paper's figures with a bundle, as `genie evaluate` does for its report."""
    target = _checked_target(out or Path(f"{name}.png"), overwrite)
    images, dataset = _open_inputs(name, inputs, reading)
    options = EvaluationOptions(
        episodes=episodes,
        subset=subset,
        step=step,
        starts=rows or _ROWS["fig13"],
        applications=applications,
        temperature=temperature,
        maskgit_steps=maskgit_steps,
        images=tuple(images),
        seed=seed,
    )
    import torch

    from genie_core.bundles import bundle_folder
    from genie_core.inference import Simulator
    from genie_core.models.bundle import load_bundle

    if threads:
        torch.set_num_threads(threads)
    loaded = load_bundle(bundle_folder(bundle), device)
    chosen = None if codes is None else _parse_codes(codes)
    if chosen is not None:
        Simulator(loaded).check_actions(chosen, "codes")
    with part_progress() as progress:
        picture = _draw(name, loaded, dataset, options, rows or _ROWS[name], chosen, progress)
    _write(target, picture.image_HWC)
    typer.echo(f"{picture.caption}\nwrote {target}")


def _checked_target(path: Path, overwrite: bool) -> Path:
    """Check the output path before anything is computed."""
    if path.suffix.lower() != ".png":
        raise DatasetError(f"--out: got {path}, expected a name that ends in .png")
    if path.is_dir():
        raise DatasetError(f"--out: got the folder {path}, expected a file")
    if path.exists() and not overwrite:
        raise DatasetError(f"{path} exists; replace it with --overwrite, or choose another name")
    return path


def _open_inputs(name: FigureName, inputs: Sequence[Path], reading: ReadOptions) -> tuple[list[Path], Dataset | None]:
    """Return the pictures to prompt from, or the dataset. Raises DatasetError if the figure needs other inputs."""
    images = [path for path in inputs if path.suffix.lower() in IMAGE_SUFFIXES]
    kinds = {"fig10": (True,), "fig13": (False,), "fig14": (True, False)}[name]
    are_images = len(images) == len(inputs)
    if (images and not are_images) or are_images not in kinds or (name != "fig10" and len(inputs) != 1):
        got = ", ".join(str(path) for path in inputs)
        raise DatasetError(f"{name}: got {got}, expected {_WANTED[name]}")
    return images, None if are_images else open_dataset(inputs[0], options=reading)


def _parse_codes(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise RequestError("codes", f"got {text!r}, expected latent action codes, e.g. 0,3,5") from None


def _draw(
    name: FigureName,
    bundle: Bundle,
    dataset: Dataset | None,
    options: EvaluationOptions,
    rows: int,
    codes: Sequence[int] | None,
    progress: Progress,
) -> ReportImage:
    """Draw the figure as an evaluation with these options would, with `rows` and `codes` in place of its own."""
    from genie_core.evaluation.consistency import consistency_findings, consistency_image
    from genie_core.evaluation.evaluation import make_study, part_rng, read_films, read_prompts
    from genie_core.evaluation.trajectories import (
        diverse_findings,
        diverse_image,
        prompted_findings,
        prompted_image,
    )

    prompts = read_prompts(bundle, options.images)
    films = read_films(bundle, dataset, options)[1] if dataset else []
    study = make_study(bundle, films, options, prompts=prompts, progress=progress)
    if name == "fig10":
        return prompted_image(study, part_rng(prompted_findings, options.seed), rows, codes)
    if name == "fig13":
        return consistency_image(study, part_rng(consistency_findings, options.seed), codes)
    first_1HWC = prompts[0] if prompts else None
    return diverse_image(study, part_rng(diverse_findings, options.seed), first_1HWC, rows, codes)


def _write(path: Path, image_HWC: Frames) -> None:
    """Write a PNG whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, encode_image(image_HWC))


__all__ = ["FigureName", "figure"]
