"""``genie view``: shows labelled episodes in the Rerun viewer, or writes a recording, a layer or a contact sheet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genie_core.data import LabelledFile
    from genie_view.checked import Checked
    from genie_view.frame_log import Codecs
    from genie_view.recording import Recording

_SHOWN = 8
"""Number of episodes shown if none are named."""


def view(
    file: Annotated[Path, typer.Argument(help="File that `genie label` has written.")],
    save: Annotated[Path | None, typer.Option(metavar="X.rrd", help="Write a Rerun recording; open no viewer.")] = None,
    sheet: Annotated[Path | None, typer.Option(metavar="X.png", help="Draw a contact sheet; open no viewer.")] = None,
    episode: Annotated[
        list[str] | None, typer.Option(metavar="N", help="Episode to show, 3 or demo_3; may be repeated.")
    ] = None,
    dataset: Annotated[
        bool, typer.Option("--dataset", help="Show all episodes at once: codes, lengths, a map of the latents.")
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Compare with the labels of another bundle or camera, frame by frame."),
    ] = None,
    layer: Annotated[
        Path | None,
        typer.Option(metavar="YOURS.rrd", help="With --save: write the labels as a layer over your own recording."),
    ] = None,
    entity: Annotated[
        str | None, typer.Option(help="With --layer: the entity whose pictures were labelled, if there are several.")
    ] = None,
    palette: Annotated[
        Path | None,
        typer.Option(
            metavar="X.json|BUNDLE", help="Names for codes, of genie palette. [default: the robot's, if known]"
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(metavar="X.json", help="What genie check FILE --json said, as properties of the recordings."),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the recording for a browser instead of opening a viewer.")
    ] = False,
    host: Annotated[str, typer.Option(help="With --serve: address to serve on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=1, max=65534, help="With --serve: port of the page; data take the next.")
    ] = 9090,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve on other addresses than loopback, unencrypted, to whoever asks.")
    ] = False,
) -> None:
    """Show labelled episodes: video, latent actions, confidence, latents, actions and provenance."""
    from genie_core.data import open_labelled
    from genie_core.errors import GenieError
    from genie_view.rerun_version import require_rerun

    records = save is not None or sheet is None
    if records:
        require_rerun()
    if layer is not None and save is None:
        raise GenieError("--layer: expected --save X.rrd beside it, the file to write the layer to")
    if sum((dataset, against is not None, layer is not None)) > 1:
        raise GenieError("got several of --dataset, --against and --layer, expected one of them")
    if check is not None and (dataset or against is not None):
        raise GenieError("--check: got --dataset or --against beside it, expected episodes or --layer")
    if serve:
        from genie_view.serving import check_address

        check_address(host, insecure)
    labelled = open_labelled(file)
    names = _chosen(labelled, episode or [])
    if sheet is not None:
        _draw(labelled, names, sheet)
    from genie_view.checked import read_check

    checked = None if check is None else read_check(check, labelled)
    if layer is not None and save is not None:
        _write_layer(labelled, names, layer, entity, save, _words(labelled, palette), checked)
    elif records:
        from genie_view.frame_log import ANY_VIEWER, BROWSER, Codecs

        codecs = ANY_VIEWER if save is not None else BROWSER if serve else Codecs.here(len(names))
        recordings = _recordings(labelled, names, dataset, against, _words(labelled, palette), codecs, checked)
        if serve:
            _serve(recordings, save, host, port)
        else:
            _show(recordings, save)


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


def _recordings(
    labelled: LabelledFile,
    names: list[str],
    dataset: bool,
    against: Path | None,
    words: list[str],
    codecs: Codecs,
    checked: Checked | None,
) -> list[Recording]:
    """Return the recordings to show, in a viewer that can decode `codecs`."""
    from genie_view.labels_view import LabelledViews, labels_recording

    views = LabelledViews(labelled, words, checked=checked)
    if dataset:
        from genie_view.dataset_view import dataset_recording, dataset_view

        return [dataset_recording(dataset_view(labelled, views.words), labelled)]
    if against is not None:
        from genie_core.data import open_labelled
        from genie_view.compare_view import compare, compare_recording

        second = LabelledViews(open_labelled(against))
        return [compare_recording(pair, codecs) for pair in compare(views, second, names)]
    shown = views.of(names)
    for one in shown:
        if one.missing is not None:
            without = "without frames" if one.episode is None else "with the labelled file's own frames"
            typer.echo(f"warning: {one.name} is shown {without}: {one.missing}", err=True)
    return [labels_recording(one, codecs) for one in shown]


def _words(labelled: LabelledFile, palette: Path | None) -> list[str]:
    """Return what each code means, by a palette or else the robot's positions beside the labels; nothing without."""
    from genie_core.data.code_meanings import FILE, read_meanings_file
    from genie_view.meaning import code_motions

    if palette is not None:
        file = palette / FILE if palette.is_dir() else palette
        return read_meanings_file(file, labelled.model.bundle_id, len(labelled.model.codebook)).words

    motions = code_motions(labelled)
    return [] if motions is None else [str(motion) for motion in motions]


def _write_layer(
    labelled: LabelledFile,
    names: Sequence[str],
    layer: Path,
    entity: str | None,
    save: Path,
    words: list[str],
    checked: Checked | None,
) -> None:
    from genie_core.errors import GenieError
    from genie_view.labels_view import LabelledViews
    from genie_view.layer import find_target, write_layer

    if len(names) != 1:
        raise GenieError(f"--layer: got {len(names)} episodes, expected one: choose it with --episode")
    (shown,) = LabelledViews(labelled, words, checked=checked).of(names, with_gallery=False)
    target = find_target(layer, len(shown.labels), entity)
    write_layer(save, shown, target)
    typer.echo(f"wrote {save}, which lies over {target.entity}; look at both with: rerun {layer} {save}")


def _show(recordings: list[Recording], path: Path | None) -> None:
    """Write recordings, or show them if `path` is None."""
    from genie_view.live import show, start_viewer
    from genie_view.recording import write_recordings

    if path is not None:
        write_recordings(path, recordings)
        typer.echo(f"wrote {path}; look at it with: rerun {path}")
        return
    show(
        start_viewer("--save X.rrd writes a recording, --serve serves a browser, --sheet X.png is a picture"),
        recordings,
    )


def _serve(recordings: list[Recording], path: Path | None, host: str, port: int) -> None:
    """Serve recordings to browsers until Ctrl-C; written to `path` before, if there is one."""
    from genie_view.recording import write_recordings
    from genie_view.serving import serve_web

    if path is not None:
        write_recordings(path, recordings)
    serve_web(path or recordings, host, port, typer.echo)


__all__ = ["view"]
