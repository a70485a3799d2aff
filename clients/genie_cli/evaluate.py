"""The command `genie evaluate`. Imports torch only when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from genie_cli.progress import part_progress
from genie_cli.reading_options import reads_data
from genie_cli.shared_options import DeviceOption, SeedOption, ThreadsOption
from genie_cli.step_option import found_step, read_step, step_option
from genie_core.data import ReadOptions, open_dataset
from genie_core.errors import DatasetError, GenieError
from genie_core.evaluation.options import EvaluationOptions

if TYPE_CHECKING:
    from genie_core.evaluation.report import EvaluationReport
    from genie_core.models.bundle import BundleInfo

DEFAULTS = EvaluationOptions()
TABLE_WIDTH = 100
"""Least width in characters: without a terminal the table would be squeezed."""


@reads_data(short=False)
def evaluate(
    bundle: Annotated[str, typer.Argument(help="The bundle's folder, or the name of a shipped one.")],
    data: Annotated[
        str | None, typer.Argument(help="Robot video that the bundle was not trained on: HDF5, video or a folder.")
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(metavar="SUITE", help="Instead of DATA: evaluate labels on many sets, a JSON file or `zoo`."),
    ] = None,
    data_root: Annotated[
        str, typer.Option(metavar="FOLDER", help="With --suite: the folder that the sets' paths are relative to.")
    ] = ".",
    out: Annotated[Path | None, typer.Option(help="Folder for the report; default: evaluation-<bundle>.")] = None,
    episodes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Maximum episodes to look at: {DEFAULTS.episodes}, or of a suite's sets what it says.",
        ),
    ] = None,
    frames: Annotated[
        int, typer.Option(min=2, help="Maximum frames per episode, at the model's rate.")
    ] = DEFAULTS.frames,
    rollouts: Annotated[
        int, typer.Option(min=1, help="Start frames of the rollouts that are compared with real video.")
    ] = DEFAULTS.rollouts,
    prompt_frames: Annotated[
        int,
        typer.Option(min=1, help="Frames that these rollouts are prompted with, at most what the model remembers."),
    ] = DEFAULTS.prompt_frames,
    starts: Annotated[
        int, typer.Option(min=1, help="Start frames from which every code is applied (Fig. 13).")
    ] = DEFAULTS.starts,
    applications: Annotated[
        int, typer.Option(min=1, help="Times each code is applied from each start frame.")
    ] = DEFAULTS.applications,
    supervised_steps: Annotated[
        int, typer.Option(min=0, help="Most training steps of supervised inverse dynamics; 0 skips it.")
    ] = DEFAULTS.supervised_steps,
    subset: Annotated[
        str | None,
        typer.Option(help="Robomimic filter key of the episodes, or `all`; default: `valid` if there is one."),
    ] = None,
    hold_out: Annotated[
        float,
        typer.Option(min=0, max=0.9, help="Take the episodes that `genie train --hold-out` held out with this --seed."),
    ] = DEFAULTS.hold_out,
    position: Annotated[str, typer.Option(help="Array whose change the probes predict.")] = DEFAULTS.position,
    still: Annotated[
        float, typer.Option(min=0, help="Smaller changes of the array count as still; in its units.")
    ] = DEFAULTS.still,
    i3d: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights of I3D, i3d_torchscript.pt; without them no FVD.")
    ] = None,
    image: Annotated[list[Path] | None, typer.Option(help="Image to prompt with (Fig. 10); may be repeated.")] = None,
    step: Annotated[
        str | None,
        step_option("Transition length: in frames, auto as of genie label, or from the frame rates. [default: rates]"),
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature; default: the bundle's.")] = None,
    maskgit_steps: Annotated[int | None, typer.Option(help="MaskGIT steps per frame; default: the model's.")] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Write the calibration of rollouts' confidence into the bundle's folder; its identity stays.",
        ),
    ] = False,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 0,
    seed: SeedOption = DEFAULTS.seed,
    *,
    reading: ReadOptions,
) -> None:
    """Evaluate a bundle on held-out episodes: prints a table, writes report.json and a page with images."""
    if (data is None) == (suite is None):
        raise DatasetError("got both or neither of DATA and --suite, expected one of them")
    if suite is not None:
        if calibrate:
            raise DatasetError("--calibrate: got --suite, which looks at labels alone, expected DATA")
        _evaluate_suite(bundle, suite, data_root, out, episodes, device, threads, seed)
        return
    assert data is not None
    dataset = open_dataset(data, options=reading)
    import torch

    from genie_core.bundles import bundle_folder
    from genie_core.evaluation.evaluation import evaluate as run_evaluation
    from genie_core.models.bundle import load_bundle

    if threads:
        torch.set_num_threads(threads)
    loaded = load_bundle(bundle_folder(bundle), device)
    chosen_step = found_step(loaded, dataset, read_step(step) or "rates")
    options = EvaluationOptions(
        episodes=DEFAULTS.episodes if episodes is None else episodes,
        frames=frames,
        subset=subset,
        hold_out=hold_out,
        step=chosen_step,
        position=position,
        still=still,
        supervised_steps=supervised_steps,
        rollouts=rollouts,
        prompt_frames=prompt_frames,
        starts=starts,
        applications=applications,
        temperature=temperature,
        maskgit_steps=maskgit_steps,
        i3d=i3d,
        images=tuple(image or ()),
        seed=seed,
    )
    folder = _report_folder(out or Path(f"evaluation-{loaded.name}"))
    with part_progress() as progress:
        report = run_evaluation(loaded, dataset, options, progress)
    _write_videos(folder / "rollouts.rrd", report)
    report.write(folder)
    print_report(report, Console(highlight=False, width=max(Console().width, TABLE_WIDTH)))
    typer.echo(f"wrote {folder / 'report.json'} and {folder / 'index.html'}")
    if calibrate:
        _calibrate(loaded.info, report)


def _calibrate(info: BundleInfo, report: EvaluationReport) -> None:
    from genie_core.errors import ModelError
    from genie_core.inference.confidence import write_calibration

    found = report.findings.calibration
    if found is None:
        raise ModelError(f"{info.path}: was not calibrated: it does not simulate, or no episode is long enough")
    write_calibration(info, found)
    typer.echo(f"wrote {info.path / 'confidence.json'}, fitted to {found.rollouts} rollouts of {found.data}")


def _write_videos(path: Path, report: EvaluationReport) -> None:
    """Write the Rerun recording; nothing without videos or without Rerun, which is an extra."""
    if not report.findings.videos:
        return
    from genie_view.rerun_version import require_rerun

    try:
        require_rerun()
    except GenieError:
        return
    from genie_core.evaluation.catalogue import ENTRIES
    from genie_core.evaluation.metrics import Metric
    from genie_view.evaluation_view import evaluation_recording
    from genie_view.recording import write_recordings

    path.parent.mkdir(parents=True, exist_ok=True)
    videos = [(video.name, video.tracks) for video in report.findings.videos]
    titles = {entry.key: entry.title for entry in ENTRIES}
    metrics = [
        (key, titles.get(key, key), metric.value, metric.ci95)
        for key, metric in report.findings.metrics.items()
        if isinstance(metric, Metric)
    ]
    shown = evaluation_recording(report.provenance.bundle, videos, metrics, report.provenance.fps)
    write_recordings(path, [shown])


def _evaluate_suite(
    bundle: str,
    suite: str,
    data_root: str,
    out: Path | None,
    episodes: int | None,
    device: str,
    threads: int,
    seed: int,
) -> None:
    """Run `genie evaluate --suite`: evaluate the labels of one bundle on many sets."""
    from genie_core.evaluation.suite.config import read_suite

    chosen = read_suite(suite)
    import torch

    from genie_core.bundles import bundle_folder
    from genie_core.evaluation.suite.report import to_markdown, write_report
    from genie_core.evaluation.suite.run import run_suite
    from genie_core.models.bundle import load_bundle

    if threads:
        torch.set_num_threads(threads)
    loaded = load_bundle(bundle_folder(bundle), device)
    folder = _report_folder(out or Path(f"{chosen.name}-{loaded.name}"))
    with part_progress() as progress:
        result = run_suite(loaded, chosen, data_root, episodes=episodes, seed=seed, progress=progress)
    write_report(result, folder)
    typer.echo(to_markdown(result))
    typer.echo(f"wrote {folder / 'suite.json'}, {folder / 'suite.md'} and {folder / 'index.html'}")


def _report_folder(folder: Path) -> Path:
    if folder.exists() and not folder.is_dir():
        raise DatasetError(f"{folder}: got a file, expected a folder for the report")
    return folder


def print_report(report: EvaluationReport, console: Console) -> None:
    """Print every metric with its interval and target, then why others were not measured."""
    from genie_core.evaluation.catalogue import ENTRIES
    from genie_core.evaluation.metrics import Missing

    table = Table(box=None)
    table.add_column("figure", no_wrap=True)
    for heading in ("value", "95% interval", "n", "target"):
        table.add_column(heading, justify="right", no_wrap=True)
    missing = {}
    for entry in ENTRIES:
        metric = report.findings.metrics.get(entry.key)
        if metric is None:  # not what this kind of model has
            continue
        if isinstance(metric, Missing):
            missing[entry.title] = metric.reason
            continue
        target = entry.target(report.provenance.codes)
        verdict = entry.verdict(metric.value, metric.ci95, report.provenance.codes)
        style = {"met": "green", "open": "yellow", "missed": "red"}.get(verdict or "", "")
        table.add_row(
            entry.title,
            f"[{style}]{entry.words(metric.value)}[/]" if style else entry.words(metric.value),
            "" if metric.ci95 is None else entry.interval(*metric.ci95),
            f"{metric.n:,}",
            "" if target is None else f">= {entry.words(target)}",
        )
    console.print(table)
    for title, reason in missing.items():
        console.print(f"not measured: {title}: {reason}", style="yellow", soft_wrap=True, markup=False)


__all__ = ["evaluate", "print_report"]
