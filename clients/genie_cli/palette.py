"""The command `genie palette`: what each code of a bundle does, on one's own video. Imports torch only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genie_cli.progress import part_progress
from genie_cli.reading_options import reads_data
from genie_cli.shared_options import (
    DataArgument,
    DeviceOption,
    EpisodesOption,
    OverwriteOption,
    SeedOption,
    ThreadsOption,
)
from genie_cli.step_option import found_step, read_step, step_option
from genie_core.data import ReadOptions, open_dataset
from genie_core.data.code_meanings import FILE
from genie_core.errors import DatasetError
from genie_core.evaluation.options import EvaluationOptions

if TYPE_CHECKING:
    from genie_core.data.code_meanings import CodeMeanings

_SUFFIXES = (".png", ".html", ".rrd", ".json")


@reads_data(short=False)
def palette(
    bundle: Annotated[str, typer.Argument(help="The bundle's folder, or the name of a shipped one.")],
    data: DataArgument,
    out: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Also write X.png, X.html, X.rrd or X.json; may be repeated."),
    ] = None,
    store: Annotated[
        bool,
        typer.Option(
            "--store/--no-store", help="Keep it beside the bundle, so that servers and genie play name codes."
        ),
    ] = True,
    episodes: EpisodesOption = 40,
    step: Annotated[
        str | None,
        step_option("Transition length, as of genie label. [default: auto, if its latents measure motion; else rates]"),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 0,
    overwrite: OverwriteOption = False,
    *,
    reading: ReadOptions,
) -> None:
    """Find what each code of a bundle does: where the picture moves, how often, and how the robot moves if known."""
    outputs = list(out or ())
    _check_outputs(outputs, overwrite)
    dataset = open_dataset(data, options=reading)
    import numpy as np
    import torch

    from genie_core.bundles import bundle_folder
    from genie_core.data.code_meanings import write_meanings
    from genie_core.evaluation.evaluation import make_study, read_films
    from genie_core.evaluation.palette import measure_palette
    from genie_core.models.bundle import load_bundle

    if threads:
        torch.set_num_threads(threads)
    folder = bundle_folder(bundle)
    loaded = load_bundle(folder, device)
    chosen = found_step(loaded, dataset, read_step(step))
    options = EvaluationOptions(episodes=episodes, subset="all", step=chosen, applications=1, seed=seed)
    with part_progress() as progress:
        _, films, _ = read_films(loaded, dataset, options)
        study = make_study(loaded, films, options, progress=progress)
        found = measure_palette(study, str(dataset.path), np.random.default_rng(seed))
    _print(found)
    for path in outputs:
        _write(path, found)
        typer.echo(f"wrote {path}")
    if store:
        try:
            there = _there(folder, loaded.bundle_id, len(found.codes))
            instead = "" if there in (None, found.data) else f", in place of what codes do in {there}"
            typer.echo(f"stored with the bundle: {write_meanings(folder, found)}{instead}")
        except OSError as error:
            raise DatasetError(
                f"{folder / FILE}: {error.strerror}: the bundle's folder cannot be written; add --no-store and --out "
                "X.html"
            ) from error


def _there(folder: Path, bundle_id: str, codes: int) -> str | None:
    """Return of which data the palette is that a bundle has; None if it has none, or none that can be read."""
    from genie_core.data.code_meanings import read_meanings
    from genie_core.errors import ModelError

    try:
        there = read_meanings(folder, bundle_id, codes)
    except ModelError:  # damaged, or of the bundle that was here before: to be made again in any case
        return None
    return None if there is None else there.data


def _check_outputs(outputs: list[Path], overwrite: bool) -> None:
    """Check the outputs before anything is computed."""
    for path in outputs:
        if path.suffix.lower() not in _SUFFIXES:
            raise DatasetError(f"--out: got {path}, expected a name that ends in {', '.join(_SUFFIXES)}")
        if path.exists() and not overwrite:
            raise DatasetError(f"{path} exists; replace it with --overwrite, or choose another name")
        if path.suffix.lower() == ".rrd":
            from genie_view.rerun_version import require_rerun

            require_rerun()


def _write(path: Path, found: CodeMeanings) -> None:
    from genie_core.data import encode_image
    from genie_core.data.storage.atomic import write_bytes, write_text

    kind = path.suffix.lower()
    if kind == ".png":
        from genie_view.palette_sheet import palette_sheet

        write_bytes(path, encode_image(palette_sheet(found), "png"))
    elif kind == ".html":
        from genie_view.palette_page import palette_page

        write_text(path, palette_page(found))
    elif kind == ".rrd":
        from genie_view.palette_view import write_palette_recording

        write_palette_recording(path, found)
    else:
        write_text(path, found.model_dump_json(indent=1))


def _print(found: CodeMeanings) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("code", "the picture moves", "share", "one way", "read back", "the robot moves", box=None)
    for code, one in enumerate(found.codes):
        read = "" if one.round_trip is None else f"{one.round_trip:.0%}"
        table.add_row(str(code), one.words, f"{one.share:.1%}", f"{one.agreement:.0%}", read, one.robot or "")
    console = Console(highlight=False)
    console.print(f"{found.transitions:,} transitions of {found.episodes} episodes of {found.data}", soft_wrap=True)
    console.print(table)


__all__ = ["palette"]
