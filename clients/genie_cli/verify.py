"""``genie verify``: checks that a labelled file is as it was written, and says how to repair it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genie_cli.shared_options import JsonOption

if TYPE_CHECKING:
    from genie_core.data.labelled.verify import Verification

_LISTED = 20
"""Number of problems listed; the JSON lists all."""


def verify(
    file: Annotated[
        Path, typer.Argument(help="Output of `genie label`: a file, or a folder of files.", metavar="FILE")
    ],
    models: Annotated[
        Path | None,
        typer.Option(
            "--models",
            metavar="DIR",
            help="Folder in which to look for the bundle. [default: those shipped with Genie]",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare labels with their checksums, and their provenance with bundle and source.

    Reads every label and frame, and changes nothing. Exit code 1 if something is wrong; each line says how to repair
    it.
    """
    from rich.console import Console

    from genie_core.bundles import models_dir
    from genie_core.data.labelled.verify import verify_labelled

    console = Console(stderr=True)
    with console.status("reading ...") as status:
        found = verify_labelled(
            file,
            lambda bundle_id: _find_bundle(bundle_id, models or models_dir()),
            lambda done, total: status.update(f"reading: {done} of {total} episodes"),
        )
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        _print(found)
    if not found.is_good:
        raise typer.Exit(1)


def _find_bundle(wanted: str, folder: Path) -> str | None:
    """Return the bundle with identity `wanted` in or below `folder`; None if there is none, or without torch."""
    try:
        from genie_core.models.bundle import bundle_id, is_bundle
    except ModuleNotFoundError:
        return None
    candidates = filter(is_bundle, [folder, *sorted(folder.iterdir())] if folder.is_dir() else [])
    return next((str(path) for path in candidates if bundle_id(path) == wanted), None)


def _print(found: Verification) -> None:
    for note in found.notes:
        typer.echo(f"note: {note}")
    for finding in found.problems[:_LISTED]:
        typer.echo(f"{finding.where}: {finding.problem}; to mend: {finding.mend}")
    if len(found.problems) > _LISTED:
        typer.echo(f"... and {len(found.problems) - _LISTED} more; --json has them all")
    if found.is_good:
        bundle = f", made by {found.bundle}" if found.bundle else ""
        typer.echo(f"good: {found.episodes} episodes, {found.checksums} checksums agree{bundle}")


__all__ = ["verify"]
