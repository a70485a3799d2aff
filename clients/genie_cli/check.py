"""The command `genie check`. Imports torch only when it runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from genie_cli.progress import part_progress
from genie_cli.reading_options import reads_data
from genie_cli.shared_options import DeviceOption, JsonOption, SeedOption
from genie_cli.step_option import read_step, step_option
from genie_core.data import ReadOptions

if TYPE_CHECKING:
    from genie_core.checking.report import CheckReport
    from genie_core.checking.rules import Judged
    from genie_core.checking.run import CheckPlan
    from genie_core.progress import Progress

_LISTED = 10
"""Number of episodes to delete that are listed; the JSON lists all."""


@reads_data(short=False)
def check(
    what: Annotated[
        str,
        typer.Argument(
            metavar="LABELLED|DATA|BUNDLE",
            help="A file that `genie label` has written; or robot video, of which a sample is labelled first; or, with "
            "DATA after it, the bundle to label it with.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Argument(metavar="[DATA]", help="Robot video to label a sample of with that BUNDLE."),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Bundle that made the labels, or is to make them. [default: the shipped one of the name in the file; "
            "`motion` for DATA]"
        ),
    ] = None,
    labels_only: Annotated[
        bool, typer.Option("--labels-only", help="Look at the labels alone: no bundle, no pictures, no actions.")
    ] = False,
    actions_from: Annotated[
        str | None,
        typer.Option(
            metavar="REAL", help="Dataset with the robot's actions. [default: LABELLED, or the source it names]"
        ),
    ] = None,
    step: Annotated[
        str | None,
        step_option(
            "Transition length of DATA, as of `genie label`. [default: auto, if the bundle's latents measure motion]"
        ),
    ] = None,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Maximum episodes of DATA to label. [default: 40]")
    ] = None,
    mask: Annotated[
        bool,
        typer.Option("--mask", help="Write into LABELLED which episodes and transitions to keep; replaces the file."),
    ] = False,
    as_json: JsonOption = False,
    parquet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a Parquet file with a row for each episode.")
    ] = None,
    device: DeviceOption = "cpu",
    seed: SeedOption = 0,
    *,
    reading: ReadOptions,
) -> None:
    """Say whether labels are fit to train on, with reasons: fit, fit with care, or do not use.

    Changes nothing without --mask. Exit code 1 if they should not be used.
    """
    from genie_core.checking.report import write_episodes
    from genie_core.checking.run import CheckPlan, check_labelled
    from genie_core.data.storage.location import source_path
    from genie_core.errors import DatasetError

    if parquet is not None and parquet.exists():
        raise DatasetError(f"{parquet} exists: choose another name for --parquet")
    plan = CheckPlan(
        bundle,
        pictures=not labels_only,
        actions_from=None if actions_from is None else source_path(actions_from),
        device=device,
        seed=seed,
        mask=mask,
    )
    with part_progress() as progress:
        if data is not None or not _is_labelled(what):
            report = _check_data(what, data, plan, reading, read_step(step), episodes, progress)
        else:
            _refuse_data_options(reading, step, episodes)
            report = check_labelled(source_path(what), _with_own_bundle(plan, what), progress)
    if parquet is not None:
        write_episodes(parquet, report.episodes)
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    else:
        _print(report)
        if parquet is not None:
            typer.echo(f"wrote {parquet}")
        if mask:
            typer.echo(f"wrote the filter key genie_keep and latent_actions_keep of each episode into {what}")
    if report.verdict == "do not use":
        raise typer.Exit(1)


def _is_labelled(what: str) -> bool:
    """Return whether a path carries labels. What cannot be opened as HDF5 is data; its reader says what is wrong."""
    from genie_core.data.labelled.reading import seems_labelled
    from genie_core.data.storage.location import source_path

    path = source_path(what)
    if not isinstance(path, Path):
        return what.endswith(".labelled.hdf5")
    return seems_labelled(path)


def _with_own_bundle(plan: CheckPlan, labelled: str) -> CheckPlan:
    """Return the plan with the shipped bundle that the file names, unless one is given or none is wanted."""
    from genie_core.bundles import shipped
    from genie_core.data import open_labelled
    from genie_core.data.storage.location import source_path
    from genie_core.errors import ModelError

    if not plan.pictures:
        return replace(plan, bundle=None)
    if plan.bundle is not None:
        return plan
    try:
        return replace(plan, bundle=shipped(open_labelled(source_path(labelled)).model.bundle_name))
    except ModelError:
        return plan  # told below, as what could not be measured


def _refuse_data_options(reading: ReadOptions, step: str | None, episodes: int | None) -> None:
    from genie_core.errors import DatasetError

    if reading != ReadOptions() or step is not None or episodes is not None:
        raise DatasetError(
            "got an option that says how to read or label DATA, but what is checked carries labels already: leave it "
            "out, or name a BUNDLE and then the data"
        )


def _check_data(
    what: str,
    data: str | None,
    plan: CheckPlan,
    reading: ReadOptions,
    step: int | Literal["auto", "rates"] | None,
    episodes: int | None,
    progress: Progress,
) -> CheckReport:
    """Label a sample of data with `what`, if that is a bundle, or the plan's bundle, and check it."""
    from genie_core.bundles import DEFAULT, bundle_folder, shipped
    from genie_core.checking.run import check_data
    from genie_core.checking.sample import EPISODES, Sampling
    from genie_core.data import open_dataset
    from genie_core.errors import RequestError
    from genie_core.models.bundle import read_bundle_info

    if data is None:
        folder, data = plan.bundle or shipped(DEFAULT), what
    elif plan.bundle is not None:
        raise RequestError("bundle", f"got two, {what} and --bundle {plan.bundle}, expected one")
    else:
        folder = bundle_folder(what)
    if not plan.pictures:
        raise RequestError("labels-only", "is for a file with labels, but DATA is to be labelled: leave it out")
    if step is None:
        step = "rates" if read_bundle_info(folder).usual_norm is None else "auto"
    sampling = Sampling(None if step == "rates" else step, episodes or EPISODES, seed=plan.seed)
    return check_data(open_dataset(data, options=reading), folder, plan, sampling, progress)


def _print(report: CheckReport) -> None:
    from genie_core.checking.rules import RULES

    labels = sum(e.labelled for e in report.episodes)
    typer.echo(f"{report.path}: {len(report.episodes)} episodes, {labels} labels of {report.bundle}")
    shares = ", ".join(f"{code}: {share:.0%}" for code, share in enumerate(report.code_share) if share >= 0.005)
    typer.echo(f"codes: {shares}")
    for one in report.judged:
        typer.echo(f"  {_MARKS[one.level]}  {_number(one)}  {one.about}")
    for name, metric in report.metrics.items():
        if name not in {one.name for one in report.judged}:
            typer.echo(f"        {metric.value:9.3g}  {name}")
    for name, why in report.missing.items():
        typer.echo(f"not measured: {name}: {why}")
    doomed = [e for e in report.episodes if e.delete]
    for episode in doomed[:_LISTED]:
        typer.echo(f"better deleted: {episode.episode}: {episode.why}")
    if len(doomed) > _LISTED:
        typer.echo(f"... and {len(doomed) - _LISTED} more; --json and --parquet have them all")
    if report.delete_command is not None:
        typer.echo(f"to delete them: {report.delete_command}")
    bad = [one for one in report.decided_by if one.level != "good"]
    typer.echo(f"\nverdict: {report.verdict}{'' if bad else '; nearest to calling for care:'}")
    for one in bad or report.decided_by:
        side = RULES[one.name].from_care_on
        stop = "" if one.stop is None else f", do not use at {one.stop:g} {side}"
        typer.echo(f"  {one.name} {one.value:.3g} (care at {one.care:g} {side}{stop}): {one.about}")
    for advice in dict.fromkeys(one.next for one in report.decided_by if one.next):
        typer.echo(f"next: {advice}")


_MARKS = {"good": "good", "care": "CARE", "stop": "STOP"}


def _number(one: Judged) -> str:
    interval = "" if one.ci95 is None else f"[{one.ci95[0]:.3g}, {one.ci95[1]:.3g}]"
    return f"{one.value:9.3g} {interval:18}"


__all__ = ["check"]
