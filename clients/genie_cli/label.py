"""``genie label``: labels a dataset into a file, with progress, a summary, and resumption after a stop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from genie_cli.progress import progress_bar
from genie_cli.reading_options import EVERY_CAMERA, each_camera, fused_cameras, reads_data
from genie_cli.server import ModelsOption, ServerOption, connected
from genie_cli.shared_options import DataArgument, OverwriteOption
from genie_cli.step_option import read_step, step_option
from genie_core.data import Density, ReadOptions, Transport
from genie_core.data.dataset import LABELLED_FOLDER, LABELLED_SUFFIX, camera_label

if TYPE_CHECKING:
    from genie_cli.label_ray import LabelAll
    from genie_cli.progress import Bar
    from genie_client.bulk import LabelPlan, LabelReport
    from genie_client.client import Client
    from genie_client.episode_worker import DatasetSource
    from genie_client.patience import Waiting
    from genie_core.data import Dataset, Episode, Existing, FramesMode, Labels, SourcePath


KeepFrames = Literal["link", "copy", "model", "none"]


@reads_data(short=True)
def label(
    data: DataArgument,
    reading: ReadOptions,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write. [default: X.labelled.hdf5 beside the data]")
    ] = None,
    server: ServerOption = None,
    models: ModelsOption = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="NAME", help="Model to use. [default: the server's; of the shipped ones, motion]"
        ),
    ] = None,
    step: Annotated[
        str | None,
        step_option(
            "Transition length: in frames; auto: the shortest at which motion is as large as in the model's training; "
            "rates: from the frame rates of data and model. [default: auto, with a model whose latents measure motion; "
            "else rates]"
        ),
    ] = None,
    density: Annotated[Density, typer.Option(help="Label every frame, or every step-th.")] = "dense",
    keep_frames: Annotated[
        KeepFrames | None,
        typer.Option(help="Frames in the output: linked, copied, at the model's size, or none; see docs/formats.md."),
    ] = None,
    in_place: Annotated[
        bool,
        typer.Option("--in-place", help="Add the labels to the data itself: the HDF5 file, or the LeRobot dataset."),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Label only part I of N, in a process or on a machine of its own; then --merge. See docs/scale.md.",
        ),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Write the output from its N shards, when all are finished; needs no model.")
    ] = False,
    engine: Annotated[
        Literal["server", "ray"],
        typer.Option(help="What labels: one server, or a pool of workers on a Ray cluster. See docs/scale.md."),
    ] = "server",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Ray cluster. [default: RAY_ADDRESS; without it a Ray of its own on this machine]"
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=4096, help="Workers on the cluster. [default: one a GPU; without any, one a machine]"),
    ] = None,
    worker_cpus: Annotated[
        int | None, typer.Option(min=1, help="CPUs of each. [default: what its machine has for it]")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Add the episodes that the output lacks.")] = False,
    overwrite: OverwriteOption = False,
    jobs: Annotated[
        int, typer.Option(min=1, max=64, help="Number of episodes labelled at the same time, by each worker.")
    ] = 16,
    transport: Annotated[
        Transport,
        typer.Option(
            help="How frames are sent: raw, png (smaller, same labels), or jpeg (smallest; may change labels)."
        ),
    ] = "raw",
    alignment: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Also write robot actions, decoded by this alignment of the model."),
    ] = None,
    feature: Annotated[
        bool,
        typer.Option("--feature", help="Also write the wide vectors that latents are made of, if the model gives any."),
    ] = False,
    fuse: Annotated[
        str | None,
        typer.Option(
            metavar="CAMERA,CAMERA",
            help="Fuse the labels of several cameras of one robot, or of `all`: one label a transition, each camera's "
            "kept beside it.",
        ),
    ] = None,
    keep_frozen: Annotated[
        bool,
        typer.Option("--keep-frozen", help="Label frozen pictures too: simulations may stand still for long."),
    ] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out episodes that cannot be labelled.")] = False,
    view: Annotated[
        bool, typer.Option("--view", help="Show each episode in the Rerun viewer as soon as it is labelled.")
    ] = False,
    patience: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SECONDS",
            help=(
                "How long to wait for a server that is busy or gone, or if given also one that is not there yet; "
                "0: not at all. [default: 600]"
            ),
        ),
    ] = None,
) -> None:
    """Label every transition of a dataset with a latent action.

    Finished episodes are always kept: run the same command again to resume.
    """
    from genie_cli.label_in_place import is_finished, labels_of, restore_folder
    from genie_cli.label_ray import check_engine, in_ray, ray_workers
    from genie_cli.label_shards import check_alone, merge_shards, parse_shard, place_of
    from genie_client.bulk import LabelPlan
    from genie_client.patience import BULK_PATIENCE_S
    from genie_core.data import source_path
    from genie_core.data.labelled.output import check_output, default_frames

    check_engine(
        engine, address=address, workers=workers, worker_cpus=worker_cpus, server=server, shard=shard, view=view
    )
    if merge:
        check_alone(
            engine=None if engine == "server" else engine,
            shard=shard,
            server=server,
            models=models,
            model=model,
            step=step,
            density=None if density == "dense" else density,
            keep_frames=keep_frames,
            in_place=in_place,
            resume=resume,
            alignment=alignment,
            feature=feature,
            keep_frozen=keep_frozen,
            transport=None if transport == "raw" else transport,
            patience=patience,
        )
        for source in _sources(data, reading, fuse, in_place, check=not skip_bad):
            dataset = source.open()
            merge_shards(dataset, _output(dataset, out, None, _camera(dataset, reading)), overwrite=overwrite)
        return
    if view:
        from genie_view.rerun_version import require_rerun

        require_rerun()
    part = None if shard is None else parse_shard(shard, in_place=in_place)
    frames_mode = _frames_mode(source_path(data), out, in_place, keep_frames)
    if in_place:
        restore_folder(source_path(data))
    existing = _existing(resume, overwrite)
    work = []
    for source in _sources(data, reading, fuse, in_place, check=not skip_bad):
        dataset = source.open()
        if in_place and dataset.format == "lerobot":
            if is_finished(dataset, overwrite):
                print(f"wrote {dataset.path}")
                return
            out, frames_mode, existing = labels_of(dataset), "none", "resume"
        output = _output(dataset, out, frames_mode, _camera(dataset, reading))
        _say_what_is_known(dataset)
        frames = frames_mode or default_frames(dataset)
        if part is None:
            check_output(output, dataset, frames, existing)  # before a server is started
        else:
            check_output(place_of(part, output, dataset, frames), dataset, frames, "resume")
        plan = LabelPlan(
            output=output,
            shard=part,
            model=model,
            step=read_step(step),
            density=density,
            frames=frames_mode,
            existing=existing,
            transport=transport,
            alignment=alignment,
            feature=feature,
            jobs=jobs,
            keep_frozen=keep_frozen,
            skip_bad=skip_bad,
            patience_s=BULK_PATIENCE_S if patience is None else patience,
            meeting_patience_s=patience or 0.0,
        )
        work.append((source, dataset, plan))
    if engine == "ray":
        with ray_workers(address, models, model, workers, worker_cpus, jobs) as pool, _explaining_stops():
            for source, dataset, plan in work:
                _label(in_ray(pool, source), dataset, plan, in_place=in_place)
        return
    with connected(server, models, model) as client, _explaining_stops():
        show = _shown_live(client, model) if view else None
        for _, dataset, plan in work:
            _label(_by_server(client), dataset, replace(plan, finished=show), in_place=in_place)


def _camera(dataset: Dataset, reading: ReadOptions) -> str | None:
    """Return what the output's name says of the camera; None: nothing, as there is one output."""
    return camera_label(dataset.camera, dataset.cameras) if reading.camera == EVERY_CAMERA else None


def _sources(data: str, reading: ReadOptions, fuse: str | None, in_place: bool, *, check: bool) -> list[DatasetSource]:
    """Return what to open: the data; for each camera if all are asked for; with several views if they are fused."""
    from genie_client.episode_worker import DatasetSource
    from genie_core.errors import GenieError

    if fuse is not None:
        return [DatasetSource(data, tuple(fused_cameras(data, reading, fuse)), check)]
    if in_place and reading.camera == EVERY_CAMERA:
        raise GenieError("--in-place: got it with --camera all: there is a place for the labels of one camera")
    return [DatasetSource(data, (options,), check) for options in each_camera(data, reading)]


def _say_what_is_known(dataset: Dataset) -> None:
    for fact in dataset.facts:
        print(f"note: {fact}", flush=True)
    for warning in dataset.warnings:
        print(f"warning: {warning}", flush=True)


def _shown_live(client: Client, model: str | None) -> Callable[[Episode, Labels], None]:
    """Start a viewer; returns what shows an episode in it."""
    from genie_view.live import show_labels, start_viewer

    viewer, codes = start_viewer("leave --view out"), client.model(model).num_codes
    return lambda episode, labels: show_labels(viewer, episode, labels, codes)


def _by_server(client: Client) -> LabelAll:
    """Label with one server."""
    from genie_cli.label_report import print_steps
    from genie_client.bulk import label_dataset

    def label_all(dataset: Dataset, plan: LabelPlan, bar: Bar) -> LabelReport:
        def wait(waiting: Waiting | None) -> None:
            if waiting is None:
                bar.notice("labelling", None)
            else:
                bar.notice("labelling", str(waiting), waiting.error)

        return label_dataset(client, dataset, plan, bar.advance, wait, print_steps)

    return label_all


def _label(label_all: LabelAll, dataset: Dataset, plan: LabelPlan, *, in_place: bool) -> None:
    """Label one dataset, with a progress bar, and print the summary."""
    from genie_cli.label_in_place import add_to
    from genie_cli.label_report import print_report

    with progress_bar("labelling", len(dataset.episodes), "episodes") as bar:
        report = label_all(dataset, plan, bar)
    if in_place and dataset.format == "lerobot":
        report.output = add_to(dataset, report.output)
    print_report(report)


def _frames_mode(
    data: SourcePath, out: Path | None, in_place: bool, keep_frames: KeepFrames | None
) -> FramesMode | None:
    """Return where the output has its frames. Raises GenieError if the options contradict each other."""
    from genie_core.errors import GenieError

    if in_place and (out is not None or keep_frames is not None):
        raise GenieError(
            "--in-place: got it with --out or --keep-frames: leave those out, it writes into the data itself"
        )
    if in_place and not isinstance(data, Path):
        raise GenieError(f"--in-place: got {data}, expected a local file: it writes into the data itself")
    if in_place:
        return "in_place"
    return keep_frames


def _output(dataset: Dataset, out: Path | None, frames_mode: FramesMode | None, camera: str | None) -> Path:
    """Return the file or folder to write; `camera`, if given, is part of its name."""
    from genie_core.data import default_output
    from genie_core.data.labelled.output import keeps_layout

    if frames_mode == "in_place" and isinstance(dataset.path, Path):
        return dataset.path
    own_layout = frames_mode is not None and keeps_layout(dataset, frames_mode)
    output = out or default_output(dataset.path, own_layout=own_layout)
    if camera is None:
        return output
    ending = next((ending for ending in (LABELLED_SUFFIX, LABELLED_FOLDER) if output.name.endswith(ending)), None)
    ending = ending or output.suffix
    return output.with_name(f"{output.name.removesuffix(ending)}.{camera}{ending}")


def _existing(resume: bool, overwrite: bool) -> Existing:
    from genie_core.errors import GenieError

    if resume and overwrite:
        raise GenieError(
            "--resume: got it with --overwrite: choose one, to keep what the output holds or to replace it"
        )
    return "resume" if resume else "overwrite" if overwrite else "refuse"


@contextmanager
def _explaining_stops() -> Iterator[None]:
    """Add advice to errors: about bad episodes, and after Ctrl-C how far the run got."""
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
