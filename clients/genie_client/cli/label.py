"""``genie label``: a whole dataset into a labelled file, with progress, a summary, and a way to go on after a stop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genie_client.cli.server import ModelOption, ModelsOption, ServerOption, connected

if TYPE_CHECKING:
    from genie_core.data import Existing, FramesMode


class Frames(StrEnum):
    """Where the frames of the output are."""

    LINK = "link"
    COPY = "copy"
    MODEL = "model"
    NONE = "none"


class Density(StrEnum):
    """Which frames are labelled."""

    DENSE = "dense"
    STRIDED = "strided"


def label(
    data: Annotated[
        Path, typer.Argument(help="HDF5 in robomimic's layout, a LeRobot folder, a video, or a folder of files.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write. [default: X.labelled.hdf5 beside the data]")
    ] = None,
    server: ServerOption = None,
    models: ModelsOption = None,
    model: ModelOption = None,
    camera: Annotated[str | None, typer.Option(help="Camera to label, where there are several.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second of the data, in place of what it says.")] = None,
    step: Annotated[
        int | None,
        typer.Option(min=1, help="Frames that a transition spans. [default: from the frame rate]"),
    ] = None,
    density: Annotated[Density, typer.Option(help="Label every frame, or every step-th.")] = Density.DENSE,
    frames: Annotated[
        Frames | None,
        typer.Option(help="Frames in the output: linked or copied (HDF5), at the model's size (video), or none."),
    ] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Add the labels to the data file itself.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Add the episodes that the output lacks.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output, if there is one.")] = False,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Episodes in flight.")] = 1,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out episodes that cannot be labelled.")] = False,
) -> None:
    """Label every transition of a dataset with a latent action.

    Finished episodes are kept whatever happens: run the same command again and it goes on from there.
    """
    from genie_client.bulk import LabelPlan, label_dataset
    from genie_client.cli.label_report import print_report
    from genie_core.data import open_dataset
    from genie_core.data.label_output import check_output, default_frames

    output, frames_mode = _output(data, out, in_place, frames)
    dataset = open_dataset(data, camera=camera, fps=fps)
    existing = _existing(resume, overwrite)
    check_output(output, dataset, frames_mode or default_frames(dataset), existing)  # before a server is started
    plan = LabelPlan(
        output=output,
        model=model,
        step=step,
        density=density.value,
        frames=frames_mode,
        existing=existing,
        jobs=jobs,
        skip_bad=skip_bad,
    )
    with connected(server, models) as client, _progress(len(dataset.episodes)) as advance, _explaining_stops():
        report = label_dataset(client, dataset, plan, advance)
    print_report(report)


def _output(data: Path, out: Path | None, in_place: bool, frames: Frames | None) -> tuple[Path, FramesMode | None]:
    """The file to write and where its frames are; raises GenieError where the options contradict each other."""
    from genie_core.data import default_output
    from genie_core.errors import GenieError

    if in_place and (out is not None or frames is not None):
        raise GenieError("--in-place writes into the data itself: it goes with neither --out nor --frames")
    if in_place:
        return data, "in_place"
    return out or default_output(data), frames.value if frames else None


def _existing(resume: bool, overwrite: bool) -> Existing:
    from genie_core.errors import GenieError

    if resume and overwrite:
        raise GenieError("--resume keeps what the output holds and --overwrite replaces it: choose one")
    return "resume" if resume else "overwrite" if overwrite else "refuse"


@contextmanager
def _progress(episodes: int) -> Iterator[Callable[[float], None]]:
    """A progress bar on stderr; gives what to call with each fraction of an episode that is done."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("labelling"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} episodes"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("labelling", total=episodes)
        yield lambda fraction: progress.advance(task, fraction)


@contextmanager
def _explaining_stops() -> Iterator[None]:
    """Say what can be done about a bad episode, and after Ctrl-C how far the run came."""
    from genie_client.bulk import BadEpisodeError

    try:
        yield
    except BadEpisodeError as error:
        error.add_note("--skip-bad leaves such episodes out")
        raise
    except KeyboardInterrupt as stop:
        print("stopped:", *getattr(stop, "__notes__", ()), file=sys.stderr)
        raise


__all__ = ["label"]
