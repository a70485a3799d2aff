"""Trains and measures an ablation's rows, one after another; finished work is not repeated.

Every row is a run of `genie_core.training.pipeline` in `<row>.run`. A stage that rows share is trained by the first
one; the others get its checkpoint in their own folders, and the pipeline checks that it matches.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from genie_core.ablation.clock import STAGES, StageClock, read_clock, write_clock
from genie_core.ablation.plan import AblationRow, Base, Table, make_plan, part_parameters, stage_key
from genie_core.ablation.report import Ablation, RowResult, Setting, read_ablation, write_ablation
from genie_core.data import Dataset, Episode, hold_out_episodes
from genie_core.errors import DatasetError
from genie_core.evaluation.evaluation import Part, measure
from genie_core.evaluation.ground_truth import ground_truth_findings
from genie_core.evaluation.latent_actions import latent_action_findings
from genie_core.evaluation.material import HELD_OUT, Film, choose_episodes, load_film
from genie_core.evaluation.metrics import Findings, Metric, Missing
from genie_core.evaluation.options import EvaluationOptions
from genie_core.evaluation.rollouts import rollout_findings
from genie_core.evaluation.tokenizer import tokenizer_findings
from genie_core.models.bundle import load_bundle
from genie_core.models.genie import count_parameters
from genie_core.progress import Progress
from genie_core.training.checkpoint import run_identity
from genie_core.training.loop import Reporter
from genie_core.training.pipeline import TrainingJob, TrainingSplit, train

PARTS: dict[Table, tuple[Part, ...]] = {
    "tokenizer": (tokenizer_findings, rollout_findings),
    "lam": (latent_action_findings, ground_truth_findings, rollout_findings),
    "recipe": (latent_action_findings, ground_truth_findings),
}
"""Metrics measured for the rows of each table."""

_CLOCK = "seconds.json"
_CARD_EPISODES = 2
_FRAMES = ("frames", "held_out")
"""The pipeline's name for the frames stored in a run's folder; here one copy serves all rows."""
_SHARED: tuple[Literal["tokenizer", "lam"], ...] = ("tokenizer", "lam")

Reporting = Callable[[Path], AbstractContextManager[Reporter]]
"""Maps a run's folder to a reporter of its training."""
Measuring = Callable[[], AbstractContextManager[Progress]]
"""Makes a callback for the progress of measuring."""


@dataclass(frozen=True)
class AblationEpisodes:
    """Episodes to train on, and episodes and clips to measure on, none of which is trained on."""

    train: Sequence[Episode]
    held_out: Sequence[Episode]
    films: Sequence[Film]


@dataclass(frozen=True)
class Work:
    """Settings common to all rows.

    Attributes:
        out: folder of the ablation.
        material: its data.
        options: of measuring.
        device: torch device.
        command: command line of the run, for the bundles' cards.
        reporting: makes the reporter of training.
        measuring: makes the progress callback of measuring.

    """

    out: Path
    material: AblationEpisodes
    options: EvaluationOptions
    device: str
    command: str
    reporting: Reporting
    measuring: Measuring


def read_material(
    data: Dataset, evaluation: Dataset | None, base: Base, options: EvaluationOptions, hold_out: float
) -> AblationEpisodes:
    """Split a dataset into training and held-out episodes.

    Holds out the episodes of robomimic's filter key ``valid`` if there is one; else, without `evaluation`, a random
    share of the episodes, at least one.

    Args:
        data: dataset to train on.
        evaluation: dataset to measure on, in place of what `data` holds out; also its ``valid`` if there is one.
        base: gives size and rate of the frames.
        options: amount of data to measure on, and the seed.
        hold_out: share of the episodes to hold out.

    Raises:
        DatasetError: nothing is left to train or to measure on, an episode is in both, or clips cannot be read.

    """
    training, held_out = split_episodes(data, 0.0 if evaluation else hold_out, options.seed)
    source = evaluation or replace(data, episodes=tuple(held_out), masks={})
    if not training or not source.episodes:
        raise DatasetError(f"{data.path}: too few episodes of 2 frames to hold some out and train on the others")
    _, chosen, _ = choose_episodes(source, options)
    trained = {(e.source.resolve(), e.name) for e in training}
    both = next((e for e in chosen if (e.source.resolve(), e.name) in trained), None)
    if both is not None:
        raise DatasetError(f"{both.source}: {both.name} would be trained on and measured on; leave out --eval-data")
    model = base.model
    films = [load_film(episode, model, options) for episode in chosen]
    there = [film for film in films if film is not None]
    if not there:
        raise DatasetError(f"{source.path}: no held-out episode has 2 frames at {model.fps:g} frames/s")
    return AblationEpisodes(training, chosen, there)


def split_episodes(data: Dataset, share: float, seed: int) -> tuple[list[Episode], list[Episode]]:
    """Return the training and the held-out episodes: by the filter key ``valid``, else a share, at least one if any."""
    kept = set(data.masks.get(HELD_OUT, ()))
    if not kept:
        return hold_out_episodes(data.episodes, share, seed, least=1 if share else 0)
    usable = [e for e in data.episodes if e.num_frames > 1]
    return [e for e in usable if e.name not in kept], [e for e in usable if e.name in kept]


def run_ablation(base: Base, tables: Sequence[Table], work: Work, setting: Setting) -> Ablation:
    """Train and measure every row of some tables; writes ablation.json and ablation.md after each.

    Rows that an earlier run has finished with identical settings are taken from its ablation.json, including those of
    tables that are not asked for now.

    Raises:
        DatasetError: the episodes cannot be trained on.
        ModelError: a row diverges, or the folder holds runs of another configuration or other data.

    """
    plan = make_plan(base)
    found = {row.name: result for row in plan if (result := _finished(row, work, setting)) is not None}
    for row in plan:
        if row.table not in tables or row.name in found:
            continue
        found[row.name] = _run_row(row, plan, base, work, setting)
        write_ablation(work.out, _collected(plan, found, setting))
    ablation = _collected(plan, found, setting)
    write_ablation(work.out, ablation)
    return ablation


def _collected(plan: Sequence[AblationRow], found: Mapping[str, RowResult], setting: Setting) -> Ablation:
    return Ablation(setting=setting, rows=tuple(found[row.name] for row in plan if row.name in found))


def _finished(row: AblationRow, work: Work, setting: Setting) -> RowResult | None:
    before = read_ablation(work.out)
    identity = _identity(row, work, setting)
    return None if before is None else next((r for r in before.rows if r.identity == identity), None)


def _identity(row: AblationRow, work: Work, setting: Setting) -> str:
    """Hash everything that a row's metrics depend on."""
    trained = str([(e.source.name, e.name, e.num_frames) for e in work.material.train])
    measured = str([(f.name, f.frames_THWC.shape) for f in work.material.films])
    configurations = (row.model, row.training, work.options)
    return run_identity(
        row.name, setting.data, setting.eval_data, trained, measured, *(c.model_dump_json() for c in configurations)
    )


def _run_row(row: AblationRow, plan: Sequence[AblationRow], base: Base, work: Work, setting: Setting) -> RowResult:
    folder = _run_folder(work.out, row)
    _take_over(row, plan, work.out)
    held_out = work.material.held_out[:_CARD_EPISODES]  # for the card; the table measures on more
    job = TrainingJob(
        row.model,
        row.training,
        TrainingSplit(work.material.train, held_out),
        work.out / row.name,
        device=work.device,
        rollouts=1,
        command=work.command,
    )
    with work.reporting(folder) as reporter:
        train(job, StageClock(reporter, folder / _CLOCK))
    with work.measuring() as progress:
        bundle = load_bundle(job.out, work.device)
        findings = measure(bundle, work.material.films, work.options, parts=PARTS[row.table], progress=progress)
    clock = read_clock(folder / _CLOCK)
    count = count_parameters(row.model)
    return RowResult(
        name=row.name,
        table=row.table,
        title=row.title,
        identity=_identity(row, work, setting),
        changes=row.changes(base),
        compared_parameters=part_parameters(row),
        parameters={"tokenizer": count.tokenizer, "lam": count.lam, "dynamics": count.dynamics},
        steps={stage: getattr(row.training, stage).steps for stage in STAGES},
        seconds={stage: clock[stage][1] for stage in STAGES if stage in clock},
        **_content(findings),
    )


def _content(findings: Findings) -> dict[str, dict[str, object]]:
    """Return the measured metrics, the reasons for missing ones, and curves without gaps."""
    return {
        "figures": {name: f for name, f in findings.metrics.items() if isinstance(f, Metric)},
        "missing": {name: f.reason for name, f in findings.metrics.items() if isinstance(f, Missing)},
        "curves": {
            name: [f if isinstance(f, Metric) else None for f in curve] for name, curve in findings.curves.items()
        },
    }


def _take_over(row: AblationRow, plan: Sequence[AblationRow], out: Path) -> None:
    """Give a row the ablation's frames, and the checkpoints of stages that another row has trained identically."""
    folder = _run_folder(out, row)
    folder.mkdir(parents=True, exist_ok=True)
    for frames in _FRAMES:
        (out / frames).mkdir(exist_ok=True)
        if not (folder / frames).exists():
            (folder / frames).symlink_to(Path("..") / frames)
    for stage in _SHARED:
        own, key = folder / f"{stage}.safetensors", stage_key(row, stage)
        if key is None or own.exists():
            continue
        alike = (_run_folder(out, other) for other in plan if other is not row and stage_key(other, stage) == key)
        source = next((theirs for theirs in alike if (theirs / own.name).exists()), None)
        if source is not None:
            steps, seconds = read_clock(source / _CLOCK).get(stage, (0, 0.0))
            write_clock(folder / _CLOCK, stage, steps, seconds)
            _link(source / own.name, own)


def _link(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it if the file system has no links; checkpoints are never changed."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _run_folder(out: Path, row: AblationRow) -> Path:
    return out / f"{row.name}.run"


__all__ = [
    "PARTS",
    "AblationEpisodes",
    "Measuring",
    "Reporting",
    "Work",
    "read_material",
    "run_ablation",
    "split_episodes",
]
