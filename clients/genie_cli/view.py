"""``genie view``: shows labelled episodes in the Rerun viewer, or writes a recording or a contact sheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from genie_core.data import LabelledFile

_SHOWN = 8
"""Number of episodes shown if none are named."""


def view(
    file: Annotated[Path, typer.Argument(help="File that `genie label` has written.")],
    save: Annotated[Path | None, typer.Option(metavar="X.rrd", help="Write a Rerun recording; open no viewer.")] = None,
    sheet: Annotated[Path | None, typer.Option(metavar="X.png", help="Draw a contact sheet; open no viewer.")] = None,
    episode: Annotated[
        list[str] | None, typer.Option(metavar="N", help="Episode to show, 3 or demo_3; may be repeated.")
    ] = None,
) -> None:
    """Show labelled episodes: frames, latent actions, confidence, latents and provenance."""
    from genie_core.data import open_labelled
    from genie_view.rerun_version import require_rerun

    records = save is not None or sheet is None
    if records:
        require_rerun()
    labelled = open_labelled(file)
    names = _chosen(labelled, episode or [])
    if sheet is not None:
        _draw(labelled, names, sheet)
    if records:
        _record(labelled, names, save)


def _chosen(labelled: LabelledFile, wanted: list[str]) -> list[str]:
    """Return the names of the episodes to show. Raises DatasetError for one that the file does not have."""
    from genie_core.errors import DatasetError

    if not labelled.episodes:
        raise DatasetError(f"{labelled.path}: no episode carries labels")
    if not wanted:
        if len(labelled.episodes) > _SHOWN:
            typer.echo(f"showing {_SHOWN} of {len(labelled.episodes)} episodes; choose with --episode", err=True)
        return list(labelled.episodes[:_SHOWN])
    names = [f"demo_{name}" if name.isdigit() else name for name in wanted]
    for name in names:
        if name not in labelled.episodes:
            first, last = labelled.episodes[0], labelled.episodes[-1]
            raise DatasetError(
                f"{labelled.path}: no labelled episode `{name}`; there are {len(labelled.episodes)}, {first} to {last}"
            )
    return names


def _draw(labelled: LabelledFile, names: list[str], path: Path) -> None:
    from genie_core.data import encode_image
    from genie_core.data.storage.atomic import write_bytes
    from genie_view.sheet import labelled_sheet

    write_bytes(path, encode_image(labelled_sheet(labelled, names), "png"))
    typer.echo(f"wrote {path}")


def _record(labelled: LabelledFile, names: list[str], path: Path | None) -> None:
    """Write a recording of the episodes, or show it if `path` is None."""
    from tempfile import TemporaryDirectory

    from genie_core.data.labelled.originals import Originals
    from genie_core.errors import GenieError
    from genie_view.recording import open_viewer, write_recordings
    from genie_view.views import labelled_view, labels_recording

    originals = Originals()
    views = [labelled_view(labelled, name, originals) for name in names]
    for view in views:
        if view.missing is not None:
            typer.echo(f"warning: {view.name} is shown without frames: {view.missing}", err=True)
    recordings = [labels_recording(view) for view in views]
    if path is not None:
        write_recordings(path, recordings)
        typer.echo(f"wrote {path}; look at it with: rerun {path}")
        return
    with TemporaryDirectory() as folder:
        shown = Path(folder) / f"{labelled.path.stem}.rrd"
        write_recordings(shown, recordings)
        try:
            open_viewer(shown)
        except GenieError as error:
            error.add_note("--save X.rrd writes a recording instead, --sheet X.png a picture")
            raise


__all__ = ["view"]
