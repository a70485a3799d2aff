"""``genie export``: converts labels to a LeRobot or RLDS dataset, a Parquet file or robomimic HDF5, and back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genie_cli.progress import progress_bar
from genie_core.data.export.run import ExportActions, ExportFormat, ExportVideo

if TYPE_CHECKING:
    from genie_core.data.export.plan import VideoOutcome
    from genie_core.data.export.run import ExportFrames, ExportReport

_SPARSE = 30
"""Frames from one key frame to the next above which random access is slow."""


def export(
    labelled: Annotated[Path, typer.Argument(help="File that `genie label` has written, or an export of one.")],
    out: Annotated[Path, typer.Argument(help="File to write, or folder for lerobot and rlds; must be new.")],
    to: Annotated[
        ExportFormat, typer.Option(help="LeRobot v3.0 or RLDS dataset, Parquet file, or self-contained labelled HDF5.")
    ],
    size: Annotated[
        str,
        typer.Option(metavar="SIZE", help="Size of the frames: source, labelled (as in the labelled file), or HxW."),
    ] = "source",
    labels_only: Annotated[bool, typer.Option("--labels-only", help="Leave the frames out (robomimic).")] = False,
    fps: Annotated[float | None, typer.Option(help="Frames a second (lerobot), if the labels do not say.")] = None,
    task: Annotated[
        str | None,
        typer.Option(help="Task of the robot, in words (lerobot). [default: a LeRobot or RLDS source's]"),
    ] = None,
    actions: Annotated[
        ExportActions,
        typer.Option(help="Contents of `action` (lerobot): the robot's own actions, or those decoded by an alignment."),
    ] = "robot",
    video: Annotated[
        ExportVideo,
        typer.Option(
            help="Video (lerobot): copy the source's as it is compressed, if all episodes allow it, or encode anew."
        ),
    ] = "copy",
) -> None:
    """Convert labels with their provenance to another format, or an export back to labelled HDF5."""
    from genie_core.data.export.run import ExportPlan, export_labels

    plan = ExportPlan(to=to, frames=_frames(size, labels_only), fps=fps, task=task, actions=actions, video=video)
    with progress_bar("exporting", unit="episodes") as bar:
        report = export_labels(labelled, out, plan, bar.advance)
    _print(report)


def _frames(size: str, labels_only: bool) -> ExportFrames:
    """Parse the options of size. Raises GenieError if they are wrong."""
    from genie_core.errors import GenieError

    if labels_only and size != "source":
        raise GenieError("--labels-only: got it with --size: choose one, it leaves the frames out")
    if labels_only:
        return "none"
    if size == "source":
        return "source"
    if size == "labelled":
        return "labelled"
    numbers = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size)
    if numbers is None:
        raise GenieError(f"--size: got {size}, expected source, labelled, or a height and width such as 240x320")
    return int(numbers[1]), int(numbers[2])


def _print(report: ExportReport) -> None:
    if report.was_complete:
        typer.echo(
            f"{report.path} is complete: it holds this export of all {report.episodes} episodes; "
            "remove it to make it again"
        )
        return
    frames = "no frames" if report.size is None else f"frames {report.size[0]}x{report.size[1]}"
    known = [
        f"{what} ({width})"
        for what, width in (("actions", report.action_dim), ("proprioception", report.state_dim))
        if width is not None
    ]
    typer.echo(
        f"wrote {report.path}: {report.episodes} episodes, {report.frames} labels, {frames}, "
        f"of the robot {' and '.join(known) or 'nothing known'}"
    )
    for camera, video in report.videos.items():
        of = f" of {camera}" if len(report.videos) > 1 else ""
        typer.echo(f"video{of} {_how(video, report.frames)}")
    if report.missing:
        typer.echo(f"warning: {report.missing}", err=True)
    if report.held_actions:
        typer.echo(
            f"note: in {report.held_actions} episodes the last frame has no action: it was given the one before it"
        )


def _how(video: VideoOutcome, frames: int) -> str:
    """Say whether LeRobot's video was copied or encoded."""
    if video.encoded is not None:
        return video.said()
    every = frames / video.key_frames
    return f"copied: the source's own, every frame checked; a key frame every {every:.3g} frames" + (
        " (--video encode makes one every second, which random access wants)" if every > _SPARSE else ""
    )


__all__ = ["export"]
